import numpy as np
import pytest

import nst_jax as nst
from tests.runs import loss_and_gradient, total_loss

LAYERS = dict(content_layers=("conv1_2",), style_layers=("conv1_1",))
ROUNDING = 20 / 12 / 255**2  # Σ of the kernel's squares, times the variance of rounding to 8 bits


def laplacians(image, wrap=False):
    """A row for each pixel with four neighbours, from the definition."""
    padded = np.pad(image, [(1, 1), (1, 1), (0, 0)], mode="wrap") if wrap else image
    height, width = padded.shape[:2]
    return np.array(
        [
            4 * padded[y, x]
            - (padded[y - 1, x] + padded[y + 1, x] + padded[y, x - 1] + padded[y, x + 1])
            for y in range(1, height - 1)
            for x in range(1, width - 1)
        ]
    )


def moments(image, wrap=False):
    rows = laplacians(np.asarray(image, float), wrap)
    return rows.T @ rows / len(rows) + ROUNDING * np.eye(3)


def divergence(image, style, wrap=False):
    found, wanted = moments(image, wrap), moments(style)
    of_style = np.linalg.solve(wanted, found)
    return (np.trace(of_style) - np.linalg.slogdet(of_style)[1] - 3) / 3


def evaluate(params, image, style, tile=0, border="zero"):
    config = nst.TransferConfig(tile=tile, border=border)
    term = nst.grain()
    targets = nst.make_targets(params, image, style, config, term)
    (value, _), gradient = loss_and_gradient(params, image, targets, term, config)
    return float(value), np.asarray(gradient)


@pytest.mark.parametrize("border", ["zero", "wrap"])
def test_the_distance_and_its_gradient_are_those_of_float64(vgg16_params, rng, border):
    image, style = rng.random((15, 12, 3), np.float32), rng.random((11, 9, 3), np.float32) ** 2
    wrap = border == "wrap"
    value, gradient = evaluate(vgg16_params, image, style, border=border)
    np.testing.assert_allclose(value, divergence(image, style, wrap), rtol=1e-5)
    expected, step = np.zeros(image.shape), 1e-5
    for at in np.ndindex(*image.shape):
        moved = np.zeros(image.shape)
        moved[at] = step
        above, below = (divergence(image + sign * moved, style, wrap) for sign in (1, -1))
        expected[at] = (above - below) / (2 * step)
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())


def test_a_colour_of_r_times_the_energy_adds_r_less_1_less_its_logarithm(vgg16_params, rng):
    style = 0.4 + 0.2 * rng.random((40, 40, 3), np.float32)
    apart = np.linalg.inv(np.linalg.cholesky(moments(style))).T  # of moments 1
    image = (style.astype(float) - 0.5) @ apart
    image[..., 1] *= 3**0.5
    image = (0.5 + image @ np.linalg.inv(apart)).astype(np.float32)
    value, _ = evaluate(vgg16_params, image, style)
    np.testing.assert_allclose(value, (3 - 1 - np.log(3)) / 3, rtol=2e-3)  # ROUNDING is not scaled
    assert evaluate(vgg16_params, style, style)[0] == pytest.approx(0, abs=1e-6)
    assert evaluate(vgg16_params, style[::-1, ::-1], style)[0] == pytest.approx(0, abs=1e-6)


def test_flat_pictures_and_grey_styles_have_a_distance(vgg16_params, rng):
    style, flat = rng.random((24, 20, 3), np.float32), np.full((24, 20, 3), 0.3, np.float32)
    grey = np.repeat(style[..., :1], 3, axis=-1)
    for image, wanted in ((flat, style), (style, flat), (style, grey), (grey, style), (grey, flat)):
        value, gradient = evaluate(vgg16_params, image, wanted)
        # float32 has of a grey style's rounding but three digits beside its brightness
        np.testing.assert_allclose(value, divergence(image, wanted), rtol=5e-3)
        assert value > 0 and np.isfinite(gradient).all()
    tiny = np.zeros((2, 2, 3), np.float32)  # no pixel has four neighbours
    assert np.isfinite(evaluate(vgg16_params, tiny, style)[0])


@pytest.mark.parametrize("border", ["zero", "replicate", "wrap"])
def test_in_tiles_as_whole(vgg16_params, rng, border):
    image, style = rng.random((144, 176, 3), np.float32), rng.random((90, 80, 3), np.float32) / 3
    (whole, gradient), (tiled, of_tiles) = (
        evaluate(vgg16_params, image, style, tile, border) for tile in (0, 64)
    )
    np.testing.assert_allclose(tiled, whole, rtol=1e-5)
    assert np.abs(of_tiles - gradient).max() <= 1e-5 * np.abs(gradient).max()


def test_it_is_a_term_of_the_default_loss_where_it_has_a_weight(vgg16_params, rng):
    image, style = rng.random((2, 20, 24, 3), np.float32)
    config = nst.TransferConfig(**LAYERS)
    assert "grain" not in nst.default_loss(config)
    both = nst.LossWeights(grain=0.1)
    assert both.grain == nst.default_loss(config, both)["grain"].weight
    targets = nst.make_targets(vgg16_params, image, style, config, nst.default_loss(config, both))
    loss, parts = total_loss(vgg16_params, image, targets, both, config)
    plain = nst.make_targets(vgg16_params, image, style, config)
    without, _ = total_loss(vgg16_params, image, plain, nst.LossWeights(), config)
    np.testing.assert_allclose(loss - without, 0.1 * divergence(image, style), rtol=1e-4)
    np.testing.assert_allclose(parts["grain"]["all"], divergence(image, style), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_weights_are_lanes_that_equal_single_runs_and_rare_colours_come_less(vgg16_params, rng):
    style = np.repeat(rng.random((40, 44, 1), np.float32), 3, axis=-1)  # which has no colours
    content = np.kron(rng.random((6, 5, 3)), np.ones((8, 8, 1))).astype(np.float32)
    config = nst.TransferConfig(num_steps=20, **LAYERS)
    study = nst.run_study(vgg16_params, content, style, {"grain_weight": [0.0, 1.0]}, config)
    for image, weight in zip(study.image, (None, 1.0), strict=True):
        single = nst.stylize(vgg16_params, content, style, config, nst.LossWeights(grain=weight))
        if weight:  # a study of several weights has the term in every lane
            np.testing.assert_array_equal(image, single.image)
    without, with_grain = (divergence(np.asarray(image), style) for image in study.image)
    assert with_grain < 0.5 * without
