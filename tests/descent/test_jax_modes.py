"""JAX's other modes of differentiation, its stricter modes, and its export."""

import dataclasses
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import nst_jax as nst
from nst_jax.descent import problem
from nst_jax.network import convolution
from nst_jax.network.winograd import transform_kernel
from tests import reference

pytestmark = pytest.mark.slow

CONFIG = nst.TransferConfig(content_layers=("conv2_2",), style_layers=("conv1_1", "conv3_1"))
WEIGHTS = nst.LossWeights(total_variation=0.1)


@pytest.fixture(scope="module")
def doubles():
    """The loss of a small image, in 64 bits, in which differences of quotients are exact enough to
    tell right from wrong."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        params = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), reference.random_params("vgg16")
        )
        content, style, image = (jnp.asarray(rng.random((10, 12, 3))) for _ in range(3))
        targets = nst.make_targets(params, content, style, CONFIG)

        # few programs instead of one for each operation and its derivatives
        compiled = jax.jit(
            lambda image, params, targets: nst.total_loss(params, image, targets, WEIGHTS, CONFIG)[
                0
            ]
        )

        def loss(image, params=params):
            return compiled(image, params, targets)

        return loss, params, image, jnp.asarray(rng.normal(size=image.shape))


def quotient(function, point, direction, step=1e-6):
    """The central difference of a function of a tree along a direction."""
    at = lambda length: function(
        jax.tree.map(lambda leaf, way: leaf + length * way, point, direction)
    )
    return jax.tree.map(lambda up, down: (up - down) / (2 * step), at(step), at(-step))


def test_forward_mode_is_the_derivative(doubles):
    loss, _, image, direction = doubles
    with jax.enable_x64(True):
        expected = quotient(loss, image, direction)
        np.testing.assert_allclose(jax.jvp(loss, (image,), (direction,))[1], expected, rtol=1e-6)
        np.testing.assert_allclose(jax.linearize(loss, image)[1](direction), expected, rtol=1e-6)
        gram = lambda image: nst.gram_matrix(image)
        np.testing.assert_allclose(
            jax.jvp(gram, (image,), (direction,))[1], quotient(gram, image, direction), rtol=1e-6
        )


def test_products_with_the_hessian_agree_however_they_are_made(doubles):
    loss, _, image, direction = doubles
    with jax.enable_x64(True):
        expected = quotient(jax.grad(loss), image, direction)
        tolerance = 1e-5 * np.abs(expected).max()
        forward_over_reverse = jax.jvp(jax.grad(loss), (image,), (direction,))[1]
        reverse_over_reverse = jax.grad(lambda image: jnp.vdot(jax.grad(loss)(image), direction))(
            image
        )
        np.testing.assert_allclose(forward_over_reverse, expected, atol=tolerance)
        np.testing.assert_allclose(reverse_over_reverse, expected, atol=tolerance)


def test_the_gradient_in_the_parameters_is_right_for_kernels_too(doubles):
    loss, params, image, _ = doubles
    used = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        gradient = jax.grad(lambda params: loss(image, params))(params)
        for name in used:
            direction = jax.tree.map(
                lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)) * jnp.std(leaf), params[name]
            )
            expected = quotient(
                lambda own, name=name: loss(image, {**params, name: own}), params[name], direction
            )
            found = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient[name], direction)))
            np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
        # By the chain rule, the same of kernels that were transformed for Winograd's algorithm,
        # which computes in float32.
        prepared = nst.prepare_params(params, ("conv3_1",))
        transformed = jax.grad(lambda params: loss(image, params))(prepared)
        for name in used[1:]:
            assert prepared[name]["kernel"].shape[0] == 6
            _, pull = jax.vjp(transform_kernel, params[name]["kernel"])
            (found,) = pull(transformed[name]["kernel"])
            expected = gradient[name]["kernel"]
            assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max(), name


def test_a_batch_under_vmap_inside_and_outside_of_a_gradient(doubles):
    loss, _, image, direction = doubles
    with jax.enable_x64(True):
        images = jnp.stack([image, image + 0.01 * direction])
        alone = np.stack([jax.grad(loss)(image) for image in images])
        tolerance = 1e-12 * np.abs(alone).max()
        np.testing.assert_allclose(jax.vmap(jax.grad(loss))(images), alone, atol=tolerance)
        np.testing.assert_allclose(
            jax.grad(lambda images: jax.vmap(loss)(images).sum())(images), alone, atol=tolerance
        )


@contextmanager
def strict():
    """All of JAX's stricter modes at once, each of which would compile every program anew."""
    with (
        jax.debug_nans(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.transfer_guard("disallow"),
    ):
        yield


MODES = {"64 bits": lambda: jax.enable_x64(True), "strict": strict}

RUNS = {
    "lbfgs": nst.TransferConfig(num_steps=5),
    "from noise in tiles": nst.TransferConfig(num_steps=3, init="noise", tile=64),
    "adam": nst.TransferConfig(
        num_steps=3, optimizer="adam", decay=0.9, pooling="max", scaling="paper"
    ),
    "sgd": nst.TransferConfig(
        num_steps=3, optimizer="sgd", learning_rate=1e-3, precision="bfloat16"
    ),
}

CONTROLS = {
    "luminance": ({"colours": "luminance"}, False),
    "recoloured": ({"colours": "content"}, False),
    "mixture": ({"style_mix": (3, 7)}, False),
    "turns": ({"style_turns": True}, False),
    "octaves": ({"octaves": 2}, False),
    "regions": ({}, True),
    "kept": ({}, False),
    "wasserstein": ({"style_loss": "wasserstein"}, False),
    "sliced_wasserstein": ({"style_loss": "sliced_wasserstein"}, False),
    "self_similarity": ({"content_loss": "self_similarity"}, False),
    "replicated": ({"border": "replicate"}, False),
    "wrapping in tiles": ({"border": "wrap", "tile": 64}, False),
}

# Where the optimiser is of no interest, one that is compiled in a third of the time.
PLAIN = nst.TransferConfig(optimizer="adam", content_layers=("conv1_2",), style_layers=("conv1_1",))


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(5)
    return rng.random((24, 140, 3)).astype(np.float32), rng.random((20, 30, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def half_the_bits():
    """As on a GPU, where a run's bfloat16 is not this CPU's float32."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(problem, "precision_here", lambda config: (config, ""))
        patched.setattr(convolution, "_is_for_winograd", lambda kernel: False)
        yield


@pytest.fixture(scope="module")
def usual(vgg16_params, pictures, half_the_bits):
    return {name: run(vgg16_params, pictures, config) for name, config in RUNS.items()}


def run(params, pictures, config):
    layers = {"content_layers": CONFIG.content_layers, "style_layers": ("conv1_1", "conv2_1")}
    return nst.stylize(params, *pictures, nst.TransferConfig(**{**vars(config), **layers}), WEIGHTS)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("mode", MODES)
def test_runs_in_stricter_modes_end_as_they_do_without(
    mode, name, vgg16_params, pictures, usual, half_the_bits
):
    with MODES[mode]():
        result = run(vgg16_params, pictures, RUNS[name])
    exactly = mode != "64 bits"  # whose learning rates and counters are wider
    assert result.image.dtype == np.float32
    np.testing.assert_allclose(result.losses, usual[name].losses, rtol=0 if exactly else 1e-4)
    np.testing.assert_allclose(result.image, usual[name].image, atol=0 if exactly else 1e-3)


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("mode", MODES)
def test_controls_run_in_stricter_modes(mode, name, vgg16_params, pictures):
    settings, has_regions = CONTROLS[name]
    content, style = pictures
    half = np.full(content.shape[:2], 0.5, np.float32)
    regions = [nst.Region(half), nst.Region(half, style=1, style_mask=np.ones(style.shape[:2]))]
    keep = half if name == "kept" else None
    config = dataclasses.replace(PLAIN, num_steps=2, **settings)
    styles = [style, style[::-1].copy() ** 2] if has_regions or config.style_mix else style
    with MODES[mode]():
        result = nst.stylize(
            vgg16_params, content, styles, config, regions=regions if has_regions else (), keep=keep
        )
    assert np.isfinite(result.losses).all() and result.image.dtype == np.float32


@pytest.mark.parametrize("mode", MODES)
def test_textures_run_in_stricter_modes(mode, vgg16_params, pictures):
    config = dataclasses.replace(PLAIN, num_steps=10, border="wrap")
    with MODES[mode]():
        result = nst.texture(vgg16_params, pictures[1], (64, 80), config)
    assert result.image.shape == (64, 80, 3) and result.image.dtype == np.float32


@pytest.mark.parametrize("mode", MODES)
def test_studies_run_in_stricter_modes(mode, vgg16_params, pictures):
    axes = {"style_weight": [1.0, 5.0], "init": ["content", "noise", "style"]}
    config = dataclasses.replace(PLAIN, num_steps=2)
    with MODES[mode]():
        result = nst.run_study(vgg16_params, *pictures, axes, config)
    assert np.isfinite(result.losses).all() and result.image.shape == (6, 24, 140, 3)


@pytest.mark.parametrize("mode", MODES)
def test_several_sizes_in_stricter_modes(mode, vgg16_params, rng):
    images = rng.random((2, 64, 66, 3)).astype(np.float32)
    config = dataclasses.replace(PLAIN, num_steps=10, init="noise")
    with MODES[mode]():
        result = nst.stylize(vgg16_params, *images, config)
    assert result.sizes.tolist() == [33] * 2 + [66] * 8 and np.isfinite(result.losses).all()


@pytest.mark.parametrize("precision", ["highest", "default"])
def test_nan_checks_let_a_start_at_the_bounds_pass_outside_of_jit(precision):
    optimizer = nst.make_optimizer(nst.TransferConfig(memory=3, precision=precision))
    state = nst.init(jnp.zeros((16, 16, 3)), optimizer)
    evaluate = jax.value_and_grad(
        lambda image: (jnp.sum(jnp.square(image - 0.7)), None), has_aux=True
    )
    with jax.debug_nans(True):
        for _ in range(9):
            state, _ = nst.step(state, evaluate, optimizer)
    assert state.image.min() > 0.1 and state.best_loss < 0.75 * 0.7**2 * state.image.size


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "sgd"])
def test_states_in_half_precision_descend(optimizer, vgg16_params, rng):
    content, style = (jnp.asarray(rng.random((20, 24, 3)), jnp.bfloat16) for _ in range(2))
    rate = 0.1 if optimizer == "sgd" else 0.02
    config = nst.TransferConfig(
        optimizer=optimizer,
        learning_rate=rate,
        content_layers=("conv2_2",),
        style_layers=("conv1_1",),
    )
    targets = nst.make_targets(vgg16_params, content, style, config)
    method = nst.make_optimizer(config)

    @jax.jit
    def move(state, params, targets):
        evaluate = lambda image: nst.loss_and_gradient(
            params, image, targets, nst.LossWeights(), config
        )
        return nst.step(state, evaluate, method)

    state, losses = nst.init(content, method), []
    for _ in range(12):
        state, info = move(state, vgg16_params, targets)
        losses.append(float(info.loss))
    assert state.image.dtype == state.best_image.dtype == jnp.bfloat16
    assert min(losses) < 0.9 * losses[0] and float(state.best_loss) == min(losses)


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_export_leaves_height_and_width_open(pooling, vgg16_params, rng):
    params = jax.tree.map(jnp.asarray, vgg16_params)
    height, width = export.symbolic_shape(
        "height, width", constraints=["height >= 4", "width >= 4"]
    )
    grams = jax.jit(
        lambda params, image: nst.gram_matrix(
            nst.features(params, image, ("conv3_1",), pooling)["conv3_1"]
        )
    )
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    exported = export.export(grams)(shapes, jax.ShapeDtypeStruct((height, width, 3), jnp.float32))
    for shape in ((9, 14), (4, 4)):
        image = jnp.asarray(rng.random((*shape, 3)), jnp.float32)
        np.testing.assert_allclose(exported.call(params, image), grams(params, image), rtol=1e-5)


@pytest.mark.parametrize(
    "make", [jax.random.key, jax.random.PRNGKey, lambda seed: np.array([0, seed], np.uint32)]
)
def test_keys_of_both_styles_make_the_same_noise(make, vgg16_params, pictures):
    config = nst.TransferConfig(
        num_steps=1, init="noise", content_layers=("conv1_1",), style_layers=()
    )
    found = nst.stylize(vgg16_params, *pictures, config, key=make(7)).image
    np.testing.assert_array_equal(
        found, nst.stylize(vgg16_params, *pictures, config, key=jax.random.key(7)).image
    )


@pytest.mark.parametrize(
    "key",
    [1.5, "seed", np.zeros(3, np.uint32), jax.random.split(jax.random.key(0), 2)],
    ids=repr,
)
def test_what_is_no_key_is_told_how_to_make_one(key, vgg16_params, pictures):
    with pytest.raises(
        nst.ConfigError, match=r"^key is .*; give a random key, such as jax.random.key\(0\), or a "
    ):
        nst.stylize(vgg16_params, *pictures, nst.TransferConfig(init="noise"), key=key)
    with pytest.raises(
        nst.ConfigError, match=r"^keys is .*; give one key a lane, such as jax.random.split"
    ):
        nst.stylize_batch(
            vgg16_params,
            *pictures,
            nst.TransferConfig(init="noise"),
            keys=jax.random.key(0) if np.ndim(key) else key,
        )
