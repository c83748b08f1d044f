"""What is written is what was measured: the image of a result lies in [0, 1], and the loss reported
is its own."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from PIL import Image, ImageDraw

import nst_jax as nst
from nst_jax.cli import demo
from nst_jax.optim.bounds import within_bounds
from tests.runs import total_loss

CONFIG = nst.TransferConfig(
    content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1"), num_steps=40
)


@pytest.fixture(scope="module")
def drawing():
    """Black lines on white, which pull every pixel to a bound."""
    sheet = Image.new("RGB", (48, 40), "white")
    pen = ImageDraw.Draw(sheet)
    for place in range(-40, 48, 6):
        pen.line([(place, 0), (place + 40, 40)], "black", 2)
    pen.ellipse([12, 8, 34, 30], "white", "black", 2)
    return np.asarray(sheet, np.float32) / 255


@pytest.fixture(scope="module")
def photograph():
    """Soft colours, with a burnt-out corner and a black one."""
    y, x = np.mgrid[0:40, 0:48] / 40.0
    image = np.stack([0.5 + 0.4 * np.sin(5 * x), 0.3 + 0.5 * y, 0.5 + 0.3 * np.cos(7 * x * y)], -1)
    image[:10, :14], image[30:, 36:] = 1, 0
    return image.clip(0, 1).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("init", ["content", "style", "noise"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "sgd"])
def test_the_loss_reported_is_that_of_the_picture_written(
    optimizer, init, vgg16_params, photograph, drawing, tmp_path
):
    rate = {"sgd": 0.05, "adam": 0.05}.get(optimizer, 0.02)
    config = dataclasses.replace(CONFIG, optimizer=optimizer, init=init, learning_rate=rate)
    images = []
    result = nst.stylize(
        vgg16_params,
        photograph,
        drawing,
        config,
        callback=lambda progress: images.append(progress.image),
    )
    targets = nst.make_targets(vgg16_params, photograph, drawing, config)
    loss_of = lambda image: float(
        total_loss(vgg16_params, image, targets, nst.LossWeights(), config)[0]
    )
    for image in (*images, result.image):
        assert image.min() >= 0 and image.max() <= 1
    np.testing.assert_allclose(loss_of(result.image), result.loss, rtol=1e-4)
    assert result.loss == np.nanmin(result.losses)
    nst.write_image(tmp_path / "a.png", np.asarray(result.image))
    written = nst.read_image(tmp_path / "a.png")
    assert np.abs(written - result.image).max() <= 0.5 / 255 + 1e-6
    # half a level of 255 here and there
    np.testing.assert_allclose(loss_of(written), result.loss, rtol=0.03)


@pytest.mark.slow
def test_the_default_is_never_worse_than_adam_where_bounds_hold(vgg16_params, photograph, drawing):
    losses = {
        (optimizer, rate): float(
            nst.stylize(
                vgg16_params,
                photograph,
                drawing,
                dataclasses.replace(CONFIG, optimizer=optimizer, learning_rate=rate, num_steps=80),
            ).loss
        )
        for optimizer, rate in (("lbfgs", 0.02), ("adam", 0.02), ("adam", 0.05), ("adam", 0.1))
    }
    assert losses["lbfgs", 0.02] == min(losses.values())


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_result_is_never_worse_than_its_start(optimizer, vgg16_params, photograph, drawing):
    """The start, with pixels at the bounds, is evaluated as it is."""
    config = dataclasses.replace(CONFIG, optimizer=optimizer)
    first = nst.stylize(vgg16_params, photograph, drawing, config)
    again = nst.stylize(
        vgg16_params,
        photograph,
        drawing,
        dataclasses.replace(config, num_steps=3),
        initial=first.image,
    )
    np.testing.assert_allclose(again.losses[0], first.loss, rtol=1e-5)
    assert again.loss <= again.losses[0]
    content_alone = nst.LossWeights(style=0.0, grain=None)
    kept = nst.stylize(vgg16_params, photograph, drawing, config, content_alone)
    np.testing.assert_array_equal(kept.image, photograph)


@pytest.mark.slow
@pytest.mark.parametrize("init", ["content", "noise"])
def test_a_run_that_is_stopped_at_a_smaller_size_has_the_loss_of_its_picture(
    init, vgg16_params, rng
):
    content, style = (
        rng.random(shape).astype(np.float32)
        for shape in ((64, 384 if init == "content" else 66, 3), (30, 40, 3))
    )
    config = dataclasses.replace(CONFIG, init=init)
    result = next(nst.descend(vgg16_params, content, style, config)).result()
    assert (
        result.image.shape == content.shape
        and result.sizes[-1] == max(content.shape) > result.sizes[0]
    )
    targets = nst.make_targets(vgg16_params, content, style, config)
    loss, _ = total_loss(vgg16_params, result.image, targets, nst.LossWeights(), config)
    np.testing.assert_allclose(loss, result.loss, rtol=1e-5)


@pytest.mark.parametrize(
    "entrance",
    ["init", "features", "make_targets", "loss_and_gradient", "stylize", "normalise_activations"],
)
@pytest.mark.parametrize("kind", ["uint8", "0 to 255", "grey", "batch", "int64", "not finite"])
def test_the_mathematics_refuses_what_is_no_image(entrance, kind, vgg16_params):
    good = np.full((16, 18, 3), 0.5, np.float32)
    bad = {
        "uint8": (255 * good).astype(np.uint8),
        "0 to 255": 255 * good,
        "grey": good[..., 0],
        "batch": good[None],
        "int64": good.astype(np.int64),
        "not finite": good * np.nan,
    }[kind]
    targets = nst.make_targets(vgg16_params, good, good, CONFIG)
    calls = {
        "init": lambda: nst.init(bad, nst.make_optimizer(CONFIG)),
        "features": lambda: nst.features(vgg16_params, bad, ("conv1_1",)),
        "make_targets": lambda: nst.make_targets(vgg16_params, bad, good, CONFIG),
        "loss_and_gradient": lambda: nst.loss_and_gradient(
            vgg16_params, bad, targets, nst.LossWeights(), CONFIG
        ),
        "stylize": lambda: nst.stylize(vgg16_params, good, bad, CONFIG),
        "normalise_activations": lambda: nst.normalise_activations(vgg16_params, [bad]),
    }
    with pytest.raises((nst.ConfigError, TypeCheckError)):  # annotations are checked in tests
        calls[entrance]()


@pytest.mark.parametrize("function", ["gram_matrix", "total_variation", "content_loss"])
def test_integers_are_refused_by_the_losses(function):
    array = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(nst.ConfigError, match="is of uint8; convert it"):
        # without the tests' own check
        inspect.unwrap(getattr(nst, function))(*[array] * (2 if function == "content_loss" else 1))


def test_gram_matrix_does_not_merge_the_images_of_a_batch(rng):
    gram_matrix = inspect.unwrap(nst.gram_matrix)  # without the tests' check of shapes
    batch = rng.random((2, 5, 6, 4)).astype(np.float32)
    with pytest.raises(
        nst.ConfigError, match=r"features has shape \(2, 5, 6, 4\); .* jax.vmap takes a batch"
    ):
        gram_matrix(batch)
    np.testing.assert_allclose(jax.vmap(gram_matrix)(batch)[1], gram_matrix(batch[1]), rtol=1e-5)


def quadratic(rng, size=40):
    """½ (x − c)ᵀ A (x − c) whose minimum is out of bounds for about half of the values."""
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    hessian = basis @ np.diag(np.geomspace(1, 100, size)) @ basis.T
    return hessian, rng.uniform(-0.5, 1.5, size)


@pytest.mark.parametrize("lanes", [0, 3])
def test_a_bounded_quadratic_is_solved(lanes, rng):
    hessian, centre = quadratic(rng)
    value = lambda x: 0.5 * (x - centre) @ hessian @ (x - centre)
    bound = scipy.optimize.minimize(
        value,
        np.full(40, 0.5),
        jac=lambda x: hessian @ (x - centre),
        bounds=[(0, 1)] * 40,
        method="L-BFGS-B",
    )
    optimizer = within_bounds(nst.safeguarded_lbfgs(20))
    loss = lambda x: (
        0.5
        * (x - jnp.asarray(centre, jnp.float32))
        @ jnp.asarray(hessian, jnp.float32)
        @ (x - jnp.asarray(centre, jnp.float32))
    )

    def descend(start):
        def body(carry, _):
            params, state = carry
            found, gradient = jax.value_and_grad(loss)(params)
            updates, state = optimizer.update(gradient, state, params, value=found)
            return (optax.apply_updates(params, updates), state), (found, params)

        return jax.lax.scan(body, (start, optimizer.init(start)), length=150)[1]

    # zeros: all at a bound
    starts = jnp.asarray(np.stack([np.full(40, 0.5), np.zeros(40), rng.random(40)]), jnp.float32)
    losses, trials = jax.jit(jax.vmap(descend) if lanes else descend)(
        starts if lanes else starts[0]
    )
    assert trials.min() >= 0 and trials.max() <= 1
    np.testing.assert_allclose(losses.min(-1), bound.fun, rtol=1e-4)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3),
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3),
)
def test_no_step_leaves_the_bounds_however_it_is_rounded(pixels, moves):
    pixels, moves = np.float32(pixels), np.float32(moves)
    optimizer = within_bounds(optax.with_extra_args_support(optax.sgd(1.0)))
    updates, state = optimizer.update(moves, optimizer.init(pixels), pixels, value=jnp.float32(1))
    after = optax.apply_updates(pixels, updates)
    assert after.min() >= 0 and after.max() <= 1
    updates, _ = optimizer.update(moves, state, after, value=jnp.float32(1))
    again = optax.apply_updates(after, updates)
    assert again.min() >= 0 and again.max() <= 1


@pytest.mark.parametrize("init", ["content", "noise", "style"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "sgd"])
def test_grey_on_grey_stays_grey(optimizer, init, vgg16_params, photograph, drawing):
    grey = np.repeat(photograph.mean(-1, keepdims=True), 3, -1)
    config = dataclasses.replace(
        CONFIG, optimizer=optimizer, init=init, num_steps=20, learning_rate=0.02
    )
    result = nst.stylize(vgg16_params, grey, drawing, config)
    assert np.ptp(result.image, axis=-1).max() == 0
    assert result.loss < result.losses[0]


@pytest.mark.slow
def test_grey_lanes_and_coloured_ones_in_a_study(vgg16_params, photograph, drawing):
    grey = np.repeat(photograph.mean(-1, keepdims=True), 3, -1)
    config = dataclasses.replace(CONFIG, num_steps=10)
    study = nst.run_study(vgg16_params, {"colour": photograph, "grey": grey}, drawing, {}, config)
    for lane, image in zip(study.lanes, study.image, strict=True):
        assert (np.ptp(image, axis=-1).max() == 0) == (lane.content == "grey")
        alone = nst.stylize(
            vgg16_params, {"colour": photograph, "grey": grey}[lane.content], drawing, config
        )
        np.testing.assert_array_equal(image, alone.image)


def roughness(image):
    image = np.asarray(image)
    return (np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean()) / 2


@pytest.mark.slow
def test_a_start_from_noise_ends_about_as_smooth_as_the_style():
    """What the network does not see of the noise stays; at one size alone the picture ends
    dithered."""
    params = nst.load_params("vgg16")
    content = nst.read_image(demo.content_path(), size=96)
    style = nst.read_image(demo.style_path(), size=96)
    one_size = nst.TransferConfig(num_steps=40, init="noise", coarse_to_fine=False)
    at_once = roughness(nst.stylize(params, content, style, one_size).image)
    default = roughness(
        nst.stylize(
            params, content, style, dataclasses.replace(one_size, coarse_to_fine=True)
        ).image
    )
    assert default < 1.4 * roughness(style), (default, roughness(style))
    assert at_once > 2 * default, (at_once, default)


@pytest.mark.slow
@pytest.mark.parametrize(("border", "least", "most"), [("zero", 1.5, np.inf), ("wrap", 0.9, 1.1)])
def test_zeros_around_a_flat_photograph_paint_a_frame_that_wrapping_does_not(border, least, most):
    """The painting's contrast is higher along the edges, or the same all over."""
    params = nst.load_params("vgg16")
    plain, style = np.full((80, 80, 3), 0.5, np.float32), nst.read_image(demo.style_path(), size=96)
    config = nst.TransferConfig(num_steps=12, border=border)
    image = np.asarray(nst.stylize(params, plain, style, config).image)
    middle = np.zeros((80, 80), bool)
    middle[16:-16, 16:-16] = True
    assert least < image[~middle].std() / image[middle].std() < most
