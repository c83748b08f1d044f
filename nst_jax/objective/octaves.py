"""Octaves: an image, and the same made smaller by half, again and again.

A layer's responses see no more of an image than its filters span. Of an image of half the size they
span twice as much, so that an objective that is the mean over octaves meets the statistics of large
forms, whatever its layers are.

References:
    Snelgrove, "High-resolution multi-scale neural texture synthesis" (SIGGRAPH Asia Technical
    Briefs 2017); with means of 2 × 2 pixels in place of a Gaussian pyramid, and at all layers.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.config import Border
from nst_jax.network.borders import wraps

_LEAST_SIDE = 32  # of fewer pixels, what is met at conv5_1 is chance


def num_octaves(most: int, border: Border, shape: Sequence[int]) -> int:
    """How many octaves there are of a picture, whatever its styles are.

    Fewer than `most` where the next would have a side of fewer than 32 pixels; or one that wraps,
    but is no multiple of 16.
    """
    count = 1
    while count < most:
        sides = [side >> count for side in shape[:2]]
        broken = (side % 16 and one for side, one in zip(sides, wraps(border), strict=True))
        if not can_be_halved(shape, count) or any(broken):
            break
        count += 1
    return count


def can_be_halved(shape: Sequence[int], times: int) -> bool:
    """Whether an image has 32 pixels along each side when it is halved so often."""
    return times == 0 or min(shape[:2]) >> times >= _LEAST_SIDE


def halved_if_large(image: Array | np.ndarray, times: int) -> Array:
    """`halved`, as often as `can_be_halved` lets it be."""
    while not can_be_halved(image.shape, times):
        times -= 1
    return halved(image, times)


def halved(image: Array | np.ndarray, times: int = 1) -> Array:
    """The means of 2 × 2 pixels, (height // 2, width // 2, …), as often as is asked.

    An odd row or column at the end is left out.
    """
    image = jnp.asarray(image)
    for _ in range(times):
        height, width = image.shape[0] // 2, image.shape[1] // 2
        cells = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, *image.shape[2:])
        image = jnp.mean(cells, (1, 3))
    return image
