import functools
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nst_jax import Preconditioner, safeguarded_lbfgs
from nst_jax.optim.lbfgs import IDENTITY


@functools.cache
def compiled(function, memory, preconditioner):
    """The start of a descent, and a step of it."""
    optimizer = safeguarded_lbfgs(memory, preconditioner=preconditioner)

    @jax.jit
    def advance(params, state, constants):
        value, gradient = jax.value_and_grad(function)(params, *constants)
        updates, state = optimizer.update(gradient, state, params, value=value)
        return optax.apply_updates(params, updates), state, value

    return jax.jit(optimizer.init), advance


def descend(function, start, num_steps, memory=20, preconditioner=IDENTITY, constants=()):
    """The losses, and the state after each step, of a function of a point and of constants."""
    init, advance = compiled(function, memory, preconditioner)
    params, state, values, states = start, init(start), [], []
    for _ in range(num_steps):
        params, state, value = advance(params, state, constants)
        values.append(float(value))
        states.append(state)
    return values, states


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_rosenbrock_is_solved():
    _, states = descend(rosenbrock, jnp.array([-1.2, 1.0]), 80)
    np.testing.assert_allclose(states[-1].params, 1, atol=1e-3)


def test_a_quadratic_is_solved_as_fast_as_by_scipy():
    from scipy.optimize import minimize

    scales = np.logspace(0, 3, 30)
    start = np.ones(30, np.float32)
    values, _ = descend(
        lambda x: jnp.sum(jnp.asarray(scales, jnp.float32) * x**2) / 2, jnp.asarray(start), 60
    )
    history = []

    def recorded(x):
        history.append(np.sum(scales * x**2) / 2)
        return history[-1], scales * x

    minimize(
        recorded,
        start.astype(float),
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": 20, "maxfun": 60, "ftol": 0, "gtol": 0},
    )
    assert min(values[:60]) <= 10 * min(history[:60])


@jax.jit
def bumpy(x, matrix):
    return jnp.sum((matrix @ x) ** 2) + 3 * jnp.sum(jnp.sin(5 * x))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_best_point_is_never_lost(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(6, 6)).astype(np.float32)
    start = rng.normal(size=6).astype(np.float32)
    values, states = descend(bumpy, start, 40, memory=5, constants=(matrix,))
    best = [float(state.value) for state in states]
    np.testing.assert_array_equal(best, np.minimum.accumulate(values))
    np.testing.assert_allclose(bumpy(states[-1].params, matrix), best[-1], rtol=1e-5, atol=1e-5)
    assert all(float(state.step_size) > 0 for state in states)
    products = states[-1].products
    assert np.all(np.isfinite(products)) and np.all(np.diag(products) >= 0)


def test_a_trial_that_is_not_finite_is_answered_by_a_tenth_of_the_step():
    def cliff(x):
        return jnp.where(jnp.abs(x[0]) > 1.5, jnp.nan, jnp.sum(jnp.cosh(x)))

    values, states = descend(lambda x: cliff(1000 * x), jnp.array([1e-3, 2e-3]), 40)
    assert np.isnan(values).any()
    failed = int(np.flatnonzero(np.isnan(values))[0])
    np.testing.assert_allclose(
        states[failed].step_size, 0.1 * states[failed - 1].step_size, rtol=1e-6
    )
    assert np.isfinite(states[-1].value) and states[-1].value < 2.001


@pytest.mark.parametrize("bad", [[np.nan, 1, 1], [np.inf, 1, 1], [1, -np.inf, np.nan]])
def test_a_gradient_that_is_not_finite_is_refused_whatever_the_loss(bad):
    init, update = map(jax.jit, safeguarded_lbfgs())
    x = jnp.array([1.0, 2.0, 3.0])
    updates, good = update(2 * x, init(x), x, value=jnp.vdot(x, x))
    updates, state = update(
        jnp.asarray(bad, jnp.float32), good, x + updates, value=jnp.asarray(0.5)
    )
    np.testing.assert_array_equal(state.params, x)
    np.testing.assert_array_equal(state.gradient, 2 * x)
    np.testing.assert_array_equal(state.direction, good.direction)
    np.testing.assert_allclose(state.step_size, 0.1, rtol=1e-6)
    assert state.num_pairs == 0 and np.isfinite(updates).all()


