"""The fine detail of one style with the large forms of another, from files."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nst_jax as nst
from nst_jax import cli
from nst_jax.cli import progress
from nst_jax.descent.fine_style import fine_style_config
from nst_jax.descent.schedule import Scale
from nst_jax.jobs import checkpoint
from nst_jax.jobs.fine_style import as_one_run, fine_style_job
from nst_jax.jobs.job import Job
from nst_jax.jobs.run_plan import RunPlan
from tests.runs import QUICK

COMMAND = ["stylize", "photo.jpg", "painting.png", *QUICK, "--output", "out.png"]
FINE = ["--fine-style", "fine.png", "--fine-until", "conv1_1"]
MADE = "out_fine_style.png"


def test_shares_of_the_run_are_none_of_its_fine_style():
    config = nst.TransferConfig(num_steps=4, coarse_steps=(0.25,))
    assert fine_style_config(config, "conv2_1").coarse_steps == ()


@pytest.fixture
def pictures(photos, rng):
    nst.write_image("fine.png", rng.random((40, 44, 3)) ** 3)
    return photos


@pytest.mark.slow
def test_it_is_made_beside_the_result_and_again_from_the_record(pictures, capfd):
    assert cli.main([*COMMAND, *FINE]) == 0
    record = json.loads((pictures / "out.json").read_text())["settings"]
    paths = {kind: file["path"] for kind, file in record["inputs"].items()}
    assert paths == {"content": "photo.jpg", "style": "painting.png", "fine": "fine.png"}
    assert record["fine_until"] == "conv1_1" and record["num_steps"] == 4
    # what was made is what the library makes of the files, in half of the steps
    params = nst.load_params("vgg16")
    style, fine = (nst.read_image(name, size=48) for name in ("painting.png", "fine.png"))
    layers = {"style_layers": ("conv1_1", "conv2_1")}
    config = nst.TransferConfig(num_steps=2, **layers)
    made = nst.fine_style(params, style, fine, config, until="conv1_1").image
    nst.write_image("wanted.png", made)
    np.testing.assert_array_equal(nst.read_image(MADE), nst.read_image("wanted.png"))
    # and what the run was painted with
    own = ["stylize", "photo.jpg", MADE, *QUICK, "--output", "own.png"]
    assert cli.main(own) == 0
    np.testing.assert_array_equal(nst.read_image("own.png"), nst.read_image("out.png"))
    assert cli.main(["rerun", "out.json"]) == 0
    for name in ("out", "out_rerun"):
        np.testing.assert_array_equal(nst.read_image(f"{name}.png"), nst.read_image("own.png"))
    np.testing.assert_array_equal(
        nst.read_image("out_rerun_fine_style.png"), nst.read_image("wanted.png")
    )
    assert cli.main([*COMMAND, *FINE, "--resume"]) == 0  # both are there, finished
    assert "is there already, finished" in capfd.readouterr().out
    nst.write_image("fine.png", style)
    assert cli.main([*COMMAND, *FINE, "--resume"]) == 2
    assert cli.main(["rerun", "out.json", "--output", "other.png"]) == 2
    assert not list(pictures.glob("other*"))


@pytest.mark.slow
def test_each_of_the_two_runs_is_said_before_it_begins(pictures, capfd):
    assert cli.main([*COMMAND, *FINE]) == 0
    style, own = [line for line in capfd.readouterr().err.splitlines() if " steps, on " in line]
    assert style.startswith("48 × 34 pixels, 2 of 6 steps, on ")
    assert own.startswith("40 × 48 pixels, 4 steps, on ")
    assert cli.main([*COMMAND, *FINE, "--overwrite", "--json-lines"]) == 0
    starts = [
        event
        for event in map(json.loads, capfd.readouterr().out.splitlines())
        if event["event"] == "start"
    ]
    assert [(start["of"], start["num_steps"]) for start in starts] == [("style", 2), ("picture", 4)]


def test_the_time_left_is_of_both_runs_and_each_keeps_its_own_rates(monkeypatch, tmp_path):
    """A style of 4 steps at 2 s, then a picture of the same size: 8 steps at 6 s."""
    kept, now, told = {}, [0.0], []
    monkeypatch.setattr(progress, "read_rates", lambda program: kept.get(program, {}))
    monkeypatch.setattr(
        progress, "keep_rates", lambda program, rates: kept.update({program: rates})
    )
    monkeypatch.setattr(progress, "_progress_event", lambda shown, loss, left: told.append(left))
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def run():
        told.clear()
        picture = RunPlan([Scale((10, 10), 8)], "cpu", 1, 1, "picture")
        style = RunPlan([Scale((10, 10), 4)], "cpu", 1, 1, "style", then=picture)
        with progress.ProgressDisplay() as display:
            shows = as_one_run(display, nst.Preset(nst.TransferConfig(num_steps=8)))
            for plan, show, seconds in zip((style, picture), shows, (2.0, 6.0), strict=True):
                display.start(plan)
                now[0] += 100.0  # it is compiled
                for step in range(1, plan.num_steps + 1):
                    now[0] += seconds
                    ahead = (Scale((10, 10), plan.num_steps - step),)
                    losses = [np.float32(1)] * 3
                    show(
                        nst.Progress(
                            step, plan.num_steps, step / plan.num_steps, *losses, None, ahead
                        )
                    )
        return list(told)

    assert run()[:4] == [None] * 4  # how long the picture takes, nobody knows yet
    assert kept == {"style": {(10, 10): 0.02}, "picture": {(10, 10): 0.06}}
    again = run()
    assert again[:4] == [None, None, 50, 48]
    assert again[4:] == [None, 36, 30, 24, 18, 12, 6, 0]


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 3])
def test_a_run_goes_on_wherever_it_was_cut_off(pictures, monkeypatch, cut):
    assert cli.main([*COMMAND, *FINE]) == 0
    command = ["cut.png" if word == "out.png" else word for word in [*COMMAND, *FINE]]
    save, seen = checkpoint.Saver.save, []

    def stopping(self, chunk, is_last=False):
        seen.append(1)
        if len(seen) == cut:  # while the style is made, or the picture
            os.kill(os.getpid(), signal.SIGTERM)
        save(self, chunk, is_last or len(seen) == cut)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.Saver, "save", stopping)
        assert cli.main(command) == 128 + signal.SIGTERM
    assert cli.main([*command, "--resume"]) == 0
    for first, again in ((MADE, "cut_fine_style.png"), ("out.png", "cut.png")):
        np.testing.assert_array_equal(nst.read_image(again), nst.read_image(first))
    assert not list(pictures.glob("*.checkpoint*")) and not list(pictures.glob(".*.partial"))


@pytest.mark.slow
def test_detail_is_as_large_as_it_is_and_forms_as_they_are_asked_for(pictures):
    assert cli.main([*COMMAND, *FINE, "--style-size", "2x"]) == 0
    assert nst.read_image(MADE).shape == (69, 96, 3)  # twice 48
    record = json.loads((pictures / "out_fine_style.json").read_text())["settings"]
    assert (record["size"], record["style_size"]) == (96, ["48"])
    assert cli.main(["rerun", "out_fine_style.json", "--output", "again.png"]) == 0
    np.testing.assert_array_equal(nst.read_image("again.png"), nst.read_image(MADE))


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--fine-style", "none.png"], "none.png: cannot be read"),
        ([*FINE[:3], "conv9_1"], "unknown layer 'conv9_1' in --fine-until"),
        ([*FINE, "--style-layers", "conv2_1"], "--fine-until is conv1_1, but the first of the st"),
        (["--fine-until", "conv1_1"], "--fine-until is conv1_1, but there is no --fine-style"),
        ([*FINE, "--overwrite", "-o", "fine.png"], "fine.png: is the fine image"),
        (["--fine-style", MADE, "--overwrite"], f"{MADE}: is the fine image"),
    ],
)
def test_what_cannot_be_is_one_line(pictures, capfd, arguments, said):
    nst.write_image(MADE, nst.read_image("fine.png"))
    before = {path: path.read_bytes() for path in pictures.iterdir() if path.is_file()}
    assert cli.main([*COMMAND, *arguments]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and said in lines[0]
    assert before == {path: path.read_bytes() for path in pictures.iterdir() if path.is_file()}


def test_several_styles_have_no_one_detail(pictures, capfd):
    nst.write_image("other.png", nst.read_image("fine.png"))
    command = [*COMMAND[:3], "other.png", *COMMAND[3:], *FINE]
    assert cli.main(command) == 2
    assert "gives one style its detail, but the style images are 2" in capfd.readouterr().err


def test_nothing_holds_it_to_the_style_that_it_begins_with(tmp_path):
    beside_grain = ["tv_weight", "edge_weight", "matting_weight", "neighbours_weight"]
    weights = dict.fromkeys([*beside_grain, "grain_weight"], 1.0)
    paths = Path("photo.jpg"), (Path("style.jpg"),), tmp_path / "out.png"
    job = Job(*paths, nst.Preset(**weights), fine=Path("fine.jpg"))
    made = fine_style_job(job)
    assert made.preset.config.content_layers == ()
    assert [getattr(made.preset, name) for name in weights] == [0, 0, 0, 0, 1]  # of its own detail


@pytest.mark.slow
def test_devices_share_the_rows_of_the_style_too(pictures):
    command = [*COMMAND, *FINE, "--devices", "4"]
    run = lambda words: subprocess.run(
        [sys.executable, "-m", "nst_jax", *words],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "4"},
        capture_output=True,
        text=True,
        check=False,
    )
    ended = run(command)
    assert ended.returncode == 0, ended.stderr
    record = json.loads((pictures / "out_fine_style.json").read_text())["settings"]
    assert (record["height"], record["num_devices"]) == (34, 2)  # 34 rows do not go round four
    assert run(["rerun", "out.json"]).returncode == 0
    for name in ("", "_fine_style"):
        again = nst.read_image(f"out_rerun{name}.png")
        np.testing.assert_array_equal(again, nst.read_image(f"out{name}.png"))
    assert cli.main([*COMMAND, *FINE, "--overwrite"]) == 0  # on one device
    np.testing.assert_allclose(
        nst.read_image(MADE), nst.read_image("out_rerun_fine_style.png"), atol=3 / 255
    )
