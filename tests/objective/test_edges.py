import dataclasses

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.objective.tiles import Tiles
from tests import reference
from tests.runs import loss_and_gradient

LAYERS = dict(content_layers=("conv1_2",), style_layers=("conv1_1",))
CONFIG = nst.TransferConfig(num_steps=3, optimizer="adam", **LAYERS)


def laplacian(image, size):
    """Of the channels' sum over squares, and Δᵀ of it, from the definition."""
    summed = np.asarray(image, float).sum(-1)
    height, width = (side // size for side in summed.shape)
    pooled = summed[: height * size, : width * size].reshape(height, size, width, size)
    pooled = pooled.mean((1, 3))
    kernel = [(0, 0, 4), (-1, 0, -1), (1, 0, -1), (0, -1, -1), (0, 1, -1)]
    found = np.zeros((height - 2, width - 2))
    for y, x, factor in kernel:
        found += factor * pooled[1 + y : height - 1 + y, 1 + x : width - 1 + x]
    spread = np.zeros((height, width))
    for y, x, factor in kernel:
        spread[1 + y : height - 1 + y, 1 + x : width - 1 + x] += factor * found
    back = np.zeros_like(summed)
    back[: height * size, : width * size] = np.kron(spread, np.ones((size, size))) / size**2
    return found, np.repeat(back[..., None], 3, axis=-1)


def evaluate(params, term, content, image, tile=0):
    config = nst.TransferConfig(tile=tile)
    targets = nst.make_targets(params, content, content, config, term)
    (value, _), gradient = loss_and_gradient(params, image, targets, term, config)
    return float(value), np.asarray(gradient)


@pytest.mark.parametrize("size", [1, 4, 16])
def test_the_loss_and_its_gradient_are_those_of_float64(vgg16_params, rng, size):
    content, image = rng.random((2, 70, 53, 3), np.float32)
    wanted, _ = laplacian(content, size)
    missing, back = laplacian(image.astype(float) - content, size)
    value, gradient = evaluate(vgg16_params, nst.edges(pool_size=size), content, image)
    np.testing.assert_allclose(value, (missing**2).sum() / (wanted**2).sum(), rtol=1e-5)
    expected = 2 * back / (wanted**2).sum()
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "scaling, factor", [("paper", 1 / 2), ("mean", 1 / (8 * 6)), ("notebook", 255**2)]
)
def test_scalings_are_sums_and_means_of_squares(vgg16_params, rng, scaling, factor):
    content, image = rng.random((2, 35, 24, 3), np.float32)
    missing, _ = laplacian(image.astype(float) - content, 4)
    value, _ = evaluate(vgg16_params, nst.edges(scaling=scaling), content, image)
    # the mean is over all that is seen, of which the bottom rows have no square
    seen = (8 * 4 * 6 * 4) / (35 * 24)
    np.testing.assert_allclose(value, factor * seen * (missing**2).sum(), rtol=1e-5)


def test_flat_images_and_ramps_have_no_edges(vgg16_params, rng):
    content = rng.random((48, 40, 3), np.float32) / 2
    rows, columns = np.mgrid[:48, :40].astype(np.float32)
    ramp = (rows / 100 + columns / 200)[..., None] * np.ones(3, np.float32) / 2
    flat = np.full((48, 40, 3), (0.1, 0.7, 0.3), np.float32)
    at = lambda image: evaluate(vgg16_params, nst.edges(), content, image)[0]
    np.testing.assert_allclose(at(content + ramp), 0, atol=1e-10)
    assert at(content) == 0 and at(flat) == pytest.approx(1) == at(np.zeros_like(flat))
    # Of a flat content there is nothing to keep, whatever the picture.
    value, gradient = evaluate(vgg16_params, nst.edges(), flat, content)
    assert value == 0 and not gradient.any()


