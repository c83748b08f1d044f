import math
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.network import convolution, vgg, winograd
from nst_jax.network.convolution import convolve
from nst_jax.network.vgg import direct_params, least_size
from tests import reference
from tests.runs import features

FEATURE_TOLERANCE = 1e-5  # of the layer's maximum; float32
WINOGRAD_TOLERANCE = 1e-5  # likewise
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "vgg_features.npz")


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_every_layer_agrees_with_numpy_in_float64(network, pooling, rng):
    params = reference.random_params(network)
    image = rng.random((35, 50, 3)).astype(np.float32)
    expected = reference.features(params, image, pooling)
    found = features(params, image, tuple(expected), pooling)
    assert list(expected) == list(nst.NETWORKS[network])
    shapes = vgg.features_shapes(params, image.shape, [*expected][::-1])
    assert list(shapes.items()) == [(layer, values.shape) for layer, values in expected.items()]
    assert vgg.features_shapes(params, (0, 5), ()) == {} == nst.features(params, image, ())
    for layer, values in expected.items():
        assert found[layer].shape == values.shape
        assert np.abs(found[layer] - values).max() <= FEATURE_TOLERANCE * values.max(), layer


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_every_layer_agrees_with_pytorch(network, pooling):
    """The golden file holds samples of what PyTorch computed; scripts/make_golden.py made it."""
    params = reference.random_params(network, seed=int(GOLDEN["seed"]))
    image = GOLDEN["image"]
    found = features(params, image, tuple(reference.LAYERS[network]), pooling)
    for layer in reference.LAYERS[network]:
        key = f"{network}/{pooling}/{layer}"
        values = np.asarray(found[layer]).ravel()[GOLDEN[f"{key}/positions"]]
        assert (
            np.abs(values - GOLDEN[f"{key}/values"]).max()
            <= FEATURE_TOLERANCE * GOLDEN[f"{key}/max"]
        ), layer


def test_the_gradient_of_the_convolution_is_the_one_that_autodiff_finds(rng):
    image = jnp.asarray(rng.normal(size=(9, 7, 5)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 5, 4)), jnp.float32)
    cotangent = jnp.asarray(rng.normal(size=(9, 7, 4)), jnp.float32)

    def plain(image):
        return jax.lax.conv_general_dilated(
            image[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]

    np.testing.assert_allclose(
        jax.vjp(lambda image: convolve(image, kernel), image)[1](cotangent)[0],
        jax.vjp(plain, image)[1](cotangent)[0],
        atol=2e-5,
    )


@pytest.fixture
def few_tiles(monkeypatch):
    """Strips of 64 tiles at once, so several of a small image."""
    monkeypatch.setattr(winograd, "_TILES_AT_ONCE", 64)
    jax.clear_caches()  # of traces with another number
    yield
    jax.clear_caches()


def agrees(found, expected):
    return np.abs(found - expected).max() <= WINOGRAD_TOLERANCE * np.abs(expected).max()


def single(array):
    return jnp.asarray(array, jnp.float32)


@pytest.mark.parametrize("channels", [(6, 4), (6, 6)])  # as many overwrite their input
@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (16, 16), (35, 50), (300, 64)])
def test_winograd_is_the_convolution_and_its_gradients(shape, channels, rng, few_tiles):
    """Against float64."""
    image, kernel = rng.normal(size=(*shape, channels[0])), rng.normal(size=(3, 3, *channels))
    cotangent = rng.normal(size=(*shape, channels[1]))
    around = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    rows, columns = shape
    of_kernel = [
        [
            np.einsum("hwc,hwd->cd", around[i : i + rows, j : j + columns], cotangent)
            for j in range(3)
        ]
        for i in range(3)
    ]
    transformed, pull_kernel = jax.vjp(winograd.transform_kernel, single(kernel))
    found, pull = jax.jit(partial(jax.vjp, convolve))(single(image), transformed)
    of_image, of_transformed = pull(single(cotangent))
    assert agrees(found, reference.convolve(image, kernel))
    assert agrees(of_image, reference.convolve(cotangent, kernel[::-1, ::-1].swapaxes(2, 3)))
    assert agrees(pull_kernel(of_transformed)[0], np.array(of_kernel))


