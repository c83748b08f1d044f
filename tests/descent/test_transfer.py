import dataclasses
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nst_jax as nst
from nst_jax.descent import arguments, problem
from nst_jax.descent.arguments import checked_keys
from nst_jax.descent.start import checked_image
from nst_jax.network import convolution
from tests import reference
from tests.runs import total_loss

LANE_LOSS_TOLERANCE = 1e-4  # relative, after 20 steps: descent amplifies rounding
LANE_PIXEL_TOLERANCE = 1e-3

SHALLOW = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1"))


@pytest.fixture
def images(rng):
    ramp = np.linspace(0, 1, 40)[:, None, None] * np.ones((40, 32, 3))
    return (0.5 * ramp + 0.5 * rng.random((40, 32, 3))).astype(np.float32), rng.random(
        (24, 36, 3)
    ).astype(np.float32)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "sgd"])
def test_every_optimizer_lowers_the_loss_and_returns_the_best_image(
    optimizer, vgg16_params, images
):
    config = nst.TransferConfig(
        optimizer=optimizer,
        num_steps=30,
        learning_rate={"sgd": 0.05}.get(optimizer, 0.02),
        **SHALLOW,
    )
    result = nst.stylize(vgg16_params, *images, config)
    assert result.losses.shape == (30,) and result.num_steps == 30
    assert (
        result.loss
        == result.losses.min()
        == result.losses[result.best_step - 1]
        < 0.8 * result.losses[0]
    )
    assert (
        result.image.shape == images[0].shape
        and result.image.min() >= 0
        and result.image.max() <= 1
    )
    targets = nst.make_targets(vgg16_params, *images, config)
    loss, _ = total_loss(vgg16_params, result.image, targets, nst.LossWeights(), config)
    np.testing.assert_allclose(loss, result.loss, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_a_batch_equals_its_single_runs_and_traces_the_loss_once(vgg16_params, images, traces):
    config = nst.TransferConfig(num_steps=20, init="noise", memory=7, **SHALLOW)
    style_weights, seeds = np.repeat([2.0, 20.0, 50.0, 200.0], 2), np.tile([0, 1], 4)
    keys = jax.vmap(jax.random.key)(seeds)
    batch = nst.stylize_batch(
        vgg16_params, *images, config, nst.LossWeights(style=style_weights), keys=keys
    )
    assert len(traces) == 1
    assert batch.image.shape == (8, *images[0].shape) and batch.losses.shape == (8, 20)
    assert batch.terms["style"]["conv1_1"].shape == (8, 20)
    for lane, (weight, seed) in enumerate(zip(style_weights, seeds, strict=True)):
        single = nst.stylize(
            vgg16_params, *images, config, nst.LossWeights(style=weight), key=jax.random.key(seed)
        )
        np.testing.assert_allclose(batch.loss[lane], single.loss, rtol=LANE_LOSS_TOLERANCE)
        np.testing.assert_allclose(batch.losses[lane, 0], single.losses[0], rtol=1e-5)
        np.testing.assert_allclose(batch.image[lane], single.image, atol=LANE_PIXEL_TOLERANCE)
    assert len(traces) == 2  # the single runs share one program, whatever their weight and seed


@pytest.mark.slow
def test_weights_seed_number_of_steps_and_pieces_retrace_nothing(vgg16_params, images, traces):
    config = dict(memory=6, **SHALLOW)
    for num_steps, weight, seed in ((5, 20.0, 0), (90, 3.0, 1), (7, 0.0, 2)):
        nst.stylize(
            vgg16_params,
            *images,
            nst.TransferConfig(num_steps=num_steps, init="noise", **config),
            nst.LossWeights(style=weight),
            key=jax.random.key(seed),
            callback=lambda progress: None,
        )
    nst.stylize(
        vgg16_params,
        *images,
        nst.TransferConfig(num_steps=3, init="style", tolerance=0.1, **config),
    )
    assert len(traces) == 1


@pytest.mark.slow
def test_a_step_is_one_evaluation_of_the_network_also_under_vmap(vgg16_params, images):
    config = nst.TransferConfig(**SHALLOW)
    targets = nst.make_targets(vgg16_params, *images, config)
    optimizer = nst.make_optimizer(config)

    def advance(state, params):
        evaluate = jax.value_and_grad(
            lambda image: nst.total_loss(params, image, targets, nst.LossWeights(), config),
            has_aux=True,
        )
        return nst.step(state, evaluate, optimizer)

    def convolutions(function, state):
        lowered = jax.jit(function).lower(state, vgg16_params)
        return lowered.as_text().count("stablehlo.convolution")

    state = nst.init(jnp.asarray(images[0]), optimizer)
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), state)
    in_lanes = jax.vmap(advance, in_axes=(0, None))
    # conv1_1, conv1_2, conv2_1 and conv2_2, forward and backward.
    assert convolutions(advance, state) == convolutions(in_lanes, lanes) == 8
    assert "while" not in str(jax.make_jaxpr(advance)(state, vgg16_params))


