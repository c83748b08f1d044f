"""Runs that are cut off and go on."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

import nst_jax as nst
from nst_jax import cli
from nst_jax.host import now_and_then
from nst_jax.host.drafts import draft_of
from nst_jax.jobs import checkpoint
from nst_jax.jobs.checkpoint import Checkpoint
from nst_jax.jobs.rerun import job_of_record
from nst_jax.jobs.stylize_job import run_job
from tests.runs import QUICK, finished, followed

SHALLOW = {"content_layers": ("conv2_2",), "style_layers": ("conv1_1", "conv2_1")}
TWO_SIZES = {"coarse_steps": (0.1,), **SHALLOW}


@pytest.fixture
def pair(rng):
    return rng.random((40, 32, 3), np.float32), rng.random((24, 36, 3), np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "adam"},
        {"optimizer": "sgd", "learning_rate": 1e-3},
        {"init": "noise"},
        {"tolerance": 0.02},
    ],
)
def test_a_run_goes_on_from_any_snapshot_bit_for_bit(vgg16_params, pair, settings):
    config = nst.TransferConfig(num_steps=24, **TWO_SIZES, **settings)
    whole, kept = followed(nst.descend(vgg16_params, *pair, config))
    assert len({int(arrays["scale"]) for arrays in kept}) == 2  # both sizes
    for arrays in kept[:: max(len(kept) // 4, 1)]:
        resumed = finished(nst.descend(vgg16_params, *pair, config, start=arrays))
        jax.tree.map(np.testing.assert_array_equal, resumed, whole)


@pytest.mark.slow
def test_lanes_go_on_bit_for_bit(vgg16_params, pair):
    config = nst.TransferConfig(num_steps=12, **TWO_SIZES)
    weights = nst.LossWeights(style=[1.0, 1e30, 100.0])
    cut, kept = followed(nst.descend_batch(vgg16_params, *pair, config, weights), 3)
    assert cut.num_steps.max() < 12 and cut.cut_off.tolist() == [True, False, True]
    resumed = finished(nst.descend_batch(vgg16_params, *pair, config, weights, start=kept[-1]))
    jax.tree.map(
        np.testing.assert_array_equal,
        resumed,
        nst.stylize_batch(vgg16_params, *pair, config, weights),
    )
    assert resumed.failure[1] and not resumed.failure[0]


def test_a_run_that_is_stopped_returns_what_it_has_at_full_size(vgg16_params, pair):
    result = next(
        nst.descend(vgg16_params, *pair, nst.TransferConfig(num_steps=24, **TWO_SIZES))
    ).result()
    # One step where it was stopped, and one at its own size, whose loss is that of the picture.
    assert (
        result.cut_off
        and result.num_steps == 2
        and result.sizes[1] == max(pair[0].shape) > result.sizes[0]
    )
    assert (
        result.image.shape == pair[0].shape
        and result.loss == result.losses[1]
        and result.best_step == 2
    )


def test_a_snapshot_of_another_run_is_refused(vgg16_params, pair):
    _, kept = followed(nst.descend(vgg16_params, *pair, nst.TransferConfig(num_steps=1, **SHALLOW)))
    for config in (
        nst.TransferConfig(**SHALLOW, memory=7),
        nst.TransferConfig(**SHALLOW, optimizer="adam"),
        nst.TransferConfig(),
    ):
        with pytest.raises(nst.ConfigError, match="not of this run"):
            next(nst.descend(vgg16_params, *pair, config, start=kept[0]))
    with pytest.raises(nst.ConfigError, match="not of this run"):
        next(
            nst.descend(
                vgg16_params,
                *pair,
                nst.TransferConfig(**SHALLOW),
                start={**kept[0], "scale": np.array(7)},
            )
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", np.array(0.5)),
        ("scale", np.array(-1)),
        ("scale", np.array("a")),
        ("history/info/loss", np.array([["a"]])),
        ("history/info/finite", np.array([[1.0]])),
        ("history/info/terms/total_variation/all", np.array([["a"]])),
        ("history/active", np.array(["a"])),
        ("history/num_steps", np.array(["a"])),
        ("history/num_steps", np.array([2**31 - 1])),
        ("history/failure", np.array([0])),
        ("found/loss", np.array([0.0])),
    ],
)
def test_a_snapshot_that_somebody_made_up_is_refused(vgg16_params, pair, name, value):
    config = nst.TransferConfig(num_steps=2, **SHALLOW)
    _, kept = followed(nst.descend(vgg16_params, *pair, config), 1)
    with pytest.raises(nst.ConfigError, match="not of this run"):
        next(nst.descend(vgg16_params, *pair, config, start={**kept[0], name: value}))


ARRAYS = {
    "scale": np.array(0),
    "states/image": np.arange(3000, dtype=np.float32),
    "history/failure": np.array(["", "bad"]),
}


@pytest.fixture
def saved(tmp_path):
    found = Checkpoint(tmp_path / "a.png.checkpoint")
    for step in (1, 2):
        found.save({"step": step}, ARRAYS)
    return found


def test_what_was_saved_is_read(saved):
    settings, arrays = saved.read()
    assert settings == {"step": 2} and set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
    saved.remove()
    assert not saved.exists and saved.read() is None and not list(saved.path.parent.iterdir())


def test_of_a_damaged_one_the_one_before_is_taken(saved, said):
    whole = saved.path.read_bytes()
    for place in range(30, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        saved.path.write_bytes(damaged)
        said.clear()
        settings, arrays = saved.read()
        if settings["step"] == 2:  # a byte that means nothing, such as a time stamp's
            jax.tree.map(np.testing.assert_array_equal, dict(arrays), ARRAYS)
        else:
            assert len(said) == 1 and "is damaged" in said[0] and "\n" not in said[0]
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        saved.path.write_bytes(whole[:length])
        assert saved.read().settings == {"step": 1}
    saved.path.unlink()  # as between the two renamings of a save
    assert saved.read().settings == {"step": 1}


def test_a_save_that_fails_leaves_the_last(saved, monkeypatch, said):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.np, "savez", full)
    monkeypatch.setattr(now_and_then, "_MOST_OF_THE_TIME", float("inf"))
    said.clear()
    saver = checkpoint.Saver(saved, {"step": 3}, 1e-9)
    for _ in range(2):
        saver.save(SimpleNamespace(snapshot=lambda: ARRAYS))
    assert len(said) == 2 and "cannot be written (No space left on device)" in said[0]
    assert saved.read().settings == {"step": 2}
    assert sorted(path.name for path in saved.path.parent.iterdir()) == [
        "a.png.checkpoint",
        "a.png.checkpoint.previous",
    ]


class Runs:
    """A pickle of this would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_nothing_that_a_checkpoint_holds_is_executed(tmp_path, said):
    found, trap = Checkpoint(tmp_path / "a.checkpoint"), tmp_path / "trap"
    with found.path.open("wb") as file:
        np.savez(
            file, settings=np.frombuffer(b"{}", np.uint8), scale=np.array([Runs(trap)], object)
        )
    said.clear()
    assert found.read() is None and len(said) == 1
    found.path.write_bytes(pickle.dumps(Runs(trap)))
    assert found.read() is None and not trap.exists()