def test_the_response_to_an_impulse_is_the_kernel(vgg16_params):
    content = np.zeros((36, 36, 3), np.float32)
    image = content.copy()
    image[16:20, 16:20, 1] = 0.5  # one square of nine by nine
    value, _ = evaluate(vgg16_params, nst.edges(scaling="paper"), content, image)
    np.testing.assert_allclose(value, 0.5**2 * (4**2 + 4 * 1) / 2, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("size, shape", [(4, (214, 157)), (16, (331, 150)), (1, (200, 133))])
def test_tiles_see_the_edges_of_the_whole(vgg16_params, rng, size, shape):
    content, image = rng.random((2, *shape, 3), np.float32)
    for term in (nst.edges(pool_size=size), nst.content(("conv1_1",)) + nst.edges(1.0, size)):
        layers = ("image", "conv1_1") if isinstance(term, nst.Loss) else ("image",)
        assert not Tiles(shape, 64, vgg16_params, layers, 3 * size).is_one
        whole, gradient = evaluate(vgg16_params, term, content, image)
        tiled, in_tiles = evaluate(vgg16_params, term, content, image, tile=64)
        np.testing.assert_allclose(tiled, whole, rtol=1e-5)
        np.testing.assert_allclose(in_tiles, gradient, atol=1e-5 * np.abs(gradient).max())


def test_without_a_weight_there_is_no_such_term():
    assert "edges" not in nst.default_loss(CONFIG, nst.LossWeights())
    assert nst.default_loss(CONFIG, nst.LossWeights(edges=2.0))["edges"].weight == 2.0


def test_too_small_an_image_has_no_edges_and_other_squares_are_refused(vgg16_params, rng):
    content, image = rng.random((2, 20, 40, 3), np.float32)
    assert evaluate(vgg16_params, nst.edges(pool_size=8), content, image)[0] == 0
    for size in (3, 128, 4.5):
        with pytest.raises(nst.ConfigError, match=f"pool_size is {size}; it must be one of 1, 2"):
            nst.edges(pool_size=size)


@pytest.mark.slow
def test_lanes_are_single_runs_and_a_weight_keeps_outlines(vgg16_params, rng):
    content, style = rng.random((48, 40, 3), np.float32), rng.random((40, 44, 3), np.float32) ** 3
    config = dataclasses.replace(CONFIG, num_steps=12)
    batch = nst.stylize_batch(
        vgg16_params, content, style, config, nst.LossWeights(edges=[0.0, 3.0])
    )
    for lane, weight in enumerate((0.0, 3.0)):
        weights = nst.LossWeights(edges=weight)
        single = nst.stylize(vgg16_params, content, style, config, weights)
        np.testing.assert_array_equal(batch.image[lane], single.image)
        np.testing.assert_array_equal(batch.losses[lane], single.losses)
    wanted, _ = laplacian(content, 4)
    free, kept = (
        (laplacian(np.asarray(image, float) - content, 4)[0] ** 2).sum() / (wanted**2).sum()
        for image in batch.image
    )
    assert kept < 0.5 * free


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axis", "term", "part"),
    [
        ("edge_weight", "edges", "all"),
        ("matting_weight", "matting", "all"),
        ("grain_weight", "grain", "all"),
        ("neighbours_weight", "neighbours", "conv3_1"),
    ],
)
def test_a_weight_is_an_axis_whose_0_is_a_run_without_the_term(vgg16_params, rng, axis, term, part):
    content, style = rng.random((48, 40, 3), np.float32), rng.random((40, 44, 3), np.float32)
    study = nst.run_study(vgg16_params, content, style, {axis: [0, 2]}, CONFIG)
    assert np.isnan(study.terms[term][part][0]).all()
    without = nst.LossWeights(**{term: None})
    plain = nst.stylize(vgg16_params, content, style, CONFIG, without)
    np.testing.assert_array_equal(study.image[0], plain.image)
    own = nst.stylize(vgg16_params, content, style, CONFIG, nst.LossWeights(**{term: 2.0}))
    np.testing.assert_array_equal(study.image[1], own.image)
    assert jax.tree.structure(own.terms) != jax.tree.structure(plain.terms)
    assert study.to_dataframe()[axis].tolist() == [0, 2]


def test_the_reference_pools_as_the_network_does(rng):
    image = rng.random((18, 21, 3))
    found, _ = laplacian(image, 2)
    pooled = reference.pool(image, "avg").sum(-1)
    inner = 4 * pooled[1:-1, 1:-1] - pooled[:-2, 1:-1] - pooled[2:, 1:-1]
    np.testing.assert_allclose(found, inner - pooled[1:-1, :-2] - pooled[1:-1, 2:], atol=1e-12)
