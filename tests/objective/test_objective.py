import jax
import numpy as np
import pytest

import nst_jax as nst
from tests import reference

LOSS_TOLERANCE = 1e-5  # relative
GRADIENT_TOLERANCE = 1e-5  # of the largest component; float32 against float64
WEIGHTS = {
    "relative": (1.0, 20.0, 0.3),
    "paper": (0.7, 3.0, 0.1),
    "mean": (1e-3, 1.0, 0.01),
    "notebook": (2.5e-8, 1e-6, 1e-6),
}

# one program instead of one for each operation
total_loss = jax.jit(nst.total_loss, static_argnames="config")


@pytest.fixture(scope="module")
def doubles(vgg16_params):
    """The parameters in float64, which the reference would make of them at every call."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, float), vgg16_params)


@pytest.fixture
def images(rng):
    """Content 32 × 48, style of another size, and a starting image that is neither."""
    return tuple(
        rng.random(shape).astype(np.float32) for shape in ((32, 48, 3), (41, 36, 3), (32, 48, 3))
    )


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("scaling", list(WEIGHTS))
def test_loss_and_gradient_of_each_scaling_agree_with_numpy_in_float64(
    scaling, pooling, vgg16_params, doubles, images
):
    content, style, image = images
    config = nst.TransferConfig(
        scaling=scaling, pooling=pooling, content_layers=("conv3_2", "conv4_2")
    )
    alpha, beta, gamma = WEIGHTS[scaling]
    weights = nst.LossWeights(alpha, beta, gamma, grain=None)
    loss = nst.default_loss(config, weights)
    targets = nst.make_targets(vgg16_params, content, style, config, loss)
    # what is closed over would be folded into the program
    objective = jax.jit(
        jax.value_and_grad(
            lambda image, params, targets, weights: nst.total_loss(
                params, image, targets, weights, config
            )[0]
        )
    )
    loss, gradient = objective(image, vgg16_params, targets, weights)
    expected_loss, expected_gradient = reference.loss_and_gradient(
        doubles,
        image,
        content,
        style,
        scaling=scaling,
        pooling=pooling,
        content_layers=config.content_layers,
        style_layers=config.style_layers,
        weights=(alpha, beta, gamma),
    )
    assert abs(loss / expected_loss - 1) <= LOSS_TOLERANCE
    assert (
        np.abs(gradient - expected_gradient).max()
        <= GRADIENT_TOLERANCE * np.abs(expected_gradient).max()
    )


def test_the_reference_gradient_is_the_difference_quotient_of_its_loss(doubles, images, rng):
    content, style, image = (array.astype(float) for array in images)
    arguments = dict(
        scaling="relative",
        pooling="avg",
        content_layers=("conv2_2",),
        style_layers=("conv1_1", "conv3_1"),
        weights=(1.0, 20.0, 0.3),
    )
    params = {name: param for name, param in doubles.items() if name <= "conv3_1" or name == "mean"}
    _, gradient = reference.loss_and_gradient(params, image, content, style, **arguments)
    for direction in (gradient / np.linalg.norm(gradient), rng.normal(size=image.shape)):
        step = 1e-6 * direction
        up, _ = reference.loss_and_gradient(params, image + step, content, style, **arguments)
        down, _ = reference.loss_and_gradient(params, image - step, content, style, **arguments)
        slope = np.sum(gradient * direction)
        assert abs((up - down) / 2e-6 - slope) <= 1e-5 * abs(slope)


def test_terms_are_unweighted_and_sum_to_the_loss_when_weighted(vgg16_params, images):
    content, style, image = images
    config = nst.TransferConfig(
        content_layers=("conv2_2", "conv4_2"), style_layers=("conv1_1", "conv3_1")
    )
    targets = nst.make_targets(vgg16_params, content, style, config)
    weights = nst.LossWeights(
        2.0,
        5.0,
        0.5,
        {"conv2_2": 1.0, "conv4_2": 3.0},
        {"conv3_1": 0.25, "conv1_1": 1.0},
        grain=0.7,
    )
    loss, terms = total_loss(vgg16_params, image, targets, weights, config)
    by_hand = 2.0 * (terms["content"]["conv2_2"] + 3 * terms["content"]["conv4_2"])
    by_hand += (
        5.0 * (terms["style"]["conv1_1"] + 0.25 * terms["style"]["conv3_1"])
        + 0.5 * terms["total_variation"]["all"]
        + 0.7 * terms["grain"]["all"]
    )
    np.testing.assert_allclose(loss, by_hand, rtol=LOSS_TOLERANCE)
    _, same = total_loss(vgg16_params, image, targets, nst.LossWeights(), config)
    assert same["style"]["conv1_1"] == terms["style"]["conv1_1"]


def test_the_content_image_itself_has_no_content_loss_and_the_style_image_no_style_loss(
    vgg16_params, images
):
    content, style, _ = images
    config = nst.TransferConfig()
    _, terms = total_loss(
        vgg16_params,
        content,
        nst.make_targets(vgg16_params, content, style, config),
        nst.LossWeights(),
        config,
    )
    assert terms["content"]["conv4_2"] < 1e-10
    _, terms = total_loss(
        vgg16_params,
        style,
        nst.make_targets(vgg16_params, style, style, config),
        nst.LossWeights(),
        config,
    )
    assert max(terms["style"].values()) < 1e-10


def test_relative_scaling_does_not_see_how_large_activations_are(vgg16_params, images):
    content, style, image = images
    config = nst.TransferConfig()
    normalised = {
        layer: param if layer == "mean" else dict(param) for layer, param in vgg16_params.items()
    }
    for layer in nst.NETWORKS["vgg16"]:
        normalised[layer]["bias"] = normalised[layer]["bias"] * 7
    # every layer's output is now seven times as large
    normalised["conv1_1"]["kernel"] = normalised["conv1_1"]["kernel"] * 7
    losses = [
        total_loss(
            params,
            image,
            nst.make_targets(params, content, style, config),
            nst.LossWeights(),
            config,
        )[0]
        for params in (vgg16_params, normalised)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_weights_for_other_layers_are_refused(vgg16_params, images):
    content, style, image = images
    config = nst.TransferConfig(style_layers=("conv1_1", "conv2_1"))
    targets = nst.make_targets(vgg16_params, content, style, config)
    with pytest.raises(
        nst.ConfigError,
        match=r"weights.style_layers weighs conv1_1, but the layers are conv1_1, conv2_1",
    ):
        nst.total_loss(
            vgg16_params, image, targets, nst.LossWeights(style_layers={"conv1_1": 1.0}), config
        )


def test_an_image_of_another_shape_is_refused(vgg16_params, images):
    content, style, _ = images
    config = nst.TransferConfig()
    targets = nst.make_targets(vgg16_params, content, style, config)
    with pytest.raises(nst.ConfigError, match="both images must have the same height and width"):
        nst.total_loss(vgg16_params, style, targets, nst.LossWeights(), config)