def test_a_trial_that_raises_the_loss_is_answered_by_the_minimum_of_the_parabola():
    init, update = map(jax.jit, safeguarded_lbfgs(first_step=3.0))
    x = jnp.array([1.0])
    updates, state = update(2 * x, init(x), x, value=x[0] ** 2)
    x = x + updates
    np.testing.assert_allclose(x, [-2.0])  # a first step of length 3, downhill, beyond the minimum
    updates, state = update(2 * x, state, x, value=x[0] ** 2)
    np.testing.assert_allclose(x + updates, [0.0], atol=1e-6)  # the parabola is the function itself
    np.testing.assert_allclose(state.params, [1.0])


@pytest.mark.parametrize("rise, accepted", [(0.9e-3, True), (1.1e-3, False)])
@pytest.mark.parametrize("loss", [5.0, -5.0])
def test_a_rise_within_the_noise_is_accepted(rise, accepted, loss):
    init, update = map(jax.jit, safeguarded_lbfgs(noise=1e-3))
    x, gradient = jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])
    updates, state = update(gradient, init(x), x, value=jnp.float32(loss))
    trial, value = x + updates, jnp.float32(loss + rise * abs(loss))
    _, state = update(gradient, state, trial, value=value)
    np.testing.assert_array_equal(state.params, trial if accepted else x)
    assert state.value == (value if accepted else loss)


def test_a_descent_on_noisy_losses_throws_fewer_trials_away(rng):
    """A quadratic of curvatures 1 to 1000 whose losses, not its gradients, have noise."""
    curvatures = jnp.asarray(np.geomspace(1, 1000, 50), jnp.float32)
    start, factors = jnp.ones(50), 1 + 1e-3 * rng.uniform(-1, 1, size=80)
    true = lambda x: 1 + 1e-4 * jnp.vdot(x, curvatures * x)

    def last(noise):
        init, update = map(jax.jit, safeguarded_lbfgs(noise=noise))
        x, state = start, init(start)
        for factor in factors:
            updates, state = update(
                jax.grad(true)(x), state, x, value=jnp.asarray(true(x) * factor, jnp.float32)
            )
            x = x + updates
        return float(true(state.params)) - 1, int(state.num_pairs)

    (far, few), (near, many) = last(0.0), last(2e-3)
    assert few < 30 and many > 70, (few, many)
    assert near < far / 100, (near, far)


def test_pairs_without_positive_curvature_are_not_stored():
    init, update = map(jax.jit, safeguarded_lbfgs())
    x = jnp.array([0.1, 0.2])
    state = init(x)
    # the slope grows on the way down: concave
    for value, gradient in ((-0.1, [1.0, 1.0]), (-0.2, [2.0, 2.0])):
        updates, state = update(jnp.array(gradient), state, x, value=jnp.asarray(value))
        x = x + updates
    assert state.num_pairs == 0
    assert jnp.vdot(state.direction, state.gradient) < 0


