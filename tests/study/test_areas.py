"""Parts of the picture in a study: what its lanes have in common."""

import numpy as np
import pytest

import nst_jax as nst

SHALLOW = {"content_layers": ("conv2_2",), "style_layers": ("conv1_1", "conv3_1")}
CONFIG = nst.TransferConfig(num_steps=3, **SHALLOW)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(2)
    shapes = (40, 32, 3), (24, 36, 3), (32, 28, 3)
    return [rng.random(shape, np.float32) ** power for power, shape in enumerate(shapes, 1)]


def mask(soft=1.0):
    """1 on the left, 0 on the right, and a soft edge."""
    columns = np.clip((16 - np.arange(32)) / soft / 4 + 0.5, 0, 1)
    return columns.astype(np.float32)[None].repeat(40, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"balance": True}, {"colours": "luminance"}])
def test_each_lane_is_its_single_run(vgg16_params, pictures, how):
    content, *styles = pictures
    config = nst.TransferConfig(num_steps=3, **how, **SHALLOW)
    regions = [nst.Region(mask(), name="a"), nst.Region(1 - mask(), style=1, name="b")]
    areas = {
        "regions": regions,
        "keep": np.ascontiguousarray(mask(2).T[:32].repeat(2, 0)[:40, :32]),
    }
    axes = {"style_weight": [5.0, 80.0]}
    study = nst.run_study(vgg16_params, content, {"both": styles}, axes, config, **areas)
    assert {"style_a", "style_b"} < set(study.terms)
    for lane, weight in enumerate(axes["style_weight"]):
        weights = nst.LossWeights(style=weight)
        single = nst.stylize(vgg16_params, content, styles, config, weights, **areas)
        np.testing.assert_array_equal(study.image[lane], single.image)
        np.testing.assert_array_equal(study.losses[lane], single.losses)


@pytest.mark.slow
def test_a_small_region_is_noted_once(vgg16_params, pictures, said):
    content, style, _ = pictures
    corner = np.zeros(content.shape[:2], np.float32)
    corner[:12, :12] = 1  # 9 positions at conv3_1
    axes = {"style_weight": [5.0, 80.0], "pooling": ["avg", "max"]}
    areas = {"regions": [nst.Region(corner, name="a")]}
    nst.run_study(vgg16_params, content, style, axes, CONFIG, **areas)
    notes = [line for line in said if "too small" in line]
    assert notes == ["note: region a is too small for conv3_1, left out there"]
    nst.stylize(vgg16_params, content, style, CONFIG, **areas)
    assert [line for line in said if "too small" in line] == 2 * notes


@pytest.mark.parametrize(
    "how, said",
    [
        ({"regions": [nst.Region(mask(), style=1)]}, "region 1 has style 1, but the style images"),
        ({"keep": np.ones((3, 3), np.float32)}, r"keep has shape \(3, 3\), its image \(40, 32\)"),
        ({"config": nst.TransferConfig(style_mix=(1,))}, "leave one of the two out"),
        ({"contents": 2}, "are parts of one content image, but there are 2"),
    ],
)
def test_areas_that_cannot_be_are_refused(vgg16_params, pictures, how, said):
    content, style, _ = pictures
    contents = {str(place): content for place in range(how.pop("contents", 1))}
    areas = {"regions": [nst.Region(mask())], "config": CONFIG} | how
    with pytest.raises(nst.ConfigError, match=said):
        nst.run_study(vgg16_params, contents, style, {"seed": [0]}, **areas)
