"""Pixels kept within [0, 1], whichever optimiser moves them, by a change of variables.

x = sin²(πz / 2) = (1 − cos πz) / 2 makes a pixel in [0, 1] of every z, smoothly: the optimiser
moves z, without bounds. A pixel that presses against black or white is then a smooth minimum, where
a projection would cut the loss off and spoil the pairs of L-BFGS.

At z = 0 and 1 the map is flat, and what starts there would never move. So a descent goes on from a
little inside, once the start itself has been evaluated. docs/benchmarks has what this came to
beside other maps and a projection.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from nst_jax.dtypes import accumulation_type

_MARGIN = 0.02


class BoundedState(NamedTuple):
    """The state of `within_bounds`.

    Args:
        position: z, shaped like the parameters.
        is_there: Whether the parameters evaluated next are those of `position`, as they are but for
            the first.
        inner: The state of the optimiser that moves z.
    """

    position: Any
    is_there: Array
    inner: Any


def within_bounds(
    inner: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """An optimiser whose every trial lies in [0, 1].

    Where the start has values nearer than 0.02 to a bound, the first update moves them to 0.02, and
    nothing else.

    Args:
        inner: An optimiser of parameters without bounds, which takes `value` and answers an
            infinite one by the trial to make instead, such as `safeguarded_lbfgs()`.

    Returns:
        A transformation with optax's interface, for parameters in [0, 1].

    Example:
        >>> optimizer = within_bounds(safeguarded_lbfgs(memory=10))
    """

    def init(params: Any) -> BoundedState:
        position = jax.tree.map(_position_of, params)
        is_inside = [
            jnp.all((leaf >= _MARGIN) & (leaf <= 1 - _MARGIN)) for leaf in jax.tree.leaves(params)
        ]
        return BoundedState(position, jnp.all(jnp.stack(is_inside)), inner.init(position))

    def update(
        updates: Any, state: Any, params: Any = None, *, value: Array, **extra_args: Any
    ) -> tuple[Any, BoundedState]:
        gradient = jax.tree.map(
            lambda gradient, position: gradient * _slope(position), updates, state.position
        )
        value = jnp.where(state.is_there, value, jnp.inf)
        moves, opt_state = inner.update(
            gradient, state.inner, state.position, value=value, **extra_args
        )
        position = optax.apply_updates(state.position, moves)
        updates = jax.tree.map(lambda position, now: _pixel_of(position) - now, position, params)
        return updates, BoundedState(position, jnp.ones_like(state.is_there), opt_state)

    # optax's types cannot say that `value` is needed.
    return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type]


def _position_of(pixel: Array) -> Array:
    pixel = jnp.asarray(pixel, accumulation_type(pixel.dtype))
    return jnp.arccos(1 - 2 * jnp.clip(pixel, _MARGIN, 1 - _MARGIN)) / jnp.pi


def _pixel_of(position: Array) -> Array:
    # where a machine's sine exceeds 1
    return jnp.clip(jnp.square(jnp.sin(jnp.pi / 2 * position)), 0, 1)


def _slope(position: Array) -> Array:
    return jnp.pi / 2 * jnp.sin(jnp.pi * position)
