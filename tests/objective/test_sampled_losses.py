"""Losses of samples: against float64 NumPy and SciPy by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import nst_jax as nst
from nst_jax.objective.neighbours import nearest
from nst_jax.objective.samples import Samples, take_samples
from nst_jax.objective.sliced import directions

from .test_style_losses import distance, view_of

LAYER = ("conv1_1",)


@pytest.fixture
def features(rng):
    return (
        rng.random((7, 9, 5)).astype(np.float32),
        (rng.random((6, 8, 5)) ** 3).astype(np.float32),
    )


def flat(features):
    return np.asarray(features, np.float64).reshape(-1, features.shape[-1])


def value_and_gradient(term, features, style, shares=None, style_shares=None):
    function = lambda found: distance(term, found, style, shares, style_shares)
    return jax.jit(jax.value_and_grad(function))(features)


def numerical_gradient(function, features):
    """By differences of the equation in float64."""
    found, step = np.zeros(features.shape), 1e-6
    for place in np.ndindex(*features.shape):
        aside = np.zeros(features.shape)
        aside[place] = step
        found[place] = (function(features + aside) - function(features - aside)) / (2 * step)
    return found


def cosine_distances(first, second, centre, least_of):
    first, second = flat(first) - centre, flat(second) - centre
    least = 1e-6 * (least_of**2).sum(1).mean()
    unit = lambda values: values / np.sqrt((values**2).sum(1, keepdims=True) + least)
    return 1 - unit(first) @ unit(second).T


def neighbours(features, style):
    centre = flat(style).mean(0)
    return cosine_distances(features, style, centre, flat(style) - centre).min(1).mean()


def relaxed_emd(features, style):
    centre = flat(style).mean(0)
    distances = cosine_distances(features, style, centre, flat(style) - centre)
    return max(distances.min(1).mean(), distances.min(0).mean())


def sliced(features, style):
    along = directions(5, 64).astype(np.float64)
    found, wanted = np.sort(flat(features) @ along, 0), np.sort(flat(style) @ along, 0)
    levels, own = ((np.arange(len(one)) + 0.5) / len(one) for one in (found, wanted))
    aims = np.stack([np.interp(levels, own, column) for column in wanted.T], 1)
    return ((found - aims) ** 2).mean()


def self_similarity(features, content):
    def distances(image):
        found = cosine_distances(image, image, 0, flat(content))
        return found / (found.mean(0) + 1e-4)

    apart = distances(features) - distances(content)
    return (np.sqrt(apart**2 + 1e-6) - 1e-3).mean()


TERMS = {
    neighbours: nst.NearestNeighbours(layers=LAYER),
    relaxed_emd: nst.RelaxedEMD(layers=LAYER),
    sliced: nst.SlicedWasserstein(layers=LAYER),
    self_similarity: nst.SelfSimilarity(layers=LAYER),
}


@pytest.mark.parametrize("equation", TERMS)
def test_sampled_losses_are_their_equations(features, equation):
    found, style = features
    if equation is self_similarity:  # of the same size
        style = found[::-1] ** 2
    value, gradient = value_and_gradient(TERMS[equation], found, style)
    np.testing.assert_allclose(value, equation(found, style), rtol=1e-5)
    slope = numerical_gradient(lambda image: equation(image, style), np.float64(found))
    np.testing.assert_allclose(gradient, slope, atol=1e-5 * np.abs(slope).max())


@pytest.mark.parametrize("equation", TERMS)
def test_the_image_itself_is_at_no_distance(features, rng, equation):
    found = features[0]
    value, gradient = value_and_gradient(TERMS[equation], found, found)
    np.testing.assert_allclose(value, 0, atol=2e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    if equation is not self_similarity:
        moved = rng.permutation(flat(found)).reshape(9, 7, 5).astype(np.float32)
        np.testing.assert_allclose(distance(TERMS[equation], moved, found), 0, atol=2e-6)
        pair = distance(TERMS[equation], *features)
        elsewhere = rng.permutation(flat(features[1])).reshape(8, 6, 5).astype(np.float32)
        np.testing.assert_allclose(
            distance(TERMS[equation], features[0], elsewhere), pair, rtol=1e-5
        )


def test_a_style_that_has_all_positions_of_the_picture_is_at_no_distance(features):
    style = np.concatenate([features[0], features[0][::-1] ** 2])
    # μ' is the style's, so the matches are the positions themselves
    np.testing.assert_allclose(distance(TERMS[neighbours], features[0], style), 0, atol=2e-6)
    assert float(distance(TERMS[relaxed_emd], features[0], style)) > 0.01


def test_matches_in_blocks_of_rows_are_those_of_the_whole(rng):
    """More positions than a block has, and not a multiple of it."""
    found, style = (rng.random((*shape, 3)).astype(np.float32) for shape in ((30, 35), (34, 40)))
    term = nst.NearestNeighbours(layers=LAYER)
    np.testing.assert_allclose(distance(term, found, style), neighbours(found, style), rtol=1e-5)


def test_of_equals_the_first_matches():
    pool = Samples(jnp.asarray([[1.0, 0], [0, 1.0], [0, 1.0], [1.0, 0]]), jnp.asarray([0, 1, 1, 1]))
    points = jnp.asarray([[0, 1.0], [1.0, 0]])
    np.testing.assert_array_equal(nearest(points, pool), [1, 3])  # the first has no share


def test_sliced_distance_of_one_channel_is_the_transport_of_sorted_values(rng):
    first, second = (rng.random((4, 6, 1)).astype(np.float32) for _ in range(2))
    value = float(distance(TERMS[sliced], first, second))
    expected = ((np.sort(first.ravel()) - np.sort(second.ravel())) ** 2).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    # between shifted values both costs are the shift
    shifted = float(distance(TERMS[sliced], first + 0.5, first))
    np.testing.assert_allclose(
        shifted**0.5, wasserstein_distance(first.ravel() + 0.5, first.ravel()), rtol=1e-5
    )


@pytest.mark.parametrize("equation", [neighbours, relaxed_emd, sliced])
def test_positions_without_a_share_are_not_there(features, equation):
    """Of the picture, and of the style."""
    found, style = features
    shares, style_shares = np.zeros((7, 9), np.float32), np.zeros((6, 8), np.float32)
    shares[:, 2:7] = 1 / 35
    style_shares[1:4] = 1 / 24
    masked, gradient = value_and_gradient(TERMS[equation], found, style, shares, style_shares)
    np.testing.assert_allclose(masked, equation(found[:, 2:7], style[1:4]), rtol=1e-5)
    assert not np.any(gradient[:, :2]) and np.any(gradient[:, 2:7])


def test_self_similarity_knows_neither_axes_nor_brightness(features, rng):
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0].astype(np.float32)
    found, content = features[0], features[0][::-1] ** 2
    term = TERMS[self_similarity]
    value = distance(term, found, content)
    np.testing.assert_allclose(distance(term, 3 * found @ turn, content), value, rtol=1e-4)
    np.testing.assert_allclose(distance(term, 3 * content @ turn, content), 0, atol=1e-5)


def test_a_slot_is_the_mean_of_its_block(rng):
    features = rng.random((37, 20, 2)).astype(np.float32)
    samples = take_samples(view_of(jnp.asarray(features)), "conv1_1", 10).means()
    blocks = [
        features[row : row + 4, column : column + 4].reshape(-1, 2)
        for row in range(0, 37, 4)
        for column in range(0, 20, 4)
    ]
    np.testing.assert_allclose(samples.values, [block.mean(0) for block in blocks], rtol=1e-5)
    np.testing.assert_allclose(samples.shares, [len(block) / 740 for block in blocks], rtol=1e-6)


@pytest.mark.slow
def test_quantiles_of_several_styles_are_averaged(features):
    """Along each direction, the barycentre of two distributions has the mean of their quantiles."""
    style = features[1]
    term = TERMS[sliced]
    measured = [term.measure(view_of(own), {}) for own in (style, 3 * style)]
    wanted = term.aim(term.blend(measured, [0.25, 0.75]))["conv1_1"]
    single = term.aim(term.measure(view_of(2.5 * style), {}))["conv1_1"]
    np.testing.assert_allclose(wanted["values"], single["values"], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_order_of_styles_of_unlike_sizes_makes_no_difference(features):
    style = features[1]
    term = TERMS[sliced]
    small, large = (term.measure(view_of(own), {}) for own in (style[:2, :3], style))
    found = []
    for styles, shares in (((small, large), [0.2, 0.8]), ((large, small), [0.8, 0.2])):
        found.append(term.aim(term.blend(styles, shares))["conv1_1"]["values"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("equation", [neighbours, relaxed_emd])
def test_several_styles_have_the_positions_of_all(features, equation):
    """Two halves of a style, each counting as it is large, are the style; one in turn, likewise."""
    found, style = features
    term = TERMS[equation]
    upper, lower = (term.measure(view_of(jnp.asarray(own)), {}) for own in (style[:2], style[2:]))
    seen = term.measure(view_of(jnp.asarray(found)), {})
    united = term.aim(term.blend([upper, lower], [1 / 3, 2 / 3]))
    value = term.distance(seen, united)["conv1_1"]
    np.testing.assert_allclose(value, equation(found, style), rtol=1e-5)
    alone = term.aim(term.blend([upper, lower], [1.0, 0.0]))
    value = term.distance(seen, alone)["conv1_1"]
    np.testing.assert_allclose(value, equation(found, style[:2]), rtol=1e-5)


@pytest.mark.parametrize("equation", [neighbours, relaxed_emd, sliced])
def test_styles_of_several_sizes_are_lanes_of_one_program(features, equation):
    found, style = features
    term = TERMS[equation]
    styles = [style, style[:3], found]
    wanted = term.stack([term.aim(term.measure(view_of(jnp.asarray(s)), {})) for s in styles])
    seen = term.measure(view_of(jnp.asarray(found)), {})
    values = jax.vmap(lambda own: term.distance(seen, own)["conv1_1"])(wanted)
    expected = [equation(found, own) for own in styles]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=2e-6)


def test_targets_that_differ_in_size_need_a_method():
    with pytest.raises(nst.ConfigError, match=r"Gram wants differs .* method stack\(wanted\)"):
        nst.Gram().stack([{"conv1_1": np.zeros(3)}, {"conv1_1": np.zeros(4)}])


@pytest.mark.slow
def test_a_study_has_styles_of_several_sizes(vgg16_params, rng):
    content, tall, wide = (rng.random((*shape, 3)) for shape in ((40, 36), (56, 30), (40, 56)))
    config = nst.TransferConfig(
        optimizer="adam",
        num_steps=2,
        style_loss="sliced_wasserstein",
        style_layers=("conv1_1", "conv2_1"),
        content_layers=("conv2_2",),
    )
    weights = nst.LossWeights(neighbours=2.0)
    study = nst.run_study(vgg16_params, content, {"tall": tall, "wide": wide}, {}, config, weights)
    for lane, style in enumerate((tall, wide)):
        single = nst.stylize(vgg16_params, content, style, config, weights)
        np.testing.assert_allclose(study.losses[lane], single.losses, rtol=1e-4)
