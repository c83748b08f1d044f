"""The fine detail of one style with the large forms of another."""

import numpy as np
import pytest

import nst_jax as nst
from tests.runs import total_loss

LAYERS = ("conv1_1", "conv2_1", "conv4_1")
CONFIG = nst.TransferConfig(num_steps=40, content_layers=(), style_layers=LAYERS)


@pytest.fixture(scope="module")
def pictures():
    """Large forms of black and white, and fine noise."""
    rng = np.random.default_rng(5)
    squares = (rng.random((3, 4, 3)) > 0.5).astype(np.float32)
    return squares.repeat(16, 0).repeat(16, 1), rng.random((40, 40, 3), np.float32) ** 2


def off(params, image, from_style):
    """What of a style's Gram matrices is missing, by layer."""
    targets = nst.make_targets(params, image, from_style, CONFIG)
    _, terms = total_loss(params, image, targets, nst.LossWeights(), CONFIG)
    return {layer: float(found) for layer, found in terms["style"].items()}


@pytest.mark.slow
def test_detail_becomes_the_fine_styles_and_what_lies_deeper_stays(vgg16_params, pictures):
    coarse, fine = pictures
    found = nst.fine_style(vgg16_params, coarse, fine, CONFIG)
    assert found.image.shape == coarse.shape and set(found.terms) == {
        "style",
        "grain",
        "total_variation",
    }
    assert set(found.terms["style"]) == {"conv1_1", "conv2_1"}
    fine = in_colours_of(fine, coarse)
    before, after = (off(vgg16_params, image, fine) for image in (coarse, found.image))
    for layer in ("conv1_1", "conv2_1"):
        assert after[layer] < 1e-3 * before[layer]
    deeper = nst.fine_style(vgg16_params, coarse, pictures[1], CONFIG, until="conv4_1")
    assert off(vgg16_params, deeper.image, fine)["conv4_1"] < 0.1 * after["conv4_1"]
    # where nobody asks for the deepest layer, it stays nearer to the style's
    to_style, of_deeper = (
        off(vgg16_params, image, coarse)["conv4_1"] for image in (found.image, deeper.image)
    )
    assert to_style < 0.95 * of_deeper


@pytest.mark.slow
def test_it_is_the_descent_from_the_style_without_content(vgg16_params, pictures):
    coarse, fine = pictures
    run = nst.TransferConfig(num_steps=3, style_layers=LAYERS, border="wrap", init="noise")
    found = nst.fine_style(vgg16_params, coarse, fine, run, until="conv1_2")
    plain = nst.TransferConfig(
        num_steps=3, content_layers=(), style_layers=("conv1_1",), border="replicate"
    )
    wanted = nst.stylize(vgg16_params, coarse, nst.match_colours(fine, coarse), plain)
    np.testing.assert_array_equal(found.image, wanted.image)


def moments(image):
    pixels = np.asarray(image, np.float64).reshape(-1, 3)
    return pixels.mean(0), np.cov(pixels, rowvar=False, bias=True)


def in_colours_of(fine, style):
    """Σ^-1 (Σ Σ')^½ maps colours of covariance Σ to those of Σ'."""
    (mean, own), (wanted_mean, wanted) = moments(fine), moments(style)
    values, vectors = np.linalg.eig(own @ wanted)
    transport = np.linalg.inv(own) @ (vectors * np.sqrt(values)) @ np.linalg.inv(vectors)
    moved = (fine.astype(np.float64) - mean) @ transport + wanted_mean
    return np.clip(moved, 0, 1).astype(np.float32)


@pytest.mark.slow
def test_the_detail_takes_the_colours_of_the_style_first(vgg16_params, rng):
    # colours in which nothing is clipped
    draw = lambda size: (
        0.5
        + 0.1
        * np.tanh(rng.standard_normal((size, size, 3)) @ rng.uniform(-1, 1, (3, 3))).astype(
            np.float32
        )
    )
    coarse, fine = draw(32), 0.2 + draw(24)
    recoloured = in_colours_of(fine, coarse)
    for found, wanted in zip(moments(recoloured), moments(coarse), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    config = nst.TransferConfig(num_steps=1, style_layers=LAYERS)
    losses = [
        nst.fine_style(vgg16_params, coarse, picture, config).losses
        for picture in (fine, recoloured)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.parametrize(
    "until, said",
    [
        ("conv9_1", "unknown layer 'conv9_1' in until"),
        ("conv1_1", "until is conv1_1, but the first of the style layers is conv2_1"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(vgg16_params, pictures, until, said):
    config = nst.TransferConfig(style_layers=("conv3_1", "conv2_1"))
    with pytest.raises(nst.ConfigError, match=said):
        nst.fine_style(vgg16_params, *pictures, config, until=until)