def test_winograd_in_strips_sees_what_lies_beyond(rng, few_tiles):
    image, kernel = rng.normal(size=(90, 64, 6)), rng.normal(size=(3, 3, 6, 6))
    respond = lambda image: convolve(
        image, winograd.transform_kernel(single(kernel)), border="wrap"
    )
    around = np.pad(image, ((1, 1), (1, 1), (0, 0)), "wrap")
    expected = reference.convolve(around, kernel)[1:-1, 1:-1]
    found, pull = jax.jit(partial(jax.vjp, respond))(single(image))
    assert agrees(found, expected)
    # each shift of a wrapped image is a permutation, so the gradient is of the kernel turned
    around = np.pad(expected, ((1, 1), (1, 1), (0, 0)), "wrap")
    gradient = reference.convolve(around, kernel[::-1, ::-1].swapaxes(2, 3))[1:-1, 1:-1]
    assert agrees(pull(single(expected))[0], gradient)


def test_winograd_in_strips_under_vmap(rng, few_tiles):
    images, kernel = rng.normal(size=(2, 90, 64, 6)), rng.normal(size=(3, 3, 6, 6))
    transformed = winograd.transform_kernel(single(kernel))
    found = jax.jit(jax.vmap(lambda image: convolve(image, transformed)))(single(images))
    assert agrees(found, np.stack([reference.convolve(image, kernel) for image in images]))


def test_winograd_on_many_channels_is_as_exact(rng):
    image, kernel = rng.normal(size=(32, 32, 256)).clip(0), rng.normal(size=(3, 3, 256, 128))
    response = reference.convolve(image, kernel)
    found = convolve(
        jnp.asarray(image, jnp.float32), winograd.transform_kernel(jnp.asarray(kernel, jnp.float32))
    )
    assert np.abs(found - response).max() <= WINOGRAD_TOLERANCE * np.abs(response).max()


def test_rounded_factors_are_exact_to_their_digits(rng):
    """Wide layers alone, forward and back, against float64."""
    image, cotangent = rng.normal(size=(32, 32, 256)), rng.normal(size=(32, 32, 128))
    kernel = rng.normal(size=(3, 3, 256, 128))
    single = lambda array: jnp.asarray(array, jnp.float32)
    kernels = {"wide": single(kernel), "conv1_2": single(kernel[:, :, :64, :64])}
    exact, rounded = (
        convolution.prepare_kernels(kernels, precision) for precision in ("highest", "default")
    )
    assert exact["wide"].dtype == jnp.float32
    for again in (rounded, convolution.prepare_kernels(exact, "default")):
        assert again["wide"].shape[0] == again["conv1_2"].shape[0] == 6
        assert again["wide"].dtype == jnp.bfloat16 and again["conv1_2"].dtype == jnp.float32
    found, pull = jax.vjp(lambda image: convolve(image, rounded["wide"]), single(image))
    gradient = reference.convolve(cotangent, kernel[::-1, ::-1].swapaxes(2, 3))
    for wanted, rough in (
        (reference.convolve(image, kernel), found),
        (gradient, pull(single(cotangent))[0]),
    ):
        assert rough.dtype == jnp.float32
        error = np.linalg.norm(rough - wanted) / np.linalg.norm(wanted)
        np.testing.assert_allclose(error, errors_of_rounded_factors(), rtol=0.1)


def errors_of_rounded_factors():
    """What rounding makes of white noise: of each transformed factor 0.17 %, independently.

    Variances add up by the squares of the matrices; those for the gradient are as good.
    """
    numbers = np.random.default_rng(0).normal(size=10**5).astype(np.float32)
    rounded = numbers.astype(jnp.bfloat16).astype(np.float32)
    rounding = np.sum((rounded - numbers) ** 2) / np.sum(numbers**2)
    inputs, kernels, outputs = (
        matrix**2 for matrix in (winograd._INPUTS, winograd._KERNELS, winograd._OUTPUTS)
    )
    factors = (np.outer(matrix.sum(1), matrix.sum(1)) for matrix in (inputs, kernels))
    variances = outputs @ (2 * rounding * np.prod(list(factors), axis=0)) @ outputs.T
    return np.sqrt(variances.mean() / 9)