@pytest.mark.parametrize("num_pairs", [1, 3, 7])
def test_the_direction_is_that_of_the_dense_update_formula(num_pairs, rng):
    """H ← (I − ρ s yᵀ) H (I − ρ y sᵀ) + ρ s sᵀ over the last pairs, Nocedal and Wright (2006),
    equation 7.16, from H = 2 sᵀy / yᵀy."""
    n, memory = 8, 4
    basis = rng.normal(size=(n, n))
    hessian = jnp.asarray(basis @ basis.T + np.eye(n), jnp.float32)
    init, update = map(jax.jit, safeguarded_lbfgs(memory))
    x = jnp.asarray(rng.normal(size=n), jnp.float32)
    state, points = init(x), []
    for index in range(num_pairs + 1):
        gradient = hessian @ x
        points.append((np.asarray(x, float), np.asarray(gradient, float)))
        # Falling values accept every point, wherever it is.
        _, state = update(gradient, state, x, value=jnp.asarray(-float(index)))
        x = x + jnp.asarray(rng.normal(size=n), jnp.float32)
    pairs = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(points)][-memory:]
    s, y = pairs[-1]
    inverse = 2 * np.eye(n) * (s @ y) / (y @ y)
    for s, y in pairs:
        left = np.eye(n) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    np.testing.assert_allclose(state.direction, -inverse @ points[-1][1], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("factor", [1e-12, 1e-3, 1e6, 1e12])
def test_a_factor_on_the_loss_changes_nothing(factor):
    start = jnp.array([-1.2, 1.0, 0.5])
    plain, _ = descend(rosenbrock, start, 12)
    scaled, _ = descend(lambda x: factor * rosenbrock(x), start, 12)
    np.testing.assert_allclose(np.array(scaled) / factor, plain, rtol=1e-2)


def test_any_pytree_will_do():
    init, update = map(jax.jit, safeguarded_lbfgs())
    params = {"a": jnp.ones((2, 2)), "b": jnp.ones(3)}
    updates, _ = update(params, init(params), params, value=jnp.asarray(7.0))
    assert jax.tree.map(jnp.shape, updates) == {"a": (2, 2), "b": (3,)}
    np.testing.assert_allclose(optax.tree.norm(updates), 0.02 * 7**0.5, rtol=1e-5)


@pytest.mark.slow
def test_lanes_of_vmap_equal_single_descents():
    optimizer = safeguarded_lbfgs(5)

    def advance(params, state):
        value, gradient = jax.value_and_grad(rosenbrock)(params)
        updates, state = optimizer.update(gradient, state, params, value=value)
        return optax.apply_updates(params, updates), state

    starts = jnp.array([[-1.2, 1.0], [0.3, -0.8], [2.0, 2.0]])
    params, state = starts, jax.vmap(optimizer.init)(starts)
    lanes = jax.jit(jax.vmap(advance))
    for _ in range(15):
        params, state = lanes(params, state)
    for lane, start in enumerate(starts):
        _, states = descend(rosenbrock, start, 15, memory=5)
        np.testing.assert_allclose(state.value[lane], states[-1].value, rtol=1e-3)


def test_a_flat_function_is_left_alone():
    values, states = descend(lambda x: jnp.sum(0 * x), jnp.array([0.3, -0.1]), 4)
    assert values == [0, 0, 0, 0]
    np.testing.assert_array_equal(states[-1].params, jnp.array([0.3, -0.1]))


@pytest.mark.slow
def test_the_preconditioner_that_is_the_inverse_solves_a_quadratic_at_once():
    scales = jnp.asarray(np.logspace(0, 4, 40), jnp.float32)
    start = {"a": jnp.ones(25), "b": jnp.ones((5, 3))}

    def loss(params):
        return (
            jnp.sum(scales[:25] * params["a"] ** 2) / 2
            + jnp.sum(scales[25:].reshape(5, 3) * params["b"] ** 2) / 2
        )

    def inverse(num_pairs, params):
        return {"a": params["a"] / scales[:25], "b": params["b"] / scales[25:].reshape(5, 3)}

    counting = Preconditioner(
        init=lambda params: jnp.zeros((), int),
        update=lambda num_pairs, step, gradient_step: num_pairs + 1,
        apply=inverse,
        squared_norm=lambda num_pairs, params: optax.tree.vdot(params, inverse(num_pairs, params)),
    )
    with_inverse, states = descend(loss, start, 12, preconditioner=counting)
    without, _ = descend(loss, start, 12)
    assert min(with_inverse) < 1e-6 * with_inverse[0] < 1e-3 * min(without)
    assert [int(state.preconditioner) for state in states] == [
        int(state.num_pairs) for state in states
    ]
