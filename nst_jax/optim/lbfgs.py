"""L-BFGS with one evaluation a step and no step that loses ground.

An ordinary line search evaluates an unknown number of times within a step. Under `vmap` every lane then waits for the slowest, and pays for all
branches. Here a step *is* an evaluation: the parameters that the caller evaluates are a trial, and the point to fall back on is part of the
state. A trial that raises the loss, or is not finite, is answered by a shorter step from the last good point.

References:
    Nocedal and Wright, "Numerical Optimization" (2nd edition, 2006), algorithm 7.4 (two-loop recursion), equation 7.20 (initial scaling) and
    section 3.5 (interpolation).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular

from nst_jax.dtypes import accumulation_type

_CURVATURE_MARGIN = 1e-6
# H starts from a multiple of the identity, sᵀy / yᵀy in the textbook: the inverse curvature along the stiffest of directions. Twice that lowers
# the loss of style transfer faster, by 0.5 to 4.5 % after 200 evaluations (128 pixels, content and three noise starts); four times is worse.
_INITIAL_SCALE = 2.0
_SHORTEST, _LONGEST = 0.1, 0.5


class Preconditioner(NamedTuple):
    """A linear, symmetric, positive definite map P of the parameters, near a multiple of the inverse Hessian, which may learn from the pairs.

    Args:
        init: Makes the state from the parameters.
        update: Makes the next state from a state and a pair that L-BFGS stores: the step, and the difference of the gradients.
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
        params: The last accepted parameters, as one vector of length n.
        gradient: The gradient there.
        direction: The direction along which trials are made from `params`.
        step_size: The fraction of `direction` that the trial under evaluation is at.
        num_pairs: Pairs stored so far, counting those since overwritten.
        steps: The last differences of parameters, (memory, n).
        gradient_steps: The differences of gradients that belong to them, (memory, n).
        products: sᵢᵀyⱼ of every step i with every difference j that is no older, (memory, memory); the diagonal is 0 where there is no pair.
        preconditioner: The state of the preconditioner.
    """

    value: Array
    params: Array
    gradient: Array
    direction: Array
    step_size: Array
    num_pairs: Array
    steps: Array
    gradient_steps: Array
    products: Array
    preconditioner: Any


def safeguarded_lbfgs(
    memory: int = 30, first_step: float = 0.02, preconditioner: Preconditioner = IDENTITY
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS whose every update costs one evaluation, made by the caller.

    `update(gradient, state, params, value=loss)` takes the loss and the gradient at `params`, and returns what to add to `params` for the next
    trial. With x the last accepted point, d the direction −H g and t the step size:

    * the trial's loss and the length of its gradient are finite, the loss at most that at x: x moves there; the pair s = Δx, y = Δg is stored
      if sᵀy > 10⁻⁶ ‖s‖ ‖y‖, d is made anew, with H that of the stored pairs from (2 sᵀy / yᵀP y) P, and t = 1;
    * otherwise x stays, and t shrinks to the minimum of the parabola through the values and the slope, kept within a tenth and a half of t
      (a tenth where the trial was not finite).

    The first trial is a step of length `first_step · √n` along −g, whatever the loss is multiplied by.

    Args:
        memory: Pairs (s, y) to keep; each takes two copies of the parameters.
        first_step: Root mean square, over the parameters, of the first step.
        preconditioner: P; the identity if left out.

    Returns:
        A transformation with optax's interface, for any pytree of floating-point parameters of one type. Its state holds the best parameters,
        in float32 where they have fewer bits.
    """

    def init(params: Any) -> LBFGSState:
        params = _widened(params)
        vector, _ = ravel_pytree(params)
        zero = jnp.zeros((), vector.dtype)
        return LBFGSState(
            value=zero + jnp.inf,
            params=vector,
            gradient=jnp.zeros_like(vector),
            direction=jnp.zeros_like(vector),
            step_size=zero,
            num_pairs=jnp.zeros((), jnp.int32),
            steps=jnp.zeros((memory, vector.size), vector.dtype),
            gradient_steps=jnp.zeros((memory, vector.size), vector.dtype),
            products=jnp.zeros((memory, memory), vector.dtype),
            preconditioner=preconditioner.init(params),
        )

    def update(updates: Any, state: LBFGSState, params: Any = None, *, value: Array, **extra_args: Any) -> tuple[Any, LBFGSState]:
        del extra_args
        gradient, _ = ravel_pytree(_widened(updates))
        trial, unravel = ravel_pytree(_widened(params))
        value = jnp.asarray(value, state.value.dtype)

        gradient_length = _length(gradient)
        finite = jnp.isfinite(value) & jnp.isfinite(gradient_length)
        accepted = finite & (value <= state.value)
        first = accepted & jnp.isinf(state.value)

        learn = lambda step, gradient_step: preconditioner.update(state.preconditioner, unravel(step), unravel(gradient_step))
        precondition = lambda vector: ravel_pytree(preconditioner.apply(state.preconditioner, unravel(vector)))[0]
        squared_norm = lambda vector: preconditioner.squared_norm(state.preconditioner, unravel(vector))
        state = _store_pair(state, trial - state.params, gradient - state.gradient, accepted & ~first, learn)
        shorter = _shorten(state, value, finite)
        state = state._replace(
            value=jnp.where(accepted, value, state.value),
            params=jnp.where(accepted, trial, state.params),
            gradient=jnp.where(accepted, gradient, state.gradient),
        )
        descent = -_inverse_hessian_product(state, state.gradient, precondition, squared_norm)
        # Rounding can turn an approximation built of positive pairs uphill; steepest descent never is.
        rises = gradient_length > 0
        steepest = -gradient * jnp.where(rises, first_step * trial.size**0.5 / jnp.where(rises, gradient_length, 1), 0)
        downhill = (jnp.vdot(descent, state.gradient) < 0) & (state.num_pairs > 0)
        state = state._replace(
            direction=jnp.where(accepted, jnp.where(downhill, descent, steepest), state.direction),
            step_size=jnp.where(accepted, 1.0, shorter),
        )
        return unravel(state.params + state.step_size * state.direction - trial), state

    return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type], for optax cannot say that `value` is needed


