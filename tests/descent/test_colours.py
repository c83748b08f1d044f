import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nst_jax as nst
from nst_jax.descent.colours import LUMINANCE, in_luminance, luminance
from tests.runs import total_loss

SHALLOW = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1"), num_steps=4)


def moments(image):
    pixels = np.asarray(image, np.float64).reshape(-1, 3)
    return pixels.mean(0), np.cov(pixels, rowvar=False, bias=True)


def picture(seed, spread=0.08, shape=(24, 20, 3)):
    """Correlated colours that stay away from black and white, in which nothing is clipped."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal(shape) @ rng.uniform(-1, 1, (3, 3))
    return (0.5 + spread * np.tanh(mixed) + 0.05 * rng.uniform(-1, 1, 3)).astype(np.float32)


@settings(deadline=None)  # the first one compiles
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_matched_colours_have_the_targets_mean_and_covariance(first, second):
    target = picture(second, 0.03)
    matched = nst.match_colours(picture(first), target)
    assert matched.min() > 0 and matched.max() < 1  # nothing was clipped
    for found, wanted in zip(moments(matched), moments(target), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@settings(deadline=None)  # the first one compiles
@given(st.integers(0, 1000))
def test_the_map_of_colours_is_symmetric_and_positive(seed):
    image, target = picture(seed), picture(seed + 1, 0.03)
    matched = nst.match_colours(image, target)
    centred = lambda values: (values - moments(values)[0]).reshape(-1, 3).astype(np.float64)
    transport = np.linalg.lstsq(centred(image), centred(matched), rcond=None)[0]
    np.testing.assert_allclose(transport, transport.T, atol=1e-4)
    assert np.linalg.eigvalsh(transport)[0] > 0


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_no_channel_is_special(order):
    image, target = picture(0), picture(1)
    matched = nst.match_colours(image, target)
    permuted = nst.match_colours(image[..., order], target[..., order])
    np.testing.assert_allclose(permuted, matched[..., order], atol=1e-6)


@pytest.mark.parametrize("spread", [1.0, 1e-1, 1e-2])
def test_an_image_matched_with_itself_stays(spread):
    """Also where its colours lie almost in a plane."""
    image = picture(3)
    mean = moments(image)[0]
    _, vectors = np.linalg.eigh(moments(image)[1])
    flat = (image - mean) @ vectors * np.array([spread, 1, 1]) @ vectors.T + mean
    flat = flat.astype(np.float32)
    np.testing.assert_allclose(nst.match_colours(flat, flat), flat, atol=1e-5)


def test_a_grey_image_matched_with_a_grey_one_stays_grey():
    grey = lambda seed: np.repeat(picture(seed)[..., :1], 3, axis=-1)
    matched = nst.match_colours(grey(0), grey(1))
    np.testing.assert_allclose(np.ptp(matched, axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(moments(matched)[1], moments(grey(1))[1], atol=1e-6)


def test_an_image_of_one_colour_takes_the_targets_mean():
    target = picture(5)
    matched = nst.match_colours(np.full((9, 7, 3), 0.25, np.float32), target)
    np.testing.assert_allclose(matched, np.broadcast_to(moments(target)[0], (9, 7, 3)), atol=1e-6)


@settings(deadline=None)  # the first one compiles
@given(st.integers(0, 1000), st.floats(0, 1))
def test_another_luminance_keeps_the_hue(seed, brightness):
    image = np.random.default_rng(seed).random((8, 8, 3), np.float32)
    found = np.asarray(nst.with_luminance(image, np.full((8, 8, 1), brightness, np.float32)))
    assert found.min() >= 0 and found.max() <= 1
    np.testing.assert_allclose(found @ np.asarray(LUMINANCE), brightness, atol=1e-5)
    before, after = (values - values @ np.asarray(LUMINANCE)[:, None] for values in (image, found))
    share = np.linalg.norm(after, axis=-1) / np.linalg.norm(before, axis=-1)
    np.testing.assert_allclose(after, share[..., None] * before, atol=1e-5)  # along the same line
    inside = (found > 1e-4).all(-1) & (found < 1 - 1e-4).all(-1)
    np.testing.assert_allclose(share[inside], 1, atol=1e-3)  # and as long where there is room


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(2)
    return rng.random((40, 32, 3), np.float32), rng.random((24, 36, 3), np.float32) ** 2


@pytest.mark.slow
@pytest.mark.parametrize("init", ["content", "style", "noise"])
def test_a_run_on_luminance_leaves_the_contents_chroma(vgg16_params, pair, init):
    content, style = pair
    config = nst.TransferConfig(colours="luminance", init=init, **SHALLOW)
    result = nst.stylize(vgg16_params, content, style, config)
    image = np.asarray(result.image)
    expected = nst.with_luminance(content, luminance(result.image))
    np.testing.assert_allclose(image, expected, atol=1e-5)
    assert np.abs(image - content).max() > 0.01
    # The loss reported is that of the picture's luminance.
    grey = in_luminance(result.image)
    matched = np.asarray(luminance(style))
    target = np.asarray(luminance(content))
    matched = np.clip(
        (matched - matched.mean()) * (target.std() / matched.std()) + target.mean(), 0, 1
    )
    targets = nst.make_targets(
        vgg16_params, in_luminance(content), np.repeat(matched, 3, axis=-1), config
    )
    loss, _ = total_loss(vgg16_params, grey, targets, nst.LossWeights(), config)
    np.testing.assert_allclose(loss, result.loss, rtol=1e-2)


def test_a_run_in_the_contents_colours_is_one_with_the_recoloured_style(vgg16_params, pair):
    content, style = pair
    config = nst.TransferConfig(**SHALLOW)
    found = nst.stylize(
        vgg16_params, content, style, nst.TransferConfig(colours="content", **SHALLOW)
    )
    wanted = nst.stylize(vgg16_params, content, nst.match_colours(style, content), config)
    np.testing.assert_array_equal(found.image, wanted.image)
    np.testing.assert_array_equal(found.losses, wanted.losses)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_colours_are_an_axis_and_each_lane_has_its_own_images(vgg16_params, pair):
    content, style = pair
    contents = {"first": content, "second": content[::-1].copy() ** 2}
    axes = {"colours": ["style", "content", "luminance"]}
    config = nst.TransferConfig(optimizer="adam", **SHALLOW)
    seen = []
    result = nst.run_study(vgg16_params, contents, style, axes, config, callback=seen.append)
    assert len(result.lanes) == 6 and seen
    for lane, image in zip(result.lanes, result.image, strict=True):
        single = nst.stylize(vgg16_params, contents[lane.content], style, lane.config)
        np.testing.assert_array_equal(image, single.image)


def test_previews_have_the_colours_of_the_picture(vgg16_params, pair):
    content, style = pair
    config = nst.TransferConfig(colours="luminance", **SHALLOW)
    *_, last = nst.descend(vgg16_params, content, style, config)
    np.testing.assert_array_equal(last.progress.image, last.result().image)
    states = last.snapshot()
    *_, again = nst.descend(
        vgg16_params, content, style, config, start=jax.tree.map(np.array, states)
    )
    np.testing.assert_array_equal(again.result().image, last.result().image)
