import csv
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax import cli
from nst_jax.descent.snapshot import SnapshotError
from nst_jax.jobs.rerun import job_of_record
from nst_jax.report.perceptual import lpips_distance
from tests.runs import QUICK_STUDY

STUDY = ["study", "photo.jpg", "painting.png", *QUICK_STUDY]
FOLDER_FILES = {
    "study.json",
    "lanes.csv",
    "contact_sheet.png",
    "losses.png",
    "index.html",
    "content_photo.png",
    "style_painting.png",
    "lanes",
}


def table_of(folder):
    with (folder / "lanes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def results(folder):
    """Everything in a study's folder that does not say how long it took or where."""
    found = {path.name: path.read_bytes() for path in (folder / "lanes").glob("*.png")}
    for path in (folder / "lanes").glob("*.json"):
        record = json.loads(path.read_text())
        found[path.name] = {
            key: value for key, value in record.items() if key not in ("seconds", "ran")
        }
    found["lanes.csv"] = (folder / "lanes.csv").read_bytes()
    return found


@pytest.mark.slow
def test_a_study_writes_its_folder_and_does_only_what_is_missing(photos, capfd):
    words = [
        *STUDY,
        "--style-weight",
        "5",
        "80",
        "1e30",
        "--seed",
        "0",
        "1",
        "--init",
        "noise",
        "--output-dir",
        "out",
    ]
    assert cli.main(words) == 1  # two lanes fail
    assert {path.name for path in Path("out").iterdir()} == FOLDER_FILES
    rows = table_of(Path("out"))
    assert [row["lane"] for row in rows] == [
        f"style_weight={weight},seed={seed}" for weight in ("5", "80", "1e+30") for seed in (0, 1)
    ]
    assert [row["status"] for row in rows] == ["finished"] * 4 + ["failed"] * 2
    assert "step 1 is not finite" in rows[4]["reason"] and not rows[0]["reason"]
    record = json.loads(Path("out/lanes/style_weight=80,seed=1.json").read_text())
    content, style = nst.read_image("photo.jpg", size=48), nst.read_image("painting.png", size=48)
    layers = {"content_layers": ("conv2_2",), "style_layers": ("conv1_1", "conv2_1")}
    config = nst.TransferConfig(num_steps=4, init="noise", **layers)
    single = nst.stylize(
        nst.load_params("vgg16"),
        content,
        style,
        config,
        nst.LossWeights(style=80.0),
        key=jax.random.key(1),
    )
    np.testing.assert_allclose(record["history"]["loss"], single.losses, rtol=1e-6)
    written = nst.read_image("out/lanes/style_weight=80,seed=1.png")
    np.testing.assert_allclose(written, single.image, atol=0.5 / 255 + 1e-3)
    assert float(rows[3]["lpips"]) == pytest.approx(lpips_distance(content, written), rel=1e-6)
    assert "6 lanes run here, 2 FAILED" in capfd.readouterr().out

    before = results(Path("out"))
    stamps = {path: path.stat().st_mtime_ns for path in Path("out/lanes").iterdir()}
    gone = Path("out/lanes/style_weight=5,seed=1.png")
    gone.unlink()
    assert cli.main(words) == 1
    captured = capfd.readouterr()
    assert "5 of 6 lanes are there already" in captured.err and "1 lane run here" in captured.out
    assert results(Path("out")) == before
    changed = {
        path.name for path in Path("out/lanes").iterdir() if path.stat().st_mtime_ns != stamps[path]
    }
    assert changed == {"style_weight=5,seed=1.png", "style_weight=5,seed=1.json"}

    assert cli.main([*words, "--num-steps", "5"]) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert (
        "out: holds a study of other settings (--num-steps differs at "
        "style_weight=5,seed=0); pass --overwrite, or choose"
    ) in line
    assert results(Path("out")) == before


def test_a_checkpoint_of_another_version_is_named(photos, monkeypatch, capfd):
    def refuse(*arguments, **options):
        raise SnapshotError("what was saved is of another version")

    monkeypatch.setattr("nst_jax.jobs.study_job.run_lanes", refuse)
    assert cli.main([*STUDY, "--style-weight", "5", "20", "--output-dir", "study"]) == 2
    said = capfd.readouterr().err
    assert "study/.process_0.checkpoint: what was saved" in said and "remove it" in said


@pytest.mark.slow
def test_a_study_killed_half_way_ends_as_one_never_stopped(photos):
    words = [
        sys.executable,
        "-m",
        "nst_jax",
        *STUDY,
        "--style-weight",
        "5",
        "20",
        "80",
        "--init",
        "noise",
        "content",
        "--output-dir",
    ]
    subprocess.run([*words, "whole"], check=True, capture_output=True)
    process = subprocess.Popen(
        [*words, "killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    lanes = Path("killed/lanes")
    deadline = time.monotonic() + 300
    while len(list(lanes.glob("*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in lanes.glob("*.json")}
    assert 2 <= len(finished) < 6 and not Path("killed/study.json").exists()
    assert "to come" in Path("killed/index.html").read_text()
    done = subprocess.run([*words, "killed"], check=True, capture_output=True, text=True)
    assert f"({6 - len(finished)} lane" in done.stdout
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in finished.items())
    assert results(Path("killed")) == results(Path("whole"))
    assert sorted(path.relative_to("killed") for path in Path("killed").rglob("*")) == sorted(
        path.relative_to("whole") for path in Path("whole").rglob("*")
    )


def run_two(words, environment, *own):
    """Exit status, output and messages of two processes of one command, each with words of its
    own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    joined = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    both = [
        subprocess.Popen([*words, *own[index], *joined, str(index)], **pipes) for index in (0, 1)
    ]
    outputs = [process.communicate(timeout=300) for process in both]
    return [(process.returncode, *texts) for process, texts in zip(both, outputs, strict=True)]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(photos):
    words = [
        sys.executable,
        "-m",
        "nst_jax",
        *STUDY,
        "--style-weight",
        "5",
        "20",
        "80",
        "--seed",
        "0",
        "1",
        "--init",
        "noise",
        "--output-dir",
    ]
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_PLATFORMS": "cpu",
    }
    subprocess.run([*words, "one"], check=True, capture_output=True, env=environment)
    outputs = run_two(words, environment, ["two"], ["two"])
    assert [output[0] for output in outputs] == [0, 0], outputs
    assert "3 lanes run here" in outputs[0][1] and "wrote" not in outputs[1][1]
    assert {path.name for path in Path("two").iterdir()} == FOLDER_FILES
    assert results(Path("two")) == results(Path("one"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("none.jpg", "none.jpg: cannot be read"),
        ("empty", "empty: is a folder without images"),
        ("other.jpg", "the lanes differ between the processes"),
    ],
)
def test_a_process_that_fails_ends_the_others(photos, rng, content, message):
    Path("empty").mkdir()
    nst.write_image("other.jpg", rng.random((48, 40, 3)))
    words = [sys.executable, "-m", "nst_jax", "study"]
    common = ["painting.png", *STUDY[3:], "--seed", "0", "1", "--output-dir", "out"]
    (_, _, good), (_, _, bad) = outputs = run_two(
        words, os.environ | {"JAX_PLATFORMS": "cpu"}, ["photo.jpg", *common], [content, *common]
    )
    assert [output[0] for output in outputs] == [2, 2], outputs
    assert ("another process of this command failed" in good or message in good) and message in bad
    assert not Path("out").exists()


@pytest.mark.slow
def test_only_what_is_meant_is_overwritten(photos, capfd):
    assert cli.main([*STUDY, "--style-weight", "5", "80", "--output-dir", "out"]) == 0
    before = results(Path("out"))
    Path("mine").mkdir()
    Path("mine/index.html").write_text("mine")
    Path("odd").mkdir()
    Path("odd/study.json").write_text('{"lanes": 3}')
    for words, message in (
        (
            ["--style-weight", "80", "--output-dir", "out"],
            "out: holds a study with other lanes (style_weight=5)",
        ),
        (["--output-dir", "mine"], "mine/index.html: is there already, of no study"),
        (
            ["--output-dir", "odd"],
            "odd/study.json: is not the record of a study ($.lanes: expected array, got int)",
        ),
    ):
        capfd.readouterr()
        assert cli.main([*STUDY, *words]) == 2
        assert (
            capfd.readouterr()
            .err.splitlines()[-1]
            .endswith(f"{message}; pass --overwrite, or choose another --output-dir")
        )
    assert results(Path("out")) == before and Path("mine/index.html").read_text() == "mine"
    # more lanes of the same study lose nothing
    assert cli.main([*STUDY, "--style-weight", "5", "80", "90", "--output-dir", "out"]) == 0
    assert "1 lane run here, 2 were there" in capfd.readouterr().out
    assert (
        cli.main(
            [
                *STUDY,
                "--style-weight",
                "80",
                "--output-dir",
                "out",
                "--overwrite",
                "--num-steps",
                "2",
            ]
        )
        == 0
    )
    assert [row["steps"] for row in table_of(Path("out"))] == ["2"]


@pytest.mark.parametrize("place", ["lanes/lane.png", "contact_sheet.png", "style_painting.png"])
def test_a_study_does_not_overwrite_what_it_is_made_of(place, photos, capfd):
    path = photos / "out" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((photos / "painting.png").read_bytes())
    words = [
        "study",
        str(path),
        "painting.png",
        "--network",
        "vgg16",
        "--size",
        "48",
        "--num-steps",
        "1",
        "--output-dir",
        "out",
    ]
    assert cli.main([*words, "--overwrite"]) == 2
    assert (
        f"is the content {path.stem} image, which would be lost; choose another --output-dir"
        in capfd.readouterr().err
    )
    assert path.read_bytes() == (photos / "painting.png").read_bytes()


@pytest.mark.slow
def test_a_study_and_its_lanes_are_made_again_from_their_records(photos, capfd):
    Path("grid.toml").write_text(
        "style_weight = [5, 80]\nlayer_weights.fine = {conv1_1 = 0.5, conv2_1 = 0.5}\n"
    )
    words = ["--grid", "grid.toml", "--init", "noise", "--seed", "3", "--output-dir", "out"]
    assert cli.main([*STUDY, *words]) == 0
    assert cli.main(["rerun", "out/study.json"]) == 0
    assert (photos / "out_rerun" / "lanes.csv").read_bytes() == (
        photos / "out" / "lanes.csv"
    ).read_bytes()
    for path in Path("out/lanes").glob("*.png"):
        assert path.read_bytes() == Path("out_rerun/lanes", path.name).read_bytes()
    assert cli.main(["rerun", "out/lanes/style_weight=80.json", "--output", "again.png"]) == 0
    assert np.array_equal(
        nst.read_image("again.png"), nst.read_image("out/lanes/style_weight=80.png")
    )
    assert cli.main(["rerun", "again.json", "--output", "third.png"]) == 0
    assert np.array_equal(nst.read_image("third.png"), nst.read_image("again.png"))
    nst.write_image("painting.png", np.zeros((40, 40, 3)))
    capfd.readouterr()
    assert cli.main(["rerun", "out/study.json", "--resume"]) == 2
    assert "out/study.json: is of a study, which goes on by itself" in capfd.readouterr().err
    assert cli.main(["rerun", "out/study.json", "--overwrite"]) == 2
    assert "painting.png: is not the style painting that the record is of" in capfd.readouterr().err


@pytest.mark.slow
def test_a_study_of_losses_of_ones_own_names_their_terms(photos):
    from nst_jax.host.processes import Processes
    from nst_jax.jobs.job import StudyJob
    from nst_jax.jobs.study_job import run_study_job

    plain = nst.content(("conv2_2",)) + 20 * nst.style(("conv1_1", "conv2_1"))
    losses = {"plain": plain, "smooth": plain + 5 * nst.TotalVariation()}
    preset = nst.Preset().replace(network="vgg16", size=48, num_steps=2)
    job = StudyJob(
        (photos / "photo.jpg",),
        (photos / "painting.png",),
        photos / "out",
        preset,
        {"loss": losses},
    )
    quiet = lambda *_: None
    assert run_study_job(job, Processes(), quiet, quiet, quiet).computed == 2
    assert run_study_job(job, Processes(), quiet, quiet, quiet).kept == 2
    head, *rows = (photos / "out" / "lanes.csv").read_text().splitlines()
    assert {"content_conv2_2", "style_conv1_1", "total_variation"} <= set(head.split(",")) and len(
        rows
    ) == 2
    record = json.loads((photos / "out" / "lanes" / "loss=smooth.json").read_text())
    assert record["settings"]["terms"]["total_variation"]["weight"] == 5.0
    for path in ("out/study.json", "out/lanes/loss=smooth.json"):
        with pytest.raises(nst.ConfigError, match="was made with a loss given in Python"):
            job_of_record(photos / path, None)
    other = dataclasses.replace(job, axes={"loss": losses | {"smooth": 2 * losses["smooth"]}})
    with pytest.raises(nst.ConfigError, match="holds a study of other settings"):
        run_study_job(other, Processes(), quiet, quiet, quiet)


@pytest.mark.slow
def test_a_damaged_lane_is_painted_again(photos, capfd):
    words = [
        *STUDY,
        "--num-steps",
        "1",
        "--seed",
        "0",
        "1",
        "--init",
        "noise",
        "--output-dir",
        "out",
    ]
    assert cli.main(words) == 0
    before = results(Path("out"))
    Path("out/lanes/seed=1.png").write_bytes(b"damaged")
    assert cli.main(words) == 0
    assert (
        "1 lane run here, 1 was there" in capfd.readouterr().out and results(Path("out")) == before
    )


@pytest.mark.slow
def test_images_may_have_long_names_and_lie_among_other_files(photos):
    Path("styles").mkdir()
    Path("styles/notes.txt").write_text("not an image")
    Path("painting.png").rename(f"styles/{'x' * 251}.png")
    assert (
        cli.main(
            ["study", "photo.jpg", "styles", *STUDY[3:], "--num-steps", "1", "--output-dir", "out"]
        )
        == 0
    )
    files = json.loads(Path("out/study.json").read_text())["styles"]
    assert list(files) == ["x" * 251] and all(
        (Path("out") / file).is_file() for file in files.values()
    )


@pytest.mark.slow
def test_a_grid_file_says_what_varies(photos, capfd):
    Path("grid.toml").write_text(
        """
        content = "photo.jpg"
        style = ["painting.png", "photo.jpg"]
        style_weight = 30
        layer_weights.fine = {conv1_1 = 1.0}
        layer_weights.coarse = {conv2_1 = 2.0, conv2_2 = 0.5}
        """
    )
    assert (
        cli.main(
            ["study", "--grid", "grid.toml", "--output-dir", "out", *STUDY[3:], "--num-steps", "1"]
        )
        == 0
    )
    records = [json.loads(path.read_text()) for path in sorted(Path("out/lanes").glob("*.json"))]
    assert [record["coordinates"] for record in records] == [
        {"style": style, "layer_weights": name}
        for style in ("painting", "photo")
        for name in ("coarse", "fine")
    ]
    assert {record["lane"]["style_weight"] for record in records} == {30.0}
    assert records[0]["settings"]["weights_by_layer"] == {"conv2_1": 2.0, "conv2_2": 0.5}
    terms = records[0]["history"]["terms"]
    expected = 0.5 * terms["content"]["conv2_2"][0] + 30 * 2.0 * terms["style"]["conv2_1"][0]
    expected += 0.1 * terms["grain"]["all"][0]
    np.testing.assert_allclose(records[0]["best_loss"], expected, rtol=1e-5)


@pytest.mark.slow
def test_reconstructions_come_near_what_their_layers_see(photos):
    words = [
        "reconstruct",
        "photo.jpg",
        "--output-dir",
        "out",
        "--network",
        "vgg16",
        "--size",
        "48",
        "--num-steps",
        "20",
    ]
    assert (
        cli.main(
            [*words, "--content-layers", "conv1_2", "conv2_2", "--style-layers", "conv1_1+conv2_1"]
        )
        == 0
    )
    records = [json.loads(path.read_text()) for path in sorted(Path("out/lanes").glob("*.json"))]
    assert [
        (record["lane"]["content_layers"], record["lane"]["style_layers"]) for record in records
    ] == [
        (["conv1_2"], []),
        (["conv2_2"], []),
        ([], ["conv1_1", "conv2_1"]),
    ]
    for record in records:
        losses = record["history"]["loss"]
        assert record["best_loss"] < 0.5 * losses[0]
        assert "grain" not in record["history"]["terms"]


@pytest.mark.slow
def test_one_reconstruction_has_a_report(photos):
    words = [
        "reconstruct",
        "photo.jpg",
        "--output-dir",
        "out",
        "--network",
        "vgg16",
        "--size",
        "48",
        "--num-steps",
        "1",
    ]
    assert cli.main([*words, "--content-layers", "conv1_1"]) == 0
    assert {path.name for path in Path("out/lanes").iterdir()} == {
        "lane.png",
        "lane.json",
    } and Path("out/index.html").is_file()


BAD = {
    "no style": (["photo.jpg"], "there is no style image; give CONTENT and STYLE"),
    "empty folder": (["photo.jpg", "empty"], "empty: is a folder without images"),
    "bad weight": (
        ["photo.jpg", "painting.png", "--style-weight", "-1"],
        "a value of axis style_weight is -1.0; it must be a finite number",
    ),
    "twice": (
        ["photo.jpg", "painting.png", "--seed", "1", "1"],
        "axis seed has a value twice: 1, 1",
    ),
    "bad layer": (
        ["photo.jpg", "painting.png", "--content-layers", "conv4_2+conv9_1"],
        "unknown layer 'conv9_1' in --content-layers",
    ),
    "absent layer": (
        ["photo.jpg", "painting.png", "--content-layers", "conv4_4"],
        "unknown layer 'conv4_4': vgg16 has",
    ),
    "absent layer in a later group": (
        ["photo.jpg", "painting.png", "--content-layers", "conv1_1", "conv4_4"],
        "unknown layer 'conv4_4'",
    ),
    "unzippable": (
        ["photo.jpg", "painting.png", "--zip", "--seed", "0", "1", "--tv-weight", "0", "1", "2"],
        "must have equally many values",
    ),
    "no grid": (["--grid", "none.toml"], "none.toml: cannot be read (No such file or directory)"),
    "bad grid": (["--grid", "bad.toml"], "bad.toml: is neither TOML nor"),
    "unknown key": (
        ["--grid", "key.toml"],
        "key.toml: unknown key 'style_wieght'; did you mean style_weight?",
    ),
    "file as folder": (["photo.jpg", "painting.png", "--output-dir", "photo.jpg"], "photo.jpg"),
    "lone coordinator": (
        ["photo.jpg", "painting.png", "--coordinator", "localhost:1"],
        "give all three, or --distributed alone",
    ),
    "unprintable": (
        [os.fsdecode(b"\xff.png"), "painting.png"],
        "b'\\xff.png': the name holds what cannot be printed; rename the image",
    ),
    "one file name for two": (
        ["colliding", "painting.png"],
        "two content images have the same name; rename one",
    ),
    "no lanes": (
        ["photo.jpg", "painting.png", "--lanes", "0"],
        "the number of lanes at once is 0; it must be at least 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_studies_are_one_line_and_status_2_and_leave_nothing(case, photos, capfd):
    Path("empty").mkdir()
    Path("colliding").mkdir()
    for name in ("a?b", "a_b"):
        nst.write_image(f"colliding/{name}.png", np.zeros((48, 40, 3)))
    Path("bad.toml").write_text("style_weight = [")
    Path("key.toml").write_text("style_wieght = [1]")
    before = sorted(photos.rglob("*"))
    words, message = BAD[case]
    assert (
        cli.main(["study", *words, "--network", "vgg16", "--size", "48", "--num-steps", "1"]) == 2
    )
    lines = [
        line for line in capfd.readouterr().err.splitlines() if not line.startswith("network: ")
    ]
    assert len(lines) == 1 and lines[0].startswith("nst-jax: error: ") and message in lines[0]
    assert sorted(photos.rglob("*")) == before


@pytest.mark.slow
def test_a_study_of_one_value_grows_an_axis(photos, capfd):
    """What was painted under a name without the axis is kept under its name with it."""
    words = [*STUDY, "--style-weight", "5", "--output-dir", "out"]
    assert cli.main(words) == 0
    painted = Path("out/lanes/lane.png").read_bytes()
    wider = [*STUDY, "--style-weight", "5", "80", "--output-dir", "out"]
    assert cli.main([*wider, "--num-steps", "5"]) == 2
    assert "holds a study with other lanes (lane); pass --overwrite" in capfd.readouterr().err
    assert Path("out/lanes/lane.png").read_bytes() == painted
    assert cli.main(wider) == 0
    captured = capfd.readouterr()
    assert "1 of 2 lanes are there already" in captured.err and "1 lane run here" in captured.out
    assert {path.name for path in Path("out/lanes").iterdir()} == {
        f"style_weight={weight}{ending}" for weight in (5, 80) for ending in (".png", ".json")
    }
    assert Path("out/lanes/style_weight=5.png").read_bytes() == painted
    record = json.loads(Path("out/lanes/style_weight=5.json").read_text())
    assert record["output"] == "style_weight=5.png"
    assert record["coordinates"] == {"style_weight": "5"}
    rows = table_of(Path("out"))
    assert [(row["lane"], row["style_weight"]) for row in rows] == [
        ("style_weight=5", "5.0"),
        ("style_weight=80", "80.0"),
    ]
    assert set(rows[0]) >= {"status", "reason", "steps", "best_step", "best_loss"} <= set(record)
    # killed between the lanes' new names and the study's new record
    study = Path("out/study.json")
    study.write_text(json.dumps(json.loads(study.read_text()) | {"lanes": ["lane"]}))
    assert cli.main(wider) == 0
    assert "2 of 2 lanes are there already" in capfd.readouterr().err
