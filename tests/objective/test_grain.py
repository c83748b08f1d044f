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
    mean = rows.T @ rows / len(rows)
    return mean + (ROUNDING + 1e-5 * np.trace(mean)) * np.eye(3)


def of_moments(found, wanted):
    middle, *ends = (np.linalg.slogdet(one)[1] for one in ((found + wanted) / 2, found, wanted))
    return 4 / 3 * (middle - np.mean(ends))


def divergence(image, style, wrap=False):
    return of_moments(moments(image, wrap), moments(style))


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


def test_a_colour_of_another_energy_adds_the_logarithm_of_a_cosh(vgg16_params, rng):
    style = 0.4 + 0.2 * rng.random((40, 40, 3), np.float32)
    apart = np.linalg.inv(np.linalg.cholesky(moments(style))).T  # of moments 1
    image = (style.astype(float) - 0.5) @ apart
    image[..., 1] *= 3**0.5
    image = (0.5 + image @ np.linalg.inv(apart)).astype(np.float32)
    value, _ = evaluate(vgg16_params, image, style)
    expected = 4 / 3 * np.log(np.cosh(np.log(3) / 2))
    np.testing.assert_allclose(value, expected, rtol=2e-3)  # ROUNDING is not scaled
    assert evaluate(vgg16_params, style, style)[0] == pytest.approx(0, abs=1e-6)
    assert evaluate(vgg16_params, style[::-1, ::-1], style)[0] == pytest.approx(0, abs=1e-6)


def test_flat_pictures_and_grey_styles_have_a_distance(vgg16_params, rng):
    style, flat = rng.random((24, 20, 3), np.float32), np.full((24, 20, 3), 0.3, np.float32)
    grey = np.repeat(style[..., :1], 3, axis=-1)
    for image, wanted in ((flat, style), (style, flat), (style, grey), (grey, style), (grey, flat)):
        value, gradient = evaluate(vgg16_params, image, wanted)
        # float32 has of a grey style's rounding but three digits beside its brightness
        np.testing.assert_allclose(value, divergence(image, wanted), rtol=5e-3)
        step = 1e-5 * rng.normal(size=image.shape)
        slope = (divergence(image + step, wanted) - divergence(image - step, wanted)) / 2
        np.testing.assert_allclose(np.vdot(gradient, step), slope, rtol=2e-2)
        assert 0 < value < 20  # where the logarithm of the energies alone is 13 apart
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
    assert nst.default_loss(config)["grain"].weight == 0.1
    assert nst.Preset().loss_weights() == nst.LossWeights()
    alone = config.replace(style_layers=())
    for without in (nst.default_loss(config, nst.LossWeights(grain=None)), nst.default_loss(alone)):
        assert "grain" not in without
    targets = nst.make_targets(vgg16_params, image, style, config)
    loss, parts = total_loss(vgg16_params, image, targets, nst.LossWeights(), config)
    plain = nst.LossWeights(grain=None)
    targets = nst.make_targets(vgg16_params, image, style, config, nst.default_loss(config, plain))
    without, _ = total_loss(vgg16_params, image, targets, plain, config)
    np.testing.assert_allclose(loss - without, 0.1 * divergence(image, style), rtol=1e-4)
    np.testing.assert_allclose(parts["grain"]["all"], divergence(image, style), rtol=1e-4)


def test_pictures_of_one_tint_have_a_distance_as_style_and_as_picture(vgg16_params, rng):
    """Of sepia, two colours of three have next to nothing, beside which sums round."""
    sepia = (rng.random((512, 512, 1)) > 0.5) * np.array([1, 0.9, 0.7], np.float32)
    other = rng.random((512, 512, 3), np.float32)
    for image, style in ((sepia, other), (other, sepia), (sepia[::-1], sepia)):
        for tile in (0, 256):
            value, gradient = evaluate(vgg16_params, image.astype(np.float32), style, tile)
            assert np.isfinite(value) and np.isfinite(gradient).all()
    assert value == pytest.approx(0, abs=1e-4)


def test_styles_are_blended_and_go_where_regions_say(vgg16_params, rng):
    image, first = rng.random((2, 64, 80, 3), np.float32)
    second, config = first**2 / 2, nst.TransferConfig(tile=0)
    mixed = nst.make_targets(vgg16_params, image, [first, second], config, nst.grain())
    (value, _), _ = loss_and_gradient(vgg16_params, image, mixed, nst.grain(), config)
    means = (moments(first) + moments(second)) / 2
    np.testing.assert_allclose(value, of_moments(moments(image), means), rtol=1e-3)
    left = np.zeros((64, 80), np.float32)
    left[:, :40] = 1
    regions = [nst.Region(left), nst.Region(1 - left, style=1)]
    loss = nst.Loss({"grain": nst.grain(), "style": nst.style(("conv1_1",))})
    run = dict(config=config.replace(num_steps=3, **LAYERS), loss=loss, regions=regions)
    found = nst.stylize(vgg16_params, image, [first, second], **run)
    assert set(found.terms) == {"grain_1", "grain_2", "style_1", "style_2"}
    assert found.terms["grain_2"]["all"][0] > found.terms["grain_1"]["all"][0]
    assert found.loss < found.losses[0]


@pytest.mark.slow
def test_a_style_without_colours_leaves_few(vgg16_params, rng):
    style = np.repeat(rng.random((40, 44, 1), np.float32), 3, axis=-1)
    content = np.kron(rng.random((6, 5, 3)), np.ones((8, 8, 1))).astype(np.float32)
    config = nst.TransferConfig(num_steps=20, **LAYERS)
    without, with_grain = (
        laplacians(
            np.asarray(
                nst.stylize(vgg16_params, content, style, config, nst.LossWeights(grain=one)).image
            )
        )
        for one in (None, 1.0)
    )
    colours = [np.std(one - one.mean(axis=1, keepdims=True)) for one in (without, with_grain)]
    assert colours[1] < 0.3 * colours[0]
