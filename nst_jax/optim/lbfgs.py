"""L-BFGS with one evaluation a step and, noise aside, no step that loses ground.

An ordinary line search evaluates an unknown number of times within a step. Under `vmap` every lane
then waits for the slowest, and pays for all branches. Here a step *is* an evaluation: the
parameters that the caller evaluates are a trial, and the point to fall back on is part of the
state. A trial that raises the loss, or is not finite, is answered by a shorter step from the last
good point.

Late in a descent, most steps gain less than rounded factors' noise: a rise within it is accepted.

References:
    Nocedal and Wright, "Numerical Optimization" (2nd edition, 2006), algorithm 7.4 (two-loop
    recursion), equation 7.20 (initial scaling) and section 3.5 (interpolation).
    Shi, Xie, Byrd and Nocedal, "A noise-tolerant quasi-Newton algorithm for unconstrained
    optimization" (SIAM J. Optim. 2022), for the relaxed decrease, not for its longer differences.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.scipy.linalg import solve_triangular

from nst_jax.dtypes import accumulation_type

_CURVATURE_MARGIN = 1e-6
# H starts from a multiple of the identity, sᵀy / yᵀy in the textbook: the inverse curvature along
# the stiffest of directions. Twice that lowers the loss of style transfer faster (docs/benchmarks).
_INITIAL_SCALE = 2.0
_SHORTEST, _LONGEST = 0.1, 0.5


class Preconditioner(NamedTuple):
    """A linear, symmetric, positive definite map P of the parameters.

    It is near a multiple of the inverse Hessian, and may learn from the pairs.

    Args:
        init: Makes the state from the parameters.
        update: Makes the next state from a state and a pair that L-BFGS stores: the step, and the
            difference of the gradients.
        apply: P v of a v that is shaped like the parameters, given the state.
        squared_norm: vᵀP v of the same, which may cost less than P v does.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], Any]
    apply: Callable[[Any, Any], Any]
    squared_norm: Callable[[Any, Any], Array]


IDENTITY = Preconditioner(
    init=lambda params: (),
    update=lambda state, step, gradient_step: state,
    apply=lambda state, vector: vector,
    squared_norm=lambda state, vector: optax.tree.norm(vector, squared=True),
)


class LBFGSState(NamedTuple):
    """Where the descent stands.

    Args:
        value: Loss at `params`; infinite before the first good evaluation.
        params: The last accepted parameters.
        gradient: The gradient there.
        direction: The direction along which trials are made from `params`.
        step_size: The fraction of `direction` that the trial under evaluation is at.
        num_pairs: Pairs stored so far, counting those since overwritten.
        steps: The last differences of parameters, each leaf's as a row, (memory, size).
        gradient_steps: The differences of gradients that belong to them, likewise.
        products: sᵢᵀyⱼ of every step i with every difference j that is no older, (memory, memory);
            the diagonal is 0 where there is no pair.
        preconditioner: The state of the preconditioner.
    """

    value: Array
    params: Any
    gradient: Any
    direction: Any
    step_size: Array
    num_pairs: Array
    steps: Any
    gradient_steps: Any
    products: Array
    preconditioner: Any


