from pathlib import Path

import pytest

import nst_jax as nst
from nst_jax.jobs.job import Job
from nst_jax.jobs.presets import PRESETS
from nst_jax.jobs.stylize_job import run_job

LAYERS = {"content_layers": ("conv2_2",), "style_layers": ("conv1_1", "conv2_1")}
RUN = {"network": "vgg16", "size": 48, **LAYERS}


def run(num_steps, save_every=0, content="photo.jpg", output="o[u]t.png", **how):
    preset = PRESETS["default"].replace(**RUN, num_steps=num_steps, save_every=save_every)
    job = Job(Path(content), (Path("painting.png"),), Path(output), preset, **how)
    return run_job(job, lambda progress: None)


def frames():
    return sorted(path.name for path in Path().glob("*_at_iteration_*"))


@pytest.mark.slow
def test_frames_sort_and_overwrite_removes_those_of_the_run_before(photos):
    run(10, 5)
    assert frames() == ["o[u]t_at_iteration_05.png", "o[u]t_at_iteration_10.png"]
    others = ["o[u]t_at_iteration_best.png", "o[u]t_at_iteration_5.jpg", "ut_at_iteration_5.png"]
    others += ["out_at_iteration_5.png", "an_o[u]t_at_iteration_5.png", "o[u]t_at_iteration_٥.png"]
    others += ["o[u]t_at_iteration_5.png.png", "o[u]t_at_iteration_-5.png"]
    for name in others:
        Path(name).write_bytes(b"")
    Path("o[u]t_at_iteration_3.png").write_bytes(b"")  # as an earlier version named them
    before = frames()
    with pytest.raises(nst.ConfigError, match=r"is there already; pass --overwrite"):
        run(2, 1)
    with pytest.raises(nst.ImageError, match="05 image, which would be lost"):
        run(2, content="o[u]t_at_iteration_05.png", overwrite=True)
    assert run(10, resume=True) is None  # it is there, finished
    assert frames() == before
    run(2, 1, overwrite=True)
    assert frames() == sorted([*others, "o[u]t_at_iteration_1.png", "o[u]t_at_iteration_2.png"])
    run(2, overwrite=True)
    assert frames() == sorted(others)
