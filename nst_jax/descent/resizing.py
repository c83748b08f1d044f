"""An image at another size of the pyramid: shrunk, or its change carried up.

Where an image wraps, so does the filter, or the seam would show.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

_LANCZOS_REACH = 3  # pixels of the smaller image

Wraps = tuple[bool, bool]
NOWHERE: Wraps = (False, False)


@partial(jax.jit, static_argnames=("shape", "wraps"))
def carry_up(
    image: Float[Array | np.ndarray, "small_height small_width 3"],
    detail: Float[Array, "large_height large_width 3"] | None,
    shape: tuple[int, int],
    wraps: Wraps = NOWHERE,
) -> Float[Array, "height width 3"]:
    """The image at a larger size: detail + enlarge(image − shrink(detail)), clipped to [0, 1].

    Args:
        image: The coarse image.
        detail: The image at any larger size that `image` is a change of; None only enlarges.
        shape: Height and width of the result.
        wraps: Whether the image goes on at the other side, as `borders.wraps` says it.
    """
    if detail is None:
        return resize(image, shape, wraps)
    change = image - resize(detail, image.shape[:2], wraps)
    return jnp.clip(resize(detail, shape, wraps) + _plain_resize(change, shape, wraps), 0, 1)


@partial(jax.jit, static_argnums=(1, 2))
def resize(image: Array, shape: tuple[int, ...], wraps: Wraps = NOWHERE) -> Array:
    """The image at a height and width, by Lanczos' filter, clipped to [0, 1]."""
    return jnp.clip(_plain_resize(image, shape, wraps), 0, 1)


@partial(jax.jit, static_argnums=(1, 2, 3))
def coarsest_start(
    image: Array, shape: tuple[int, ...], keeps_detail: bool, wraps: Wraps = NOWHERE
) -> Array:
    """The start of the coarsest scale: noise is cut, because shrinking averages it to grey."""
    return resize(image, shape, wraps) if keeps_detail else image[: shape[0], : shape[1]]


def _plain_resize(image: Array, shape: tuple[int, ...], wraps: Wraps) -> Array:
    if image.shape[:2] == shape:
        return image
    wanted = (*shape, image.shape[2])
    if not any(wraps):
        return jax.image.resize(image, wanted, "lanczos3")
    scales = [new / old for new, old in zip(shape, image.shape[:2], strict=True)]
    # as far as the filter reaches, which is wider where the image shrinks
    reach = [
        goes_on * math.ceil(_LANCZOS_REACH / min(scale, 1))
        for goes_on, scale in zip(wraps, scales, strict=True)
    ]
    around = jnp.pad(image, [(reach[0],) * 2, (reach[1],) * 2, (0, 0)], "wrap")
    start = jnp.array([-own * scale for own, scale in zip(reach, scales, strict=True)])
    return jax.image.scale_and_translate(
        around, wanted, (0, 1), jnp.array(scales), start, "lanczos3"
    )