def test_parameters_prepared_for_less_precision_are_refused_for_more(vgg19_params):
    rounded = nst.prepare_params(vgg19_params, precision="default")
    again = nst.prepare_params(nst.prepare_params(vgg19_params), precision="bfloat16")
    for layer in ("conv4_2", "conv1_1"):
        kind = jnp.bfloat16 if layer == "conv4_2" else jnp.float32
        assert rounded[layer]["kernel"].dtype == again[layer]["kernel"].dtype == kind
    with pytest.raises(nst.ConfigError, match="are prepared in bfloat16"):
        nst.prepare_params(rounded)


@pytest.mark.parametrize("channels", [16, 8])
def test_winograd_keeps_no_more_than_the_layers_at_hand(channels, few_tiles):
    """Not the responses of all layers, in arrays that are there from the beginning."""
    features = jax.ShapeDtypeStruct((128, 128, 16), np.float32)
    there = jax.ShapeDtypeStruct((6, 6, 16, channels), np.float32)
    back = jax.ShapeDtypeStruct((6, 6, channels, 16), np.float32)

    def layers(features, there, back, count):
        for _ in range(count):
            features = jax.nn.relu(convolve(features, there))
            features = jax.nn.relu(convolve(features, back))
        return features

    program = jax.jit(layers, static_argnums=3)
    few, many = (
        program.lower(features, there, back, count).compile().memory_analysis().temp_size_in_bytes
        for count in (1, 4)
    )
    assert many - few < 2 * math.prod(features.shape)  # half of an array of such features