def test_an_archive_that_swells_is_refused(tmp_path, said):
    found = Checkpoint(tmp_path / "a.checkpoint")
    np.savez_compressed(
        tmp_path / "a.npz", settings=np.frombuffer(b"{}", np.uint8), scale=np.zeros(10**8, np.uint8)
    )
    (tmp_path / "a.npz").replace(found.path)
    said.clear()
    assert found.read() is None and "not as it was written" in said[0]
    with zipfile.ZipFile(found.path, "w") as archive:  # a header that promises more than there is
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
        archive.writestr(
            "scale.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        )
    assert found.read() is None and len(said) == 2


# The command.


def stylize(*words):
    return cli.main(
        [
            "stylize",
            "photo.jpg",
            "painting.png",
            *QUICK,
            "--no-compilation-cache",
            "--output",
            "out.png",
            *words,
        ]
    )


def cut_off(steps, monkeypatch, *words):
    """A run that was killed after some steps, having saved what it takes to go on."""
    real = checkpoint.Saver.save

    class Killed(BaseException):
        pass

    def die(self, chunk, is_last=False):
        real(self, chunk, is_last)
        if chunk.progress.step >= steps:
            raise Killed

    monkeypatch.setattr(checkpoint.Saver, "save", die)
    with pytest.raises(Killed):
        stylize("--num-steps", "20", "--checkpoint-every", "1e-9", *words)
    monkeypatch.setattr(checkpoint.Saver, "save", real)


@pytest.mark.slow
def test_a_command_that_was_cut_off_goes_on(photos, monkeypatch, capfd):
    assert stylize("--num-steps", "20") == 0
    image, record = (photos / "out.png").read_bytes(), json.loads((photos / "out.json").read_text())
    (photos / "out.png").unlink()
    (photos / "out.json").unlink()
    cut_off(8, monkeypatch)
    capfd.readouterr()
    before = {path: path.read_bytes() for path in photos.iterdir()}
    assert stylize("--num-steps", "20") == 2
    assert "pass --resume to go on with it, or --overwrite to begin anew" in capfd.readouterr().err
    for words, what in (
        (
            ("--num-steps", "20", "--style-weight", "7"),
            "--style-weight differs, 20.0 there and 7.0 here",
        ),
        (("--num-steps", "30"), "--num-steps differs"),
    ):
        assert stylize(*words, "--resume") == 2
        assert what in capfd.readouterr().err
    Image.new("RGB", (48, 48), "teal").save("painting.png")
    assert stylize("--num-steps", "20", "--resume") == 2
    assert "inputs differs" in capfd.readouterr().err
    (photos / "painting.png").write_bytes(before[photos / "painting.png"])
    # all of this changed nothing
    assert {path: path.read_bytes() for path in photos.iterdir()} == before
    assert stylize("--num-steps", "20", "--resume") == 0
    assert (photos / "out.png").read_bytes() == image
    again = json.loads((photos / "out.json").read_text())
    assert again | {"ran": None} == record | {"ran": None}
    assert sorted(path.name for path in photos.iterdir()) == [
        "out.json",
        "out.png",
        "painting.png",
        "photo.jpg",
    ]
    capfd.readouterr()
    assert stylize("--num-steps", "20", "--resume") == 0
    assert "is there already, finished, of the same settings" in capfd.readouterr().out
    (photos / "out.json").write_text(json.dumps(again | {"reason": "the loss was not finite"}))
    assert stylize("--num-steps", "20", "--resume") == 1
    assert "of the same settings, but it failed: the loss was" in capfd.readouterr().out


def test_resume_without_a_checkpoint_begins_anew(photos, capfd):
    assert stylize("--num-steps", "2", "--resume") == 0
    assert "nothing was saved; the run begins anew" in capfd.readouterr().err


def test_results_are_not_overwritten_unasked(photos, capfd):
    (photos / "out.json").write_text("mine")
    assert stylize("--num-steps", "1") == 2
    assert "out.json: is there already; pass --overwrite" in capfd.readouterr().err
    assert (photos / "out.json").read_text() == "mine" and not (photos / "out.png").exists()
    assert stylize("--num-steps", "1", "--resume") == 2
    assert "of no run that can go on" in capfd.readouterr().err
    assert stylize("--num-steps", "1", "--overwrite") == 0
    assert json.loads((photos / "out.json").read_text())["finished"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(photos, number):
    words = [
        sys.executable,
        "-m",
        "nst_jax",
        "stylize",
        "photo.jpg",
        "painting.png",
        *QUICK,
        "--output",
        "out.png",
        "--num-steps",
        "100000",
    ]
    with subprocess.Popen(
        [*words, "--save-every", "5"], stderr=subprocess.PIPE, text=True
    ) as process:
        while not (photos / "out_at_iteration_000005.png").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "the same command with --resume goes on" in errors.splitlines()[-1]
    record = json.loads((photos / "out.json").read_text())
    assert Image.open("out.png").size == (40, 48) and not record["finished"]
    assert record["reason"].startswith(f"stopped by {signal.Signals(number).name} at step ")
    assert Checkpoint(photos / "out.png.checkpoint").read().settings["num_steps"] == 100000


@pytest.mark.slow
def test_the_second_signal_ends_the_process_at_once(tmp_path):
    program = """
import logging, sys, time
from nst_jax.host.stopping import StopSignals
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
with StopSignals() as signals:
    print("ready", flush=True)
    while True:  # as a run that does not look, in calls that do not return
        time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert (
            process.stdout.readline()
            == "stopping at the end of this step; once more stops at once\n"
        )
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 128 + signal.SIGTERM


@pytest.mark.slow
def test_a_result_is_made_again_from_its_record(photos, capfd):
    assert stylize("--num-steps", "3", "--style-weight", "7", "--init", "noise", "--seed", "5") == 0
    assert cli.main(["rerun", "out.json"]) == 0
    assert np.array_equal(
        np.asarray(Image.open("out.png")), np.asarray(Image.open("out_rerun.png"))
    )
    assert cli.main(["rerun", "out.json"]) == 2
    assert "out_rerun.png: is there already" in capfd.readouterr().err
    (photos / "painting.png").write_bytes((photos / "photo.jpg").read_bytes())
    assert cli.main(["rerun", "out.json", "--output", "b.png"]) == 2
    assert "painting.png: is not the style painting that the record is of" in capfd.readouterr().err
    record = json.loads((photos / "out.json").read_text())
    wrong = {"seed": (-1, "--seed is -1; it must be a whole number, between 0 and 4294967295")}
    wrong["weights_by_layer"] = {"conv9_9": 1}, "weighs conv9_9, which is not among the layers"
    wrong["size"] = (
        "48",
        "is not the record of a run ($.settings.size: expected int | null, got str); name a "
        "result, or the .json beside it, as it was written",
    )
    for key, (value, message) in wrong.items():
        settings = record["settings"] | {key: value}
        (photos / "no.json").write_text(json.dumps(record | {"settings": settings}))
        assert cli.main(["rerun", "no.json"]) == 2
        line = capfd.readouterr().err
        assert line.startswith("nst-jax: error: no.json: ") and message in line


def test_a_rerun_takes_the_files_that_are_the_same_wherever_it_is_asked_for(
    photos, monkeypatch, capfd
):
    (photos / "results").mkdir()
    assert (
        cli.main(
            [
                "stylize",
                "photo.jpg",
                "painting.png",
                *QUICK,
                "--num-steps",
                "2",
                "--output",
                "results/out.png",
            ]
        )
        == 0
    )
    elsewhere = photos / "elsewhere"
    elsewhere.mkdir()
    # another image of that name
    (elsewhere / "photo.jpg").write_bytes((photos / "painting.png").read_bytes())
    monkeypatch.chdir(elsewhere)
    assert cli.main(["rerun", "../results/out.json", "--output", "again.png"]) == 0, (
        capfd.readouterr().err
    )
    assert np.array_equal(
        np.asarray(Image.open("../results/out.png")), np.asarray(Image.open("again.png"))
    )


def test_what_a_killed_run_left_half_written_is_removed(photos):
    outputs = "out.png", "out.json", "out_at_iteration_2.png"
    killed = [draft_of(photos / output) for output in outputs]
    for writer in killed:
        writer.__enter__().write_bytes(b"half")
    assert stylize("--num-steps", "2", "--save-every", "2") == 0
    assert not list(photos.glob(".*.partial"))


@pytest.mark.slow
def test_a_run_goes_on_where_nobody_listens(photos):
    words = [
        sys.executable,
        "-m",
        "nst_jax",
        "stylize",
        "photo.jpg",
        "painting.png",
        *QUICK,
        "--num-steps",
        "2",
        "--output",
    ]
    subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *words, "a.png"], check=True, timeout=120)
    with subprocess.Popen([*words, "b.png"], stderr=subprocess.PIPE) as process:
        process.stderr.close()  # as `2>&1 | head -0` does
        assert process.wait(timeout=120) == 0
    assert (photos / "a.png").read_bytes() == (photos / "b.png").read_bytes()


@pytest.mark.slow
def test_a_run_cut_off_between_record_and_image_is_not_finished(photos, capfd):
    """What lies under the result's name may be another's image till then."""
    assert stylize("--num-steps", "3") == 0
    output = photos / "out.png"
    job = replace(job_of_record(Path("out.json"), Path("out.png")), overwrite=True)
    assert stylize("--num-steps", "2", "--overwrite") == 0
    another = output.rename(photos / "another.png")

    def stand_in_the_way(progress):
        output.mkdir(exist_ok=True)

    with pytest.raises(nst.ImageError, match=r"out\.png: is a folder"):
        run_job(job, stand_in_the_way)
    output.rmdir()
    another.rename(output)
    capfd.readouterr()
    assert stylize("--num-steps", "3", "--resume") == 0
    assert "nothing was saved; the run begins anew" in capfd.readouterr().err
    record = json.loads((photos / "out.json").read_text())
    assert (
        record["finished"] and json.loads(Image.open("out.png").info["nst_jax"])["num_steps"] == 3
    )


@pytest.mark.slow
def test_the_same_seed_ends_alike_in_two_processes(photos):
    words = [
        sys.executable,
        "-m",
        "nst_jax",
        "stylize",
        "photo.jpg",
        "painting.png",
        *QUICK,
        "--num-steps",
        "6",
        "--init",
        "noise",
    ]
    for name in ("a.png", "b.png"):
        subprocess.run(
            [*words, "--output", name, "--no-compilation-cache"],
            check=True,
            capture_output=True,
            timeout=120,
        )
    assert (photos / "a.png").read_bytes() == (photos / "b.png").read_bytes()
