"""An image at another size of the pyramid: shrunk, or its change carried up."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


@partial(jax.jit, static_argnames="shape")
def carry_up(
    image: Float[Array | np.ndarray, "small_height small_width 3"],
    detail: Float[Array, "large_height large_width 3"] | None,
    shape: tuple[int, int],
) -> Float[Array, "height width 3"]:
    """The image at a larger size: detail + enlarge(image − shrink(detail)), clipped to [0, 1].

    Args:
        image: The coarse image.
        detail: The image at any larger size that `image` is a change of; None only enlarges.
        shape: Height and width of the result.
    """
    if detail is None:
        return resize(image, shape)
    change = image - resize(detail, image.shape[:2])
    return jnp.clip(resize(detail, shape) + _plain_resize(change, shape), 0, 1)


@partial(jax.jit, static_argnums=1)
def resize(image: Array, shape: tuple[int, ...]) -> Array:
    """The image at a height and width, by Lanczos' filter, clipped to [0, 1]."""
    return jnp.clip(_plain_resize(image, shape), 0, 1)


@partial(jax.jit, static_argnums=(1, 2))
def coarsest_start(image: Array, shape: tuple[int, ...], keeps_detail: bool) -> Array:
    """The start of the coarsest scale: noise is cut, because shrinking averages it to grey."""
    return resize(image, shape) if keeps_detail else image[: shape[0], : shape[1]]


def _plain_resize(image: Array, shape: tuple[int, ...]) -> Array:
    if image.shape[:2] == shape:
        return image
    return jax.image.resize(image, (*shape, image.shape[2]), "lanczos3")
