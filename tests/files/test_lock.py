"""Runs that would write one output at once."""

import errno
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import nst_jax as nst
from nst_jax import cli
from nst_jax.files import lock
from nst_jax.files.lock import only_one
from nst_jax.jobs.job import Job
from nst_jax.jobs.presets import PRESETS
from nst_jax.jobs.stylize_job import run_job
from tests.records import example
from tests.runs import QUICK

STYLIZE = ["stylize", "photo.jpg", "painting.png", *QUICK]


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path):
    path = tmp_path / "new" / "folder" / ".a.lock"
    for _ in range(2):
        with only_one(path, "busy"):
            with pytest.raises(nst.ConfigError, match=r"^busy$"), only_one(path, "busy"):
                pytest.fail("two hold it")
            with only_one(path.with_name(".b.lock"), "busy"):
                pass
        assert not list(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError), only_one(path, "busy"):
        (path.parent / "result").touch()
        raise ZeroDivisionError
    assert [item.name for item in path.parent.iterdir()] == ["result"]


def test_of_many_that_come_and_go_one_at_a_time_is_in(tmp_path):
    """The file is removed again and again, each time perhaps under the hands of others."""
    inside, most, entered = [0], [0], [0]
    until = time.monotonic() + 1

    def come_and_go():
        while time.monotonic() < until:
            try:
                with only_one(tmp_path / ".a.lock", "busy"):
                    inside[0] += 1
                    entered[0] += 1
                    most[0] = max(most[0], inside[0])
                    time.sleep(1e-4)
                    inside[0] -= 1
            except nst.ConfigError:
                pass

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and entered[0] > 8 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_a_killed_process_left_locks_nothing(tmp_path):
    path = tmp_path / ".a.lock"
    program = f"""
import pathlib, time
from nst_jax.files.lock import only_one
with only_one(pathlib.Path({str(path)!r}), "busy"):
    print("held", flush=True)
    time.sleep(100)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(nst.ConfigError, match="busy"), only_one(path, "busy"):
            pass
        assert path.exists()
        process.send_signal(signal.SIGKILL)
    assert path.exists()
    with only_one(path, "busy"):
        pass
    assert not path.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS])
def test_where_no_lock_can_be_taken_the_work_goes_on(number, tmp_path, monkeypatch):
    def fails(descriptor, blocking):
        raise OSError(number, "no locks here")

    (tmp_path / "folder.lock").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    done = []
    for name in ("folder.lock", "file/.a.lock", "x" * 300, "a\0b"):
        with only_one(tmp_path / name, "busy"):
            done.append(name)
    assert len(done) == 4 and sorted(tmp_path.iterdir()) == before
    monkeypatch.setattr(lock, "lock_descriptor", fails)
    with only_one(tmp_path / ".a.lock", "busy"), only_one(tmp_path / ".a.lock", "busy"):
        done.append("both")
    assert done[-1] == "both"


STUDY = ["photo.jpg", *QUICK, "--output-dir", "out"]
BUSY = {
    "stylize": (
        ".photo_painting.lock",
        STYLIZE,
        (
            "photo_painting.png: another run is writing it; wait until that has ended, or "
            "choose another --output"
        ),
    ),
    # the record would be the same
    "another format": (
        ".a.lock",
        [*STYLIZE, "--output", "a.jpg"],
        "a.jpg: another run is writing it",
    ),
    "in a folder": (
        "b/.a.lock",
        [*STYLIZE, "--output", "./b/../b/a.png"],
        "a.png: another run is writing it",
    ),
    "rerun": (
        ".again.lock",
        ["rerun", "record.json", "--output", "again.png"],
        "again.png: another run is writing it",
    ),
    "rerun, default name": (
        ".record_rerun.lock",
        ["rerun", "record.json"],
        "record_rerun.png: another run is writing it",
    ),
    "demo": (".nst_demo.lock", ["demo"], "nst_demo.png: another run is writing it"),
    "study": (
        "out/.study.lock",
        ["study", *STUDY[:1], "painting.png", *STUDY[1:]],
        "out: another study is being written there; wait until",
    ),
    "reconstruct": (
        "out/.study.lock",
        ["reconstruct", *STUDY],
        "out: another study is being written there",
    ),
}


@pytest.mark.parametrize("more", [[], ["--overwrite"], ["--resume"]])
@pytest.mark.parametrize("case", BUSY)
def test_the_second_run_at_once_is_refused(case, more, photos, capfd):
    path, words, message = BUSY[case]
    if words[0] in ("study", "reconstruct") and more == ["--resume"]:
        pytest.skip("no such option")
    record = example("run")
    record["settings"]["inputs"]["style"]["path"] = "painting.png"
    Path("record.json").write_text(json.dumps(record | {"output": "record.png"}))
    with only_one(photos / path, "busy"):
        before = {path: path.lstat().st_mtime_ns for path in photos.rglob("*")}
        assert cli.main([*words, *more]) == 2
        out, err = capfd.readouterr()
        assert (
            err.startswith("nst-jax: error: ")
            and err.count("\n") == 1
            and message in err
            and not out
        )
        assert {path: path.lstat().st_mtime_ns for path in photos.rglob("*")} == before


@pytest.mark.slow
def test_a_run_refuses_others_from_its_start_to_its_end(photos, capfd):
    """Tried at every step; what is left at the end is what any run leaves."""
    tried = []

    def try_another(progress):
        tried.append(cli.main([*STYLIZE, "--output", "a.png", "--overwrite"]))

    layers = {"content_layers": ("conv2_2",), "style_layers": ("conv1_1", "conv2_1")}
    run = {"network": "vgg16", "size": 48, "num_steps": 2, "save_every": 1, **layers}
    preset = PRESETS["default"].replace(**run)
    Path(".a.lock").touch()  # left by a run that was killed
    run_job(Job(Path("photo.jpg"), (Path("painting.png"),), Path("a.png"), preset), try_another)
    assert tried == [2, 2] and capfd.readouterr().err.count("another run is writing it") == 2
    names = {
        "a.png",
        "a.json",
        "a_at_iteration_1.png",
        "a_at_iteration_2.png",
        "photo.jpg",
        "painting.png",
    }
    assert {path.name for path in photos.iterdir()} == names
    assert cli.main([*STYLIZE, "--output", "a.png"]) == 2
    assert "a.png: is there already" in capfd.readouterr().err


@pytest.mark.slow
def test_of_two_processes_that_start_at_once_one_result_is_there_and_one_says_so(photos):
    words = [sys.executable, "-m", "nst_jax", *STYLIZE, "--style-weight"]
    both = [
        subprocess.Popen([*words, weight], stderr=subprocess.PIPE, text=True)
        for weight in ("5", "80")
    ]
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], errors
    good = [process.returncode for process in both].index(0)
    assert (
        json.loads(Path("photo_painting.json").read_text())["settings"]["style_weight"]
        == (5, 80)[good]
    )
    assert (
        len([line for line in errors[1 - good].splitlines() if line.startswith("nst-jax: error")])
        == 1
    )
    assert {path.name for path in photos.iterdir()} == {
        "photo.jpg",
        "painting.png",
        "photo_painting.png",
        "photo_painting.json",
    }
