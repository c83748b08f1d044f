from pathlib import Path

import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent.chunk import Chunk
from nst_jax.host.now_and_then import NowAndThen
from nst_jax.jobs import stylize_job
from nst_jax.jobs.job import Job
from nst_jax.jobs.presets import PRESETS
from nst_jax.jobs.stylize_job import run_job

LAYERS = {"content_layers": ("conv2_2",), "style_layers": ("conv1_1", "conv2_1")}
RUN = {"network": "vgg16", "size": 48, "num_steps": 2, "save_every": 1, **LAYERS}
JOB = (
    Path("photo.jpg"),
    (Path("painting.png"),),
    Path("out.png"),
    PRESETS["default"].replace(**RUN),
)
PREVIEW = Path("out_preview.png")


@pytest.fixture
def ended(photos):
    """Runs a job; returns what there was of a preview at each step."""

    def run(**how):
        seen = []

        def look(progress):
            seen.append(nst.read_image(PREVIEW) if PREVIEW.exists() else None)

        run_job(Job(*JOB, overwrite=True, **how), look)
        return seen

    return run


def test_the_preview_is_the_best_image_so_far_and_goes_when_the_result_is_there(ended):
    first = ended(preview_every=1e-9)[0]
    assert not PREVIEW.exists()
    np.testing.assert_array_equal(first, nst.read_image("out_at_iteration_1.png"))


@pytest.mark.slow
def test_a_short_run_writes_none_but_removes_that_of_one_that_was_killed(ended, photos):
    def die(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(Job(*JOB, preview_every=1e-9), die)
    left = nst.read_image(PREVIEW)
    before = ended()
    np.testing.assert_array_equal(before[0], left)
    assert not PREVIEW.exists()
    assert ended() == [None, None]
    assert ended(preview_every=0.0) == [None, None]


def test_a_run_that_fails_at_once_leaves_none(photos, monkeypatch):
    chunks_of = stylize_job.chunks_of

    def failing(*arguments, **options):
        for chunk in chunks_of(*arguments, **options):
            progress = chunk.progress
            found = chunk.result()._replace(failure="the loss is not finite", best_step=1)
            yield Chunk(lambda: None, lambda seen=progress: seen, lambda end=found: end)

    monkeypatch.setattr(stylize_job, "chunks_of", failing)
    seen = []
    with pytest.raises(nst.ConfigError, match="the loss is not finite"):
        run_job(Job(*JOB, preview_every=1e-9), lambda progress: seen.append(PREVIEW.exists()))
    assert seen[0] and not PREVIEW.exists()


def test_another_file_of_its_name_is_left_alone(ended, said):
    nst.write_image(PREVIEW, np.zeros((48, 40, 3)))
    before = PREVIEW.read_bytes()
    run_job(Job(*JOB, preview_every=1e-9, overwrite=True), lambda progress: None)
    assert PREVIEW.read_bytes() == before
    assert f"{PREVIEW}: is there already, and no preview" in " ".join(said)


def test_a_preview_that_is_an_input_is_not_lost(photos):
    PREVIEW.write_bytes(Path("photo.jpg").read_bytes())
    with pytest.raises(nst.ImageError, match="is the initial image, which would be lost"):
        run_job(Job(*JOB, initial=PREVIEW, overwrite=True), lambda progress: None)


def test_it_is_time_after_so_many_seconds_and_less_often_where_it_takes_long(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    times, never, at_once = NowAndThen(15), NowAndThen(0), NowAndThen(15, at_once=True)
    assert (times.is_time, never.is_time, at_once.is_time) == (False, False, True)
    now[0] = 15
    assert times.is_time and not never.is_time
    for each in (times, at_once):
        with each.timed():
            now[0] += 2
    assert not at_once.is_time
    now[0] = 17 + 39.9  # 2 s are a twentieth of 40
    assert not times.is_time
    now[0] = 17 + 40
    assert times.is_time
