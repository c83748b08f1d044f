"""The descent on the pixels, one evaluation at a time: `init` and `step`.

Nothing here knows what the loss is made of, nor how long a run lasts.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float

from nst_jax.dtypes import accumulation_type
from nst_jax.pixels import check_image
from nst_jax.pytrees import pytree

Evaluation = Callable[[Array], tuple[tuple[Array, Any], Array]]
"""Maps an image to ((loss, any pytree of terms), gradient), as `loss_and_gradient` does."""


@pytree
class TransferState:
    """One descent between two evaluations.

    Its fields are arrays, or what JAX puts in their place when it describes a program.

    Args:
        image: The image to evaluate next.
        opt_state: The optimiser's own state.
        best_image: The image of the lowest loss seen; the average of those seen, where `step` takes
            it.
        best_loss: That loss; infinite before the first finite one.
        best_step: The step at which it was seen, from 1; 0 before.
        step: Evaluations made.
    """

    image: Any
    opt_state: Any
    best_image: Any
    best_loss: Any
    best_step: Any
    step: Any


class StepInfo(NamedTuple):
    """What one evaluation saw.

    Args:
        loss: The loss.
        terms: Its parts, as the evaluation gave them.
        finite: Whether the loss and the squared length of its gradient are finite. Every optimiser
            here computes with squares of the gradient.
    """

    loss: Array
    terms: Any
    finite: Array


def init(
    image: Float[Array | np.ndarray, "height width 3"],
    optimizer: optax.GradientTransformationExtraArgs,
) -> TransferState:
    """The state before the first evaluation.

    Args:
        image: Where the descent starts, sRGB in [0, 1].
        optimizer: From `make_optimizer`, or any of optax's.

    Raises:
        ConfigError: The image is none.

    Example:
        >>> state = init(content, make_optimizer(config))
    """
    check_image("initial", image)
    return TransferState(
        # Copies, so that the state can be donated whole.
        image=jnp.array(image),
        opt_state=optimizer.init(image),
        best_image=jnp.array(image),
        best_loss=jnp.asarray(jnp.inf, accumulation_type(image.dtype)),
        best_step=jnp.zeros((), jnp.int32),
        step=jnp.zeros((), jnp.int32),
    )


def step(
    state: TransferState,
    evaluate: Evaluation,
    optimizer: optax.GradientTransformationExtraArgs,
    average: float = 0.0,
) -> tuple[TransferState, StepInfo]:
    """One evaluation of the loss and its gradient, and one move of the pixels.

    With an average d, `best_image` becomes the average of the images x_1, …, x_t evaluated so far:
    v_t / (1 − dᵗ) of v_t = d v_{t−1} + (1 − d) x_t, clipped to [0, 1].

    Args:
        state: From `init` or an earlier step.
        evaluate: Maps an image to ((loss, terms), gradient), as `jax.value_and_grad(loss_function,
            has_aux=True)` does.
        optimizer: The one that `state` was made with.
        average: d, in [0, 1); 0 takes none.

    Returns:
        The next state, and what the evaluation saw at `state.image`.

    Example:
        >>> optimizer = make_optimizer(config)
        >>> evaluate = lambda image: loss_and_gradient(
        ...     params, image, targets, LossWeights(), config
        ... )
        >>> state = init(content, optimizer)
        >>> state, info = jax.jit(lambda state: step(state, evaluate, optimizer))(state)

    References:
        Kingma and Ba (ICLR 2015), section 7.2, for the average.
    """
    (loss, terms), gradient = evaluate(state.image)
    finite = jnp.isfinite(loss) & jnp.isfinite(jnp.vdot(gradient, gradient))
    better = loss < state.best_loss  # false for a NaN
    # optax mixes types where the caller may have forbidden it
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.image, value=loss)
        image = jnp.asarray(optax.apply_updates(state.image, updates))
    return TransferState(
        image=image,
        opt_state=opt_state,
        best_image=_averaged(state, finite, average)
        if average
        else jnp.where(better, state.image, state.best_image),
        best_loss=jnp.where(better, loss, state.best_loss),
        best_step=jnp.where(better, state.step + 1, state.best_step),
        step=state.step + 1,
    ), StepInfo(loss, terms, finite)


def _averaged(state: TransferState, wanted: Array, average: float) -> Array:
    """The average with the image evaluated last, if that is wanted."""
    mean, kind = state.best_image, state.best_loss.dtype
    # v_t / (1 − dᵗ) as a step from the last: of like images, the average is one of them exactly
    weight = -jnp.expm1(math.log(average) * (state.step + 1).astype(kind))
    rate = (1 - average) / weight
    moved = jnp.clip(mean + rate.astype(mean.dtype) * (state.image - mean), 0, 1)
    return jnp.where(wanted, moved, mean)