def _widened(tree: Any) -> Any:
    """Half precision as float32, in which pairs are told apart."""
    return jax.tree.map(lambda leaf: leaf.astype(accumulation_type(leaf.dtype)), tree)


def _store_pair(state: LBFGSState, step: Array, gradient_step: Array, wanted: Array, learn: Callable[[Array, Array], Any]) -> LBFGSState:
    curvature = jnp.vdot(step, gradient_step)
    wanted &= curvature > _CURVATURE_MARGIN * _length(step) * _length(gradient_step)
    slot = state.num_pairs % len(state.products)

    def put(rows: Array, row: Array) -> Array:
        return rows.at[slot].set(jnp.where(wanted, row, rows[slot]))

    steps = put(state.steps, step)
    return state._replace(
        steps=steps,
        gradient_steps=put(state.gradient_steps, gradient_step),
        products=put(state.products.T, _dots(steps, gradient_step)).T,
        num_pairs=state.num_pairs + wanted.astype(jnp.int32),
        preconditioner=jax.tree.map(lambda new, old: jnp.where(wanted, new, old), learn(step, gradient_step), state.preconditioner),
    )


def _shorten(state: LBFGSState, value: Array, finite: Array) -> Array:
    """The step size after a trial at `state.step_size` failed with `value`."""
    tried = state.step_size
    slope = jnp.vdot(state.direction, state.gradient)
    known = finite & jnp.isfinite(state.value)
    rise = jnp.where(known, value, 0) - jnp.where(known, state.value, 0)
    bend = rise - slope * tried
    parabola = -slope * tried**2 / jnp.where(bend > 0, 2 * bend, 1)
    # Values that are not finite, or a parabola without minimum, end up at the lower bound.
    usable = known & (bend > 0) & (parabola > _SHORTEST * tried)
    return jnp.where(usable, jnp.minimum(parabola, _LONGEST * tried), _SHORTEST * tried)


def _inverse_hessian_product(
    state: LBFGSState, vector: Array, precondition: Callable[[Array], Array], squared_norm: Callable[[Array], Array]
) -> Array:
    """H v; with no pair stored, P v.

    The two-loop recursion is the solution of two triangular systems in the products sᵢᵀyⱼ. Solved as such, it reads the pairs as often as the
    loops do, but in few large operations, and writes nothing of a pair's size in between.
    """
    memory = len(state.products)
    oldest_first = (state.num_pairs + jnp.arange(memory, dtype=jnp.int32)) % memory
    age = jnp.argsort(oldest_first)
    products = jnp.triu(state.products[oldest_first][:, oldest_first])
    curvatures = jnp.diag(products)
    triangle = products + jnp.diag(jnp.where(curvatures > 0, 0.0, 1.0))  # a slot that was never filled holds zeros alone

    first = solve_triangular(triangle, _dots(state.steps, vector)[oldest_first])
    vector = vector - first[age] @ state.gradient_steps
    curvature = squared_norm(state.gradient_steps[oldest_first[-1]])
    scale = _INITIAL_SCALE * curvatures[-1] / jnp.where(curvature > 0, curvature, 1)
    vector = precondition(vector) * jnp.where(curvature > 0, scale, 1)
    second = solve_triangular(triangle, curvatures * first - _dots(state.gradient_steps, vector)[oldest_first], trans=1)
    return vector + second[age] @ state.steps


def _dots(rows: Array, vector: Array) -> Array:
    return jnp.matmul(rows, vector, precision="highest")


def _length(vector: Array) -> Array:
    """Euclidean length, safe from overflow and underflow of the squares."""
    largest = jnp.max(jnp.abs(vector))
    return largest * jnp.linalg.norm(vector / jnp.where(largest > 0, largest, 1))
