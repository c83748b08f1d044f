"""Results of the library in a notebook, and as files."""

import io
import json
import sys
import types

import jax
import numpy as np
import pytest
from PIL import Image

import nst_jax as nst
from nst_jax.host.bars import Bar
from nst_jax.jobs.rerun import job_of_record
from nst_jax.report.write import lay_out

SHALLOW = dict(content_layers=("conv1_2",), style_layers=("conv1_1",), coarse_to_fine=False)
CONFIG = nst.TransferConfig(num_steps=3, optimizer="adam", **SHALLOW)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(1)
    return rng.random((40, 32, 3), np.float32), rng.random((20, 28, 3), np.float32)


@pytest.fixture(scope="module")
def result(vgg16_params, images):
    return nst.stylize(vgg16_params, *images, CONFIG)


@pytest.fixture(scope="module")
def batch(vgg16_params, images):
    weights = nst.LossWeights(style=[5.0, 20.0])
    return nst.stylize_batch(vgg16_params, *images, CONFIG, weights)


@pytest.fixture(scope="module")
def study(vgg16_params, images):
    content, style = images
    axes = {"style_weight": [5, 20], "seed": [0, 1]}
    return nst.run_study(vgg16_params, {"photo": content}, {"painting": style}, axes, CONFIG)


@pytest.mark.slow
def test_a_result_is_three_lines(result, batch, study):
    for found in (result, batch, study):
        assert len(repr(found).splitlines()) == 3
    assert repr(result).startswith("TransferResult: 32 × 40 pixels, all steps made\n  loss ")
    assert f"loss {float(result.loss):.4g} at step {result.best_step} of 3" in repr(result)
    at_best = result.terms["style"]["conv1_1"][int(result.best_step) - 1]
    assert f"style {float(at_best):.4g}" in repr(result)
    assert repr(batch).startswith("TransferResult: 2 lanes of 32 × 40 pixels\n  losses ")
    assert "\n  style_weight = 5, 20; seed = 0, 1\n" in repr(study) and "4 lanes" in repr(study)


def test_the_three_lines_say_how_a_run_ended(result):
    assert "cut off" in repr(result._replace(cut_off=np.array(True)))
    assert "failed" in repr(result._replace(failure=np.array("it is not finite")))
    unseen = result._replace(best_step=np.array(0), loss=np.array(np.inf))
    assert "loss inf at step 0" in repr(unseen)


def test_what_transformations_make_of_a_result_can_be_shown(result):
    assert "None" in repr(jax.tree.map(lambda leaf: None, result))
    assert "'image'" in repr(jax.tree_util.tree_map_with_path(lambda path, _: str(path), result))


def shown(found):
    with Image.open(io.BytesIO(found._repr_png_())) as picture:
        return np.asarray(picture.convert("RGB"), np.float32) / 255