@pytest.mark.slow
def test_pieces_of_any_length_are_the_same_run(vgg16_params, images):
    config = nst.TransferConfig(num_steps=25, **SHALLOW)
    seen = []
    whole = nst.stylize(vgg16_params, *images, config)
    for chunk in nst.descend(vgg16_params, *images, config, every=4):
        seen.append(jax.device_get(chunk.progress))
    pieces = chunk.result()
    np.testing.assert_array_equal(whole.image, pieces.image)
    np.testing.assert_array_equal(whole.losses, pieces.losses)
    assert {4, 8, 12, 16, 20, 24, 25} <= {progress.step for progress in seen}
    last = seen[-1]
    assert not pieces.cut_off
    assert last.num_steps == 25 and last.best_loss == whole.loss and last.loss == whole.losses[-1]
    assert last.terms["content"]["conv2_2"] == whole.terms["content"]["conv2_2"][-1]
    np.testing.assert_array_equal(last.image, whole.image)


@pytest.mark.slow
def test_a_tolerance_stops_each_lane_by_itself(vgg16_params, images):
    config = nst.TransferConfig(num_steps=120, tolerance=0.05, **SHALLOW)
    # Without the grain the first lane begins where its loss has its minimum, and ends at once.
    weights = nst.LossWeights(style=np.array([0.0, 20.0]), grain=None)
    batch = nst.stylize_batch(vgg16_params, *images, config, weights)
    for lane, weight in enumerate((0.0, 20.0)):
        single = nst.stylize(
            vgg16_params, *images, config, nst.LossWeights(style=weight, grain=None)
        )
        assert batch.num_steps[lane] == single.num_steps < 120
        np.testing.assert_allclose(batch.loss[lane], single.loss, rtol=1e-3, atol=1e-9)
        assert np.isnan(batch.losses[lane, single.num_steps :]).all()
    best = np.minimum.accumulate(batch.losses[1, : batch.num_steps[1]])
    assert best[-11] - best[-1] < 0.05 * best[-11]
    assert all(best[k - 11] - best[k - 1] >= 0.05 * best[k - 11] for k in range(20, len(best), 10))


def test_where_the_descent_starts(vgg16_params, images):
    content, style = images
    first = {}
    for init in ("content", "style", "noise"):
        config = nst.TransferConfig(num_steps=1, init=init, **SHALLOW)
        first[init] = np.asarray(nst.stylize(vgg16_params, content, style, config).image)
    np.testing.assert_array_equal(first["content"], content)
    assert (
        first["style"].shape == content.shape and abs(first["style"].mean() - style.mean()) < 0.02
    )
    np.testing.assert_array_equal(
        first["noise"], jax.random.uniform(jax.random.key(0), content.shape)
    )
    config = nst.TransferConfig(num_steps=1, **SHALLOW)
    np.testing.assert_array_equal(
        nst.stylize(vgg16_params, content, style, config, initial=content[::-1]).image,
        content[::-1],
    )


