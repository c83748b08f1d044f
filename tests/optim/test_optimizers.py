"""Optimisers of a user's own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nst_jax as nst
from tests.runs import finished, followed

SHALLOW = {"content_layers": ("conv2_2",), "style_layers": ("conv1_1", "conv2_1")}


@pytest.fixture
def pair(rng):
    return rng.random((40, 48, 3)).astype(np.float32), rng.random((40, 40, 3)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [lambda: optax.adamw(0.02), lambda: optax.lion(0.01), lambda: optax.polyak_sgd(1.0)]
)
def test_any_of_optax_that_needs_no_line_search(vgg16_params, pair, make):
    config, optimizer = nst.TransferConfig(num_steps=15, **SHALLOW), make()
    result = nst.stylize(vgg16_params, *pair, config, optimizer=optimizer)
    assert result.loss < 0.7 * result.losses[0]
    assert float(result.image.min()) >= 0 and float(result.image.max()) <= 1
    study = nst.run_study(
        vgg16_params, *pair, {"style_weight": [5.0, 20.0]}, config, optimizer=optimizer
    )
    np.testing.assert_array_equal(study.image[1], result.image)


def test_adam_given_is_adam_named(vgg16_params, pair):
    config = nst.TransferConfig(num_steps=8, optimizer="adam", learning_rate=0.03, **SHALLOW)
    named = nst.stylize(vgg16_params, *pair, config)
    given = nst.stylize(vgg16_params, *pair, config, optimizer=optax.adam(0.03))
    np.testing.assert_allclose(given.losses, named.losses, rtol=1e-5)
    by_name = nst.stylize(
        vgg16_params,
        *pair,
        nst.TransferConfig(num_steps=8, learning_rate=0.03, **SHALLOW),
        optimizer="adam",
    )
    np.testing.assert_array_equal(by_name.losses, named.losses)


@pytest.mark.slow
def test_a_run_compiles_once_for_one_optimizer(vgg16_params, pair, traces):
    config, optimizer = nst.TransferConfig(num_steps=2, **SHALLOW), optax.adam(0.01)
    for weight, learning_rate in ((5.0, 0.1), (20.0, 0.2)):  # which is not the given one's
        own = dataclasses.replace(config, learning_rate=learning_rate)
        nst.stylize(vgg16_params, *pair, own, nst.LossWeights(style=weight), optimizer=optimizer)
    assert len(traces) == 1


def test_a_run_of_a_given_optimizer_goes_on_bit_for_bit(vgg16_params, pair):
    config, optimizer = nst.TransferConfig(num_steps=20, **SHALLOW), optax.adamw(0.02)
    _, saved = followed(nst.descend(vgg16_params, *pair, config, optimizer=optimizer), 3)
    resumed = finished(
        nst.descend(vgg16_params, *pair, config, optimizer=optimizer, start=saved[-1])
    )
    whole = nst.stylize(vgg16_params, *pair, config, optimizer=optimizer)
    np.testing.assert_array_equal(resumed.image, whole.image)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("newton", "optimizer is 'newton'"),
        ([1], r"optimizer is \[1\]"),
        (optax.lbfgs(), "no line search"),
    ],
)
def test_what_is_no_optimizer_is_refused(vgg16_params, pair, given, said):
    with pytest.raises(nst.ConfigError, match=said):
        nst.stylize(vgg16_params, *pair, nst.TransferConfig(num_steps=1), optimizer=given)


@pytest.mark.parametrize(
    ("precision", "accepted"), [("highest", False), ("default", True), ("bfloat16", True)]
)
def test_lbfgs_allows_for_the_noise_of_rounded_factors(precision, accepted):
    optimizer = nst.make_optimizer(nst.TransferConfig(memory=2, precision=precision))
    image, gradient = jnp.full((16, 16, 3), 0.5), jnp.ones((16, 16, 3))
    state = optimizer.init(image)
    for value in (1.0, 1.0005):
        updates, state = optimizer.update(gradient, state, image, value=jnp.float32(value))
        image = image + updates
    assert (state.inner.value > 1) == accepted


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lbfgs", "adam", "sgd"])
def test_a_state_can_be_donated_whole(vgg16_params, pair, name):
    config = nst.TransferConfig(optimizer=name, **SHALLOW)
    optimizer, targets = nst.make_optimizer(config), nst.make_targets(vgg16_params, *pair, config)

    def step(state, params, targets):
        evaluate = lambda image: nst.loss_and_gradient(
            params, image, targets, nst.LossWeights(), config
        )
        return nst.step(state, evaluate, optimizer)

    advance = jax.jit(step, donate_argnums=0)
    state, info = advance(nst.init(pair[0], optimizer), vgg16_params, targets)
    _, later = advance(state, vgg16_params, targets)
    assert np.isfinite(info.loss) and np.isfinite(later.loss)


def test_the_height_of_every_array_of_a_state_is_found():
    from nst_jax.descent.placement import height_axes

    optimizer = nst.make_optimizer(nst.TransferConfig(memory=30))
    axes = height_axes(lambda image: nst.init(image, optimizer), (40, 40, 3))
    lbfgs = axes.opt_state.inner
    assert axes.image == axes.best_image == axes.opt_state.position == lbfgs.gradient == 0
    # 30 × 30, which two devices could share too
    assert lbfgs.steps == lbfgs.gradient_steps == 1 and lbfgs.products == axes.step == -1
    adam = height_axes(lambda image: optax.adam(0.1).init(image), (40, 48, 3))
    assert jax.tree.leaves(adam) == [-1, 0, 0]
    assert jax.tree.leaves(
        height_axes(lambda image: optax.adafactor(0.1).init(image), (100, 200, 3))
    )