def test_a_notebook_shows_the_pictures(result, batch, study):
    np.testing.assert_allclose(shown(result), result.image, atol=0.5 / 255 + 1e-6)
    side_by_side = shown(batch)
    np.testing.assert_allclose(side_by_side[:, :32], batch.image[0], atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(side_by_side[:, -32:], batch.image[1], atol=0.5 / 255 + 1e-6)
    sheet = shown(study)
    assert sheet.shape[0] > 2 * 40 and sheet.shape[1] > 2 * 32


def test_a_result_is_saved_with_its_history(result, tmp_path):
    result.save(tmp_path / "a.png")
    result.save(str(tmp_path / "a.png"))  # again, as a cell of a notebook does
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a.json"}
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["best_loss"] == float(result.loss) and found["best_step"] == result.best_step
    assert found["history"]["loss"] == [float(loss) for loss in result.losses]
    image = nst.read_image(tmp_path / "a.png")
    np.testing.assert_allclose(image, result.image, atol=0.5 / 255 + 1e-6)


def test_a_batch_is_saved_lane_by_lane(batch, tmp_path):
    batch.save(tmp_path / "a.tif")
    assert {path.name for path in tmp_path.iterdir()} == {
        f"a_{lane}.{ending}" for lane in (0, 1) for ending in ("tif", "json")
    }
    for lane in (0, 1):
        found = json.loads((tmp_path / f"a_{lane}.json").read_text())
        assert found["best_loss"] == float(batch.loss[lane])


@pytest.mark.parametrize("text", ['{"mine": 1}', "[]", "no json"])
def test_what_another_has_written_is_not_lost(text, result, study, tmp_path):
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(nst.ConfigError, match=r"a\.json: is there already, not of a result"):
        result.save(tmp_path / "a.png")
    with pytest.raises(nst.ConfigError, match=r"study\.json: is there already, not of a result"):
        study.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_place_that_cannot_be_is_said(result, tmp_path):
    with pytest.raises(nst.ImageError, match="must end in"):
        result.save(tmp_path / "a.bmp")


@pytest.mark.slow
def test_a_study_is_saved_with_its_page(study, tmp_path):
    for _ in range(2):
        study.save(tmp_path / "study")
    names = {path.name for path in (tmp_path / "study").iterdir()}
    assert {"index.html", "lanes.csv", "contact_sheet.png", "losses.png"} <= names
    assert {"study.json", "content_photo.png", "style_painting.png"} <= names
    page = (tmp_path / "study" / "index.html").read_text()
    lanes = sorted((tmp_path / "study" / "lanes").glob("*.json"))
    assert len(lanes) == 4 and all(lane.stem in page for lane in lanes)
    found = json.loads(lanes[0].read_text())
    assert found["lpips"] > 0 and found["steps"] == 3
    with pytest.raises(nst.ConfigError, match="is not the record of a lane"):
        job_of_record(lanes[0])


def test_a_study_in_step_is_no_grid(vgg16_params, images):
    axes = {"style_weight": [5, 20], "seed": [0, 1]}
    found = nst.run_study(vgg16_params, *images, axes, CONFIG, zipped=True)
    assert found.axes() == {"style_weight": ["5", "20"], "seed": ["0", "1"]}
    height, width, _ = shown(found).shape
    assert width > height  # side by side, where a grid would have two rows


def test_values_may_come_again_where_axes_go_in_step(vgg16_params, images, tmp_path):
    axes = {"style_weight": [5, 5, 20, 20], "content_weight": [1, 2, 2, 1]}
    found = nst.run_study(vgg16_params, *images, axes, CONFIG, zipped=True)
    assert found.axes()["content_weight"] == ["1", "2", "2", "1"]
    found.save(tmp_path / "study")
    record = json.loads((tmp_path / "study" / "study.json").read_text())
    rows = lay_out(record["axes"], record["zipped"])["captions"]
    assert rows[1][0] == "style_weight = 20\ncontent_weight = 2"


def test_a_study_is_plotted_a_line_a_lane(study):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert study.plot(axes) is axes and len(axes.lines) == 4
    for line, losses in zip(axes.lines, study.losses, strict=True):
        np.testing.assert_allclose(line.get_ydata(), losses)


@pytest.mark.parametrize("wanted", [None, True, False])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_where_somebody_looks(wanted, is_terminal, vgg16_params, images, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    found = nst.stylize(vgg16_params, *images, CONFIG, progress=wanted)
    told = capsys.readouterr().err
    assert bool(told) == (is_terminal if wanted is None else wanted)
    if told:
        assert "100 %" in told and f"step 3/3, loss {float(found.loss):.4g}" in told


def test_who_looks_in_a_way_of_their_own_gets_no_bar(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert Bar(None) and not Bar(None, is_watched=True) and Bar(True, is_watched=True)


def test_a_notebook_is_known(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert not Bar(None)
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert Bar(None)
    shell.config = {}  # IPython in a terminal
    assert not Bar(None)


def test_a_study_has_a_bar_of_its_lanes(vgg16_params, images, capsys):
    nst.run_study(vgg16_params, *images, {"style_weight": [5, 20]}, CONFIG, progress=True)
    assert "2 of 2 lanes" in capsys.readouterr().err