@pytest.mark.parametrize("weight", [0.0, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("init", ["content", "noise"])
def test_no_style_weight_breaks_the_descent(weight, init, vgg16_params, images):
    result = nst.stylize(
        vgg16_params,
        *images,
        nst.TransferConfig(num_steps=40, init=init, **SHALLOW),
        nst.LossWeights(style=weight),
    )
    assert np.isfinite(result.losses).all() and np.isfinite(result.image).all()
    assert result.loss == result.losses.min()


def test_a_loss_that_is_never_finite_leaves_the_starting_image(vgg16_params, images):
    result = nst.stylize(
        vgg16_params,
        *images,
        nst.TransferConfig(num_steps=3, scaling="notebook", **SHALLOW),
        nst.LossWeights(total_variation=3e38),
    )
    assert np.isinf(result.loss) and result.best_step == 0
    np.testing.assert_array_equal(result.image, images[0])


@pytest.mark.slow
def test_the_notebook_preset_takes_the_notebooks_first_twenty_steps(rng):
    """Written again the way the notebook works: BGR pixels in 0–255 less the mean, sums over
    positions, plain gradient descent."""
    layers = reference.random_layers("vgg19", gain=0.9, narrow=4)
    mean = np.array([103.939, 116.779, 123.68])  # blue, green, red
    raw = {
        "mean": mean,
        **{
            name: {"kernel": kernel.astype(float), "bias": bias.astype(float)}
            for name, (kernel, bias) in layers.items()
            if name <= "conv5_2"  # the deepest that the notebook looks at
        },
    }
    content, style = (np.round(255 * rng.random((32, 48, 3))) for _ in range(2))
    target = reference.features(raw, content[..., ::-1], "max")
    painting = reference.features(raw, style[..., ::-1], "max")

    def loss_and_gradient(image):
        """In RGB, 0–255."""
        found = reference.forward(raw, image[..., ::-1], "max")
        loss, cotangents = 0.0, {}
        difference = found["conv5_2"][0] - target["conv5_2"]
        loss += 2.5e-8 * np.sum(difference**2)
        cotangents["conv5_2"] = 2.5e-8 * 2 * difference
        for layer in ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"):
            flat = found[layer][0].reshape(-1, found[layer][0].shape[-1])
            goal = painting[layer].reshape(-1, flat.shape[-1])
            grams = flat.T @ flat - goal.T @ goal
            factor = 1e-6 / 5 / (4.0 * 3**2 * (32 * 48) ** 2)
            loss += factor * np.sum(grams**2)
            cotangents[layer] = (factor * 4 * flat @ grams).reshape(found[layer][0].shape)
        gradient = reference.backward(raw, found, cotangents, "max")[..., ::-1]
        roughness, slope = reference.total_variation(image)
        return loss + 1e-6 * roughness, gradient + 1e-6 * slope

    kernel = layers["conv1_1"][0][:, :, ::-1] * 255
    params = {
        "mean": (mean[::-1] / 255).astype(np.float32),
        **{name: {"kernel": weights, "bias": bias} for name, (weights, bias) in layers.items()},
    }
    params["conv1_1"]["kernel"] = np.ascontiguousarray(kernel, np.float32)
    preset = nst.PRESETS["notebook"]
    config = preset.config
    weights = preset.loss_weights()
    images = ((image / 255).astype(np.float32) for image in (content, style))
    targets = nst.make_targets(params, *images, config, nst.default_loss(config, weights))
    optimizer = nst.make_optimizer(config)

    @jax.jit
    def evaluate(params, image):
        return jax.value_and_grad(
            lambda image: nst.total_loss(params, image, targets, weights, config), has_aux=True
        )(image)

    advance = jax.jit(lambda params, state: nst.step(state, partial(evaluate, params), optimizer))
    state, theirs = nst.init(jnp.asarray(content / 255, jnp.float32), optimizer), content.copy()
    _, first_gradient = evaluate(params, state.image)
    for index in range(20):
        loss, gradient = loss_and_gradient(theirs)
        if index == 0:
            assert np.abs(first_gradient / 255 - gradient).max() <= 1e-4 * np.abs(gradient).max()
        state, info = advance(params, state)
        assert abs(info.loss / loss - 1) <= 1e-4, index
        # The notebook clips when it saves, this program after each step.
        theirs = np.clip(theirs - 100 * 0.96 ** (index / 100) * gradient, 0, 255)
        moved = np.abs(theirs - content).max()
        assert moved > 0
        assert np.abs(255 * np.asarray(state.image, float) - theirs).max() <= 1e-4 * max(
            moved, 255.0
        ), index


@pytest.mark.slow
def test_any_of_optaxs_optimizers_takes_a_step(vgg16_params, images):
    config = nst.TransferConfig(**SHALLOW)
    targets = nst.make_targets(vgg16_params, *images, config)
    optimizer = optax.with_extra_args_support(optax.rmsprop(0.01))
    objective = lambda image: nst.total_loss(
        vgg16_params, image, targets, nst.LossWeights(), config
    )
    evaluate = jax.jit(jax.value_and_grad(objective, has_aux=True))
    state, info = nst.step(nst.init(jnp.asarray(images[0]), optimizer), evaluate, optimizer)
    assert state.step == 1 and state.best_loss == info.loss
    assert objective(state.image)[0] < info.loss


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(content=np.zeros((32, 32), np.float32)), r"content image has shape \(32, 32\)"),
        (dict(style=np.full((32, 32, 3), 200.0, np.float32)), "divide pixels of 0 to 255 by 255"),
        (
            dict(content=np.full((32, 32, 3), np.nan, np.float32)),
            "content image holds values that are not finite",
        ),
        (dict(style=np.zeros((32, 32, 3), np.uint8)), "style image is of uint8; convert it"),
        (dict(initial=np.zeros((32, 33, 3), np.float32)), "initial image has shape"),
        (dict(weights=nst.LossWeights(style=-1.0)), "weights.style is .*at least 0"),
        (dict(weights=nst.LossWeights(content=float("nan"))), "weights.content"),
    ],
)
def test_wrong_arguments_are_named(change, message, vgg16_params):
    arguments = (
        dict(content=np.zeros((32, 32, 3), np.float32), style=np.zeros((32, 32, 3), np.float32))
        | change
    )
    with pytest.raises(nst.ConfigError, match=message):
        nst.stylize(vgg16_params, arguments.pop("content"), arguments.pop("style"), **arguments)


