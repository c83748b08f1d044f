"""Pixels kept within [0, 1], whichever optimiser moves them, by a change of variables.

x = sin²(πz / 2) = (1 − cos πz) / 2 makes a pixel in [0, 1] of every z, smoothly: the optimiser moves z, without bounds. A pixel
that presses against black or white is then a smooth minimum, where a projection would cut the loss off and spoil the pairs of
L-BFGS.

At z = 0 and 1 the map is flat, and what starts there would never move. So a descent begins a little inside.
docs/benchmarks has what this came to beside other maps and a projection.
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
        inner: The state of the optimiser that moves z.
    """

    position: Any
    inner: Any


def within_bounds(inner: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    """An optimiser whose every trial lies in [0, 1].

    Its first gradient must be that at `start_within(params, state)`, which differs from the parameters that `init` was given
    where those lie nearer than 0.02 to a bound; `nst_jax.init` sees to it.

    Args:
        inner: An optimiser of parameters without bounds, such as `safeguarded_lbfgs()`.

    Returns:
        A transformation with optax's interface, for parameters in [0, 1].

    Example:
        >>> optimizer = within_bounds(safeguarded_lbfgs(memory=10))
    """

    def init(params: Any) -> BoundedState:
        position = jax.tree.map(_position_of, params)
        return BoundedState(position, inner.init(position))

    def update(updates: Any, state: BoundedState, params: Any = None, **extra_args: Any) -> tuple[Any, BoundedState]:
        gradient = jax.tree.map(lambda gradient, position: gradient * _slope(position), updates, state.position)
        moves, opt_state = inner.update(gradient, state.inner, state.position, **extra_args)
        position = optax.apply_updates(state.position, moves)
        return jax.tree.map(lambda position, now: _pixel_of(position) - now, position, params), BoundedState(position, opt_state)

    return optax.GradientTransformationExtraArgs(init, update)


def start_within(params: Any, opt_state: Any) -> Any:
    """The parameters that an optimiser's state begins from: its own, if it keeps bounds, else those given."""
    if not isinstance(opt_state, BoundedState):
        return params
    return jax.tree.map(lambda position, given: _pixel_of(position).astype(given.dtype), opt_state.position, params)


def _position_of(pixel: Array) -> Array:
    pixel = jnp.asarray(pixel, accumulation_type(pixel.dtype))
    return jnp.arccos(1 - 2 * jnp.clip(pixel, _MARGIN, 1 - _MARGIN)) / jnp.pi


def _pixel_of(position: Array) -> Array:
    return jnp.clip(jnp.square(jnp.sin(jnp.pi / 2 * position)), 0, 1)  # where a machine's sine exceeds 1


def _slope(position: Array) -> Array:
    return jnp.pi / 2 * jnp.sin(jnp.pi * position)
