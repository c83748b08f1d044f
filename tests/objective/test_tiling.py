import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax as nst

TOLERANCE = 1e-5  # relative for the loss; of the largest component for the gradient


@pytest.fixture
def pair(rng):
    # the style's detail is another's, or its grain would be at no distance but rounding
    content, style = rng.random((373, 250, 3)), rng.random((64, 80, 3)) / 2
    return content.astype(np.float32), style.astype(np.float32)


def compare(params, content, style, config, weights, image):
    targets = nst.make_targets(params, content, style, dataclasses.replace(config, tile=0))
    tiled_targets = nst.make_targets(params, content, style, config)
    jax.tree.map(
        lambda found, wanted: np.testing.assert_allclose(
            found, wanted, atol=TOLERANCE * np.abs(wanted).max()
        ),
        tiled_targets,
        targets,
    )
    evaluate = jax.jit(nst.loss_and_gradient, static_argnums=4)
    (loss, terms), gradient = evaluate(
        params, image, targets, weights, dataclasses.replace(config, tile=0)
    )
    (tiled_loss, tiled_terms), tiled_gradient = evaluate(params, image, targets, weights, config)
    np.testing.assert_allclose(tiled_loss, loss, rtol=TOLERANCE)
    jax.tree.map(
        lambda found, expected: np.testing.assert_allclose(found, expected, rtol=TOLERANCE),
        tiled_terms,
        terms,
    )
    assert np.abs(tiled_gradient - gradient).max() <= TOLERANCE * np.abs(gradient).max()


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["relative", "paper", "mean", "notebook"])
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_the_tiled_gradient_is_that_of_the_whole_image(vgg16_params, pair, rng, scaling, pooling):
    config = nst.TransferConfig(scaling=scaling, pooling=pooling, tile=64)
    weights = nst.LossWeights(style=1e4, total_variation=0.1)
    compare(
        vgg16_params, *pair, config, weights, jnp.asarray(rng.random(pair[0].shape), jnp.float32)
    )


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(192, 192), (17, 331), (300, 16), (257, 164)])
def test_any_size_can_be_cut(vgg19_params, pair, rng, shape):
    content = rng.random((*shape, 3)).astype(np.float32)
    weights = nst.LossWeights(
        content_layers={"conv1_1": 1.0, "conv3_1": 0.5},
        style_layers={"conv2_1": 0.3, "conv4_4": 1.0},
    )
    config = nst.TransferConfig(
        content_layers=("conv1_1", "conv3_1"), style_layers=("conv2_1", "conv4_4"), tile=64
    )
    compare(
        vgg19_params,
        content,
        pair[1],
        config,
        weights,
        jnp.asarray(rng.random(content.shape), jnp.float32),
    )


@pytest.mark.slow
def test_a_tiled_descent_begins_as_the_whole_one(vgg16_params, pair):
    layers = {"content_layers": ("conv3_1",), "style_layers": ("conv1_1", "conv2_1", "conv3_1")}
    whole = nst.stylize(vgg16_params, *pair, nst.TransferConfig(num_steps=3, **layers))
    tiled = nst.stylize(vgg16_params, *pair, nst.TransferConfig(num_steps=3, tile=64, **layers))
    np.testing.assert_allclose(tiled.losses, whole.losses, rtol=1e-4)  # descent amplifies rounding


@pytest.mark.slow
def test_tiled_targets_are_those_of_the_whole_image(vgg16_params, pair):
    targets = nst.make_targets(vgg16_params, *pair[:1], pair[0], nst.TransferConfig(tile=64))
    found = nst.features(vgg16_params, pair[0], ("conv4_2", *nst.style().layers))
    np.testing.assert_allclose(
        targets["content"].fields["conv4_2"],
        found["conv4_2"],
        atol=TOLERANCE * found["conv4_2"].max(),
    )
    for layer, gram in targets["style"].wanted.items():
        expected = nst.gram_matrix(found[layer])
        np.testing.assert_allclose(gram, expected, atol=TOLERANCE * expected.max())


def test_an_image_that_one_tile_sees_whole_is_evaluated_once(vgg16_params, pair):
    whole, tiled = nst.TransferConfig(), nst.TransferConfig(tile=512)
    targets = nst.make_targets(vgg16_params, *pair, whole)
    programs = {
        str(
            jax.make_jaxpr(nst.loss_and_gradient, static_argnums=4)(
                vgg16_params, pair[0], targets, nst.LossWeights(), config
            )
        )
        for config in (whole, tiled)
    }
    assert len(programs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("layers", [{"content_layers": ()}, {"style_layers": ()}])
def test_one_term_alone_can_be_tiled(vgg16_params, pair, rng, layers):
    compare(
        vgg16_params,
        *pair,
        nst.TransferConfig(tile=64, **layers),
        nst.LossWeights(),
        jnp.asarray(rng.random(pair[0].shape), jnp.float32),
    )


def test_tiles_off_the_grid_are_refused():
    for tile in (16, 100):
        with pytest.raises(
            nst.ConfigError, match=f"tile is {tile}; it must be a multiple of 64 pixels, or 0"
        ):
            nst.TransferConfig(tile=tile)


def test_an_image_of_another_shape_than_the_content_is_refused(vgg16_params, pair):
    for tile in (0, 64):
        config = nst.TransferConfig(tile=tile)
        targets = nst.make_targets(vgg16_params, *pair, config)
        with pytest.raises(
            nst.ConfigError, match="both images must have the same height and width"
        ):
            nst.loss_and_gradient(vgg16_params, pair[0][:100], targets, nst.LossWeights(), config)