@pytest.mark.slow
def test_lanes_may_be_lists(vgg16_params, images):
    config = nst.TransferConfig(num_steps=2, **SHALLOW)
    weights = nst.LossWeights(
        style=[5.0, 80.0], style_layers={"conv1_1": 1.0, "conv2_1": [0.0, 2.0]}
    )
    assert nst.stylize_batch(vgg16_params, *images, config, weights).losses.shape == (2, 2)


def test_lanes_must_agree(vgg16_params, images):
    with pytest.raises(nst.ConfigError, match="give one key a lane"):
        nst.stylize_batch(vgg16_params, *images, keys=jax.random.key(0))
    with pytest.raises(
        nst.ConfigError, match=r"numbers of lanes differ: keys has 3, weights.style has 2"
    ):
        nst.stylize_batch(
            vgg16_params,
            *images,
            weights=nst.LossWeights(style=np.ones(2)),
            keys=jax.vmap(jax.random.key)(np.arange(3)),
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "shape", "settings"),
    [
        ("GPU", (96, 90), {}),  # all layers
        ("GPU", (150, 140), {"tile": 64, **SHALLOW}),  # several tiles
        ("AMX", (96, 90), {"style_layers": ("conv4_2",)}),
    ],
)
def test_half_the_bits_end_at_the_same_loss(
    vgg16_params, vgg19_params, images, processor, shape, settings, monkeypatch
):
    params = vgg16_params
    if processor == "GPU":
        monkeypatch.setattr(problem, "precision_here", lambda config: (config, ""))
        monkeypatch.setattr(convolution, "_is_for_winograd", lambda kernel: False)
    else:
        params = vgg19_params  # whose conv4_2 has channels enough to be rounded
        kernel = nst.prepare_params(params, precision="bfloat16")["conv4_2"]["kernel"]
        assert kernel.dtype == jnp.bfloat16
        monkeypatch.setattr(arguments, "multiplies_bfloat16", lambda: True)
    content = np.tile(images[0], (4, 5, 1))[: shape[0], : shape[1]]
    config = nst.TransferConfig(num_steps=40, **settings)
    wanted = nst.stylize(params, content, images[1], config)
    found = nst.stylize(
        params, content, images[1], dataclasses.replace(config, precision="bfloat16")
    )
    assert np.isfinite(found.losses).all() and not found.failure and found.image.dtype == np.float32
    assert abs(found.loss / wanted.loss - 1) < 0.02
    assert (
        abs(found.losses[0] / wanted.losses[0] - 1) < 0.02 and found.losses[0] != wanted.losses[0]
    )


