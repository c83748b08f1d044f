import json
import re
from pathlib import Path

import pytest

from nst_jax.host.processes import Processes
from nst_jax.jobs.job import StudyJob
from nst_jax.jobs.presets import PRESETS
from nst_jax.jobs.study_job import run_study_job
from nst_jax.jobs.study_page import StudyPage
from nst_jax.jobs.study_plan import plan_study

LAYERS = {"content_layers": ("conv2_2",), "style_layers": ("conv1_1", "conv2_1")}
RUN = {"network": "vgg16", "size": 48, "num_steps": 2, **LAYERS}


def study():
    preset = PRESETS["default"].replace(**RUN)
    images = (Path("photo.jpg"),), (Path("painting.png"),)
    axes = {"style_weight": [5, 20, 80]}
    return StudyJob(*images, Path("out"), preset, axes, lanes_at_once=1)


def shown():
    """What the page says of the lanes, or None where there is no page."""
    path = Path("out/index.html")
    if not path.exists():
        return None
    data = re.search(r'id="data">(.*?)</script>', path.read_text(), re.DOTALL)[1]
    return json.loads(data)


def statuses():
    return [lane["status"] for lane in shown()["lanes"]]


@pytest.mark.slow
def test_the_page_is_there_from_the_first_lane_on(photos, said):
    seen = []

    def look(progress):
        if shown() is not None and not seen:  # while the second lane runs
            seen.append(shown())
            assert not Path("out/study.json").exists()

    run_study_job(study(), Processes(), lambda count: None, look, lambda *_: None)
    (page,) = seen
    assert [lane["status"] for lane in page["lanes"]] == ["finished", "to come", "to come"]
    first, second, third = page["lanes"]
    assert first["image"] and first["curve"][0] == [1, 2]
    assert second["image"] is None and second["curve"] == [[], []]
    assert third["coordinates"] == {"style_weight": "80"}
    after = shown()
    for lane, planned in zip(after["lanes"], page["lanes"], strict=True):
        assert lane["settings"] == planned["settings"] and lane["status"] == "finished"
    for name in ("axes", "grid", "contents", "styles", "settings"):
        assert page[name] == after[name]

    # A picture without a record is that of a study before.
    for name in ("style_weight=20", "style_weight=80"):
        Path(f"out/lanes/{name}.json").unlink()
    plan = plan_study(study())
    StudyPage(plan, 0.0).update()
    assert statuses() == ["finished"] * 3
    page = StudyPage(plan, 15.0)
    page.update()
    assert statuses() == ["finished", "to come", "to come"]
    assert [bool(lane["image"]) for lane in shown()["lanes"]] == [True, False, False]
    before = Path("out/index.html").stat().st_mtime_ns
    page.update()  # too soon
    assert Path("out/index.html").stat().st_mtime_ns == before
    Path("out/index.html").unlink()
    Path("out/index.html").mkdir()
    StudyPage(plan, 15.0).update()
    assert "out/index.html: cannot be written so far" in said[-1]