def safeguarded_lbfgs(
    memory: int = 30,
    first_step: float = 0.02,
    preconditioner: Preconditioner = IDENTITY,
    noise: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS whose every update costs one evaluation, made by the caller.

    `update(gradient, state, params, value=loss)` takes the loss and the gradient at `params`, and
    returns what to add to `params` for the next trial. With x the last accepted point, d the
    direction −H g and t the step size:

    * the trial's loss and the length of its gradient are finite, the loss at most that at x or
      within the noise: x moves there; the pair s = Δx, y = Δg is stored if sᵀy > 10⁻⁶ ‖s‖ ‖y‖, d is
      made anew, with H that of the stored pairs from (2 sᵀy / yᵀP y) P, and t = 1;
    * otherwise x stays, and t shrinks to the minimum of the parabola through the values and the
      slope, kept within a tenth and a half of t (a tenth where the trial was not finite).

    The first trial is a step of length `first_step · √n` along −g, whatever the loss is multiplied
    by.

    Args:
        memory: Pairs (s, y) to keep; each takes two copies of the parameters.
        first_step: Root mean square, over the parameters, of the first step.
        preconditioner: P; the identity if left out.
        noise: By how much rounding may part two losses that are equal, as a fraction of them.

    Returns:
        A transformation with optax's interface, for any pytree of floating-point parameters of one
        type. Its state holds the last accepted parameters, in float32 where they have fewer bits.

    Example:
        >>> opt_state = safeguarded_lbfgs(memory=10).init(image)
    """

    def init(params: Any) -> LBFGSState:
        params = _widened(params)
        kind = jnp.result_type(*jax.tree.leaves(params))
        zero = jnp.zeros((), kind)
        # As rows: reshaped in every step, arrays with an image's axes are copied by XLA's CPU
        # compiler, all pairs of them.
        pairs = lambda: jax.tree.map(
            lambda leaf: jnp.zeros((memory, leaf.size), leaf.dtype), params
        )
        return LBFGSState(
            value=zero + jnp.inf,
            # a copy, so that whoever holds the parameters too can donate both
            params=jax.tree.map(jnp.array, params),
            gradient=jax.tree.map(jnp.zeros_like, params),
            direction=jax.tree.map(jnp.zeros_like, params),
            step_size=zero,
            num_pairs=jnp.zeros((), jnp.int32),
            steps=pairs(),
            gradient_steps=pairs(),
            products=jnp.zeros((memory, memory), kind),
            preconditioner=preconditioner.init(params),
        )

    def update(
        updates: Any, state: LBFGSState, params: Any = None, *, value: Array, **extra_args: Any
    ) -> tuple[Any, LBFGSState]:
        del extra_args
        gradient, trial = _widened(updates), _widened(params)
        value = jnp.asarray(value, state.value.dtype)

        gradient_length = _length(gradient)
        finite = jnp.isfinite(value) & jnp.isfinite(gradient_length)
        accepted = finite & (value - noise * jnp.where(finite, jnp.abs(value), 0) <= state.value)
        first = accepted & jnp.isinf(state.value)

        step, gradient_step = (
            jax.tree.map(jnp.subtract, *trees)
            for trees in ((trial, state.params), (gradient, state.gradient))
        )
        state = _store_pair(state, step, gradient_step, accepted & ~first, preconditioner)
        shorter = _shorten(state, value, finite)
        state = state._replace(
            value=jnp.where(accepted, value, state.value),
            params=optax.tree.where(accepted, trial, state.params),
            gradient=optax.tree.where(accepted, gradient, state.gradient),
        )
        descent = jax.tree.map(
            jnp.negative, _inverse_hessian_product(state, state.gradient, preconditioner)
        )
        # Rounding can turn an approximation built of positive pairs uphill; steepest descent never
        # is.
        rises = gradient_length > 0
        longest = first_step * sum(leaf.size for leaf in jax.tree.leaves(trial)) ** 0.5
        factor = jnp.where(rises, longest / jnp.where(rises, gradient_length, 1), 0)
        steepest = jax.tree.map(lambda leaf: -leaf * factor, gradient)
        slope = jnp.asarray(optax.tree.vdot(descent, state.gradient))
        downhill = (slope < 0) & (state.num_pairs > 0)
        state = state._replace(
            direction=optax.tree.where(
                accepted, optax.tree.where(downhill, descent, steepest), state.direction
            ),
            step_size=jnp.where(accepted, 1.0, shorter),
        )
        move = lambda good, direction, trial: good + state.step_size * direction - trial
        return jax.tree.map(move, state.params, state.direction, trial), state

    # optax's types cannot say that `value` is needed.
    return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type]


def _widened(tree: Any) -> Any:
    """Half precision as float32, in which pairs are told apart."""
    return jax.tree.map(lambda leaf: leaf.astype(accumulation_type(leaf.dtype)), tree)


def _store_pair(
    state: LBFGSState, step: Any, gradient_step: Any, wanted: Array, preconditioner: Preconditioner
) -> LBFGSState:
    curvature = optax.tree.vdot(step, gradient_step)
    wanted &= curvature > _CURVATURE_MARGIN * _length(step) * _length(gradient_step)
    slot = state.num_pairs % len(state.products)

    def put(rows: Array, leaf: Array) -> Array:
        return rows.at[slot].set(jnp.where(wanted, leaf.ravel(), rows[slot]))

    steps = jax.tree.map(put, state.steps, step)
    learned = preconditioner.update(state.preconditioner, step, gradient_step)
    return state._replace(
        steps=steps,
        gradient_steps=jax.tree.map(put, state.gradient_steps, gradient_step),
        products=put(state.products.T, _dots(steps, gradient_step)).T,
        num_pairs=state.num_pairs + wanted.astype(jnp.int32),
        preconditioner=optax.tree.where(wanted, learned, state.preconditioner),
    )


def _shorten(state: LBFGSState, value: Array, finite: Array) -> Array:
    """The step size after a trial at `state.step_size` failed with `value`."""
    tried = state.step_size
    slope = jnp.asarray(optax.tree.vdot(state.direction, state.gradient))
    known = finite & jnp.isfinite(state.value)
    rise = jnp.where(known, value, 0) - jnp.where(known, state.value, 0)
    bend = rise - slope * tried
    parabola = -slope * tried**2 / jnp.where(bend > 0, 2 * bend, 1)
    # Values that are not finite, or a parabola without minimum, end up at the lower bound.
    usable = known & (bend > 0) & (parabola > _SHORTEST * tried)
    return jnp.where(usable, jnp.minimum(parabola, _LONGEST * tried), _SHORTEST * tried)


def _inverse_hessian_product(state: LBFGSState, vector: Any, preconditioner: Preconditioner) -> Any:
    """H v; with no pair stored, P v.

    The two-loop recursion is the solution of two triangular systems in the products sᵢᵀyⱼ. Solved
    as such, it reads the pairs as often as the loops do, but in few large operations, and writes
    nothing of a pair's size in between.
    """
    memory = len(state.products)
    oldest_first = (state.num_pairs + jnp.arange(memory, dtype=jnp.int32)) % memory
    age = jnp.argsort(oldest_first)
    products = jnp.triu(state.products[oldest_first][:, oldest_first])
    curvatures = jnp.diag(products)
    # a slot that was never filled holds zeros alone
    triangle = products + jnp.diag(jnp.where(curvatures > 0, 0.0, 1.0))

    first = solve_triangular(triangle, _dots(state.steps, vector)[oldest_first])
    vector = jax.tree.map(jnp.subtract, vector, _combine(first[age], state.gradient_steps, vector))
    newest = jax.tree.map(
        lambda rows, leaf: rows[oldest_first[-1]].reshape(leaf.shape), state.gradient_steps, vector
    )
    curvature = preconditioner.squared_norm(state.preconditioner, newest)
    scale = _INITIAL_SCALE * curvatures[-1] / jnp.where(curvature > 0, curvature, 1)
    factor = jnp.where(curvature > 0, scale, 1)
    vector = jax.tree.map(
        lambda leaf: leaf * factor, preconditioner.apply(state.preconditioner, vector)
    )
    second = solve_triangular(
        triangle, curvatures * first - _dots(state.gradient_steps, vector)[oldest_first], trans=1
    )
    return jax.tree.map(jnp.add, vector, _combine(second[age], state.steps, vector))


def _dots(rows: Any, vector: Any) -> Array:
    """The product of each pair's tree with one."""
    return _sum(
        jax.tree.map(
            lambda rows, leaf: jnp.matmul(rows, leaf.ravel(), precision="highest"), rows, vector
        )
    )


def _combine(factors: Array, rows: Any, like: Any) -> Any:
    """The sum of all pairs' trees, each times its factor, shaped as another tree is."""
    return jax.tree.map(
        lambda rows, leaf: jnp.matmul(factors, rows, precision="highest").reshape(leaf.shape),
        rows,
        like,
    )


def _sum(tree: Any) -> Array:
    leaves = jax.tree.leaves(tree)
    return functools.reduce(jnp.add, leaves)


def _length(tree: Any) -> Array:
    """Euclidean length, safe from overflow and underflow of the squares."""
    largest = functools.reduce(
        jnp.maximum, [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]
    )
    scaled = jax.tree.map(lambda leaf: leaf / jnp.where(largest > 0, largest, 1), tree)
    return largest * jnp.sqrt(
        _sum(jax.tree.map(lambda leaf: jnp.sum(jnp.square(leaf.ravel())), scaled))
    )