@pytest.mark.parametrize("precision", ["default", "bfloat16"])
def test_a_cpu_without_use_for_half_the_bits_says_so(
    vgg16_params, images, precision, said, monkeypatch
):
    monkeypatch.setattr(arguments, "multiplies_bfloat16", lambda: False)
    config = nst.TransferConfig(num_steps=2, optimizer="adam", **SHALLOW)
    wanted = nst.stylize(vgg16_params, *images, config)
    assert not said
    found = nst.stylize(vgg16_params, *images, dataclasses.replace(config, precision=precision))
    np.testing.assert_array_equal(found.image, wanted.image)
    (line,) = said
    assert f"precision {precision}: this CPU has no AMX or AVX512-BF16" in line


def test_gram_matrices_of_half_the_bits_add_up_in_float32(vgg16_params, rng):
    activations = nst.features(
        vgg16_params, rng.random((64, 64, 3), np.float32), ("conv1_1",), precision="bfloat16"
    )["conv1_1"]
    assert activations.dtype == jnp.bfloat16
    positions = np.asarray(activations, np.float64).reshape(-1, activations.shape[-1])
    gram = nst.gram_matrix(activations)
    assert gram.dtype == np.float32
    # bfloat16 has three digits
    np.testing.assert_allclose(gram, positions.T @ positions / len(positions), rtol=1e-5)


def test_an_image_in_float64_may_be_out_of_range_by_its_rounding(rng):
    image = rng.random((32, 32, 3))
    image[0], image[1] = np.nextafter(1.0, 2), -1e-50
    checked = checked_image("content", image)
    assert checked.dtype == np.float32 and checked.min() == 0 and checked.max() == 1
    image[:] = 0.5  # the caller's own
    assert checked[0, 0, 0] == 1


@pytest.fixture
def interrupts():
    """Ctrl-C as Python answers it, which whoever starts the tests may have told it to ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_run_with_the_best_so_far(vgg16_params, images, interrupts):
    def press(progress):
        if progress.step >= 3:
            signal.raise_signal(signal.SIGINT)

    config = nst.TransferConfig(num_steps=40, **SHALLOW)
    result = nst.stylize(vgg16_params, *images, config, callback=press)
    assert result.cut_off and 3 <= result.num_steps < 40 and result.loss == result.losses.min()
    whole = nst.stylize(vgg16_params, *images, config)
    assert not whole.cut_off
    np.testing.assert_array_equal(result.losses, whole.losses[: len(result.losses)])
    with pytest.raises(KeyboardInterrupt):  # nobody answers to it any more
        signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_is_raised(vgg16_params, images, interrupts):
    def press(progress):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        nst.stylize(
            vgg16_params, *images, nst.TransferConfig(num_steps=5, **SHALLOW), callback=press
        )


def test_seeds_are_numbers_of_any_kind():
    for seeds in ([0, 1], range(2), np.arange(2)):
        found = checked_keys("keys", seeds, 1)
        np.testing.assert_array_equal(jax.random.key_data(found), [[0, 0], [0, 1]])
    raw = np.asarray(jax.random.PRNGKey(3))  # is a key, though of whole numbers
    np.testing.assert_array_equal(jax.random.key_data(checked_keys("key", raw, 0)), raw)