@pytest.mark.slow
@pytest.mark.parametrize("kind", [jnp.float32, jnp.bfloat16])
def test_winograd_under_vmap_and_in_a_loop_is_the_same(rng, kind, monkeypatch):
    monkeypatch.setattr(winograd, "_TILES_AT_ONCE", 8)  # several strips
    jax.clear_caches()
    images = jnp.asarray(rng.normal(size=(2, 20, 12, 6)), jnp.float32)
    kernel = winograd.transform_kernel(jnp.asarray(rng.normal(size=(3, 3, 6, 6)), jnp.float32))
    kernel = kernel.astype(kind)
    gradient = jax.grad(lambda image: jnp.sum(convolve(image, kernel) ** 2))
    expected = np.stack([gradient(image) for image in images])
    for found in (
        jax.vmap(gradient)(images),
        jax.lax.map(gradient, images),
        jax.vmap(jax.grad(jax.checkpoint(lambda image: jnp.sum(convolve(image, kernel) ** 2))))(
            images
        ),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_prepared_parameters_give_the_same_features(network, rng):
    params, image = reference.random_params(network), rng.random((35, 50, 3)).astype(np.float32)
    prepared = nst.prepare_params(params)
    # on a CPU
    assert (
        prepared["conv1_1"]["kernel"].shape[0] == 3 and prepared["conv1_2"]["kernel"].shape[0] == 6
    )
    expected = reference.features(params, image, "avg")
    found = features(prepared, image, tuple(expected))
    for layer, values in expected.items():
        assert np.abs(found[layer] - values).max() <= WINOGRAD_TOLERANCE * values.max(), layer
    shallow = nst.prepare_params(params, ("conv2_2",))
    assert [layer for layer in expected if shallow[layer]["kernel"].shape[0] == 6] == [
        "conv1_2",
        "conv2_1",
        "conv2_2",
    ]
    assert nst.prepare_params(prepared)["conv3_1"]["kernel"] is prepared["conv3_1"]["kernel"]


@pytest.mark.slow
def test_parameters_as_they_are_loaded_take_no_more_work_than_prepared_ones(rng):
    """But for the transforms of their kernels, each of which is made once."""
    image, layer = rng.random((64, 72, 3)).astype(np.float32), ("conv3_3",)

    def work(params, image, precision="highest"):
        loss = lambda image: jnp.sum(
            features(params, image, layer, precision=precision)["conv3_3"] ** 2
        )
        return jax.jit(jax.grad(loss)).lower(image).compile().cost_analysis()["flops"]

    params = jax.tree.map(jnp.asarray, reference.random_params("vgg16"))
    direct, prepared = direct_params(params), nst.prepare_params(params)
    wide = ("conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3")
    transforms = sum(2 * 36 * params[name]["kernel"].size for name in wide)
    assert work(prepared, image) <= work(params, image) <= work(prepared, image) + transforms
    assert work(params, image) < 0.6 * work(direct, image)
    assert work(params, image, "bfloat16") < 0.6 * work(direct, image)
    # where little is to be computed, a transform is not worth its while
    assert work(params, image[:12, :12]) == work(direct, image[:12, :12])


@pytest.mark.slow
def test_parameters_are_computed_with_by_the_equation_if_that_is_asked(rng):
    params, image = reference.random_params("vgg19"), rng.random((64, 64, 3)).astype(np.float32)
    direct, prepared = direct_params(params), nst.prepare_params(params)
    expected = reference.features(params, image, "avg")["conv3_4"]
    for own, products in ((params, True), (direct, False), (prepared, True)):
        found = features(own, image, ("conv3_4",))["conv3_4"]
        assert np.abs(found - expected).max() <= WINOGRAD_TOLERANCE * expected.max()
        program = jax.jit(lambda image, own=own: nst.features(own, image, ("conv3_4",))["conv3_4"])
        # Winograd's products are of matrices; the equation is a convolution and nothing else
        assert ("dot_general" in program.lower(image).as_text()) == products
    assert direct_params(prepared)["conv4_2"]["kernel"] is prepared["conv4_2"]["kernel"]
    again = nst.prepare_params(direct)["conv4_2"]["kernel"]
    np.testing.assert_array_equal(again, prepared["conv4_2"]["kernel"])


def test_nothing_deeper_than_the_deepest_layer_is_computed(vgg16_params, rng):
    image = rng.random((32, 32, 3)).astype(np.float32)
    text = str(
        jax.make_jaxpr(lambda image: nst.features(vgg16_params, image, ("conv2_1", "conv1_2")))(
            image
        )
    )
    assert text.count("nst_jax_convolution") == 3


def test_an_image_too_small_is_told_the_least_size(vgg16_params):
    assert least_size("conv1_2") == 1
    assert least_size("conv5_1") == 16
    smallest = np.zeros((16, 16, 3), np.float32)
    found = features(vgg16_params, smallest, ("conv5_3",))["conv5_3"]
    assert found.shape == (1, 1, len(vgg16_params["conv5_3"]["bias"]))
    with pytest.raises(
        nst.ConfigError,
        match="15 × 40 pixels is too small for conv5_3: each side must be at least 16",
    ):
        nst.features(vgg16_params, np.zeros((15, 40, 3), np.float32), ("conv5_3",))


def test_an_unknown_layer_is_named_with_those_there_are(vgg16_params):
    with pytest.raises(
        nst.ConfigError, match=r"unknown layer 'conv3_4': vgg16 has conv1_1, .*conv5_3"
    ):
        nst.features(vgg16_params, np.zeros((32, 32, 3), np.float32), ("conv1_1", "conv3_4"))


def test_no_layers_are_no_features(vgg16_params):
    assert nst.features(vgg16_params, np.zeros((32, 32, 3), np.float32), ()) == {}


def test_text_for_layers_and_unknown_poolings_are_refused(vgg16_params):
    image = np.zeros((32, 32, 3), np.float32)
    with pytest.raises(nst.ConfigError, match="give a tuple of names"):
        vgg.features.__wrapped__(vgg16_params, image, "conv4_2")
    with pytest.raises(nst.ConfigError, match="pooling is 'mean'; it must be one of avg, max"):
        vgg.features.__wrapped__(vgg16_params, image, ("conv1_1",), "mean")
