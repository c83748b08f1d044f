"""The one rule for what an image is, wherever one is taken.

By the losses, by the descent, by what writes files.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from nst_jax.checks import ConfigError

ROUNDING = 1e-3
"""How far beyond [0, 1] a pixel may be because it was rounded, resampled in half precision, or
converted: it is clipped without a word."""

WHILE_IT_MOVES = 1.0
"""How far beyond [0, 1] an image may be that an optimiser without bounds moves. Pixels of 0 to 255
are farther."""


def check_image(name: str, image: Any, slack: float = ROUNDING) -> None:
    """Makes sure that an image is (height, width, 3) of floating-point sRGB in [0, 1].

    Of an image that is being traced, shape and type are checked, for its values are not there yet.

    Args:
        name: What the message calls it, for instance `"content"`.
        image: The image.
        slack: How far beyond [0, 1] its values may be.

    Raises:
        ConfigError: It is not such an image; the message says what to do.

    Example:
        >>> check_image("content", np.zeros((32, 48, 3), np.uint8))
        Traceback (most recent call last):
        nst_jax.config.ConfigError: the content image is of uint8; convert it: ...
    """
    if isinstance(image, str | os.PathLike):
        raise ConfigError(f"the {name} image is the path {image}; give what read_image reads there")
    try:
        shape, kind = np.shape(image), getattr(image, "dtype", None)
        if kind is None:
            kind = np.asarray(image).dtype
    except ValueError as error:
        raise ConfigError(
            f"the {name} image has rows of unequal lengths; it must be (height, width, 3)"
        ) from error
    if len(shape) != 3 or shape[-1] != 3 or 0 in shape:
        batch = "; jax.vmap takes the images of a batch one by one" if len(shape) == 4 else ""
        empty = ", and have pixels" if 0 in shape else ""
        raise ConfigError(
            f"the {name} image has shape {shape}; it must be (height, width, 3){empty}{batch}"
        )
    if not isinstance(kind, np.dtype):
        raise ConfigError(
            f"the {name} image is a {type(image).__module__}.{type(image).__name__} of {kind}; "
            "convert it: numpy.asarray(image)"
        )
    if not jnp.issubdtype(kind, jnp.floating):
        white = {"uint8": " / 255", "uint16": " / 65535"}.get(
            str(kind), ", with black at 0 and white at 1"
        )
        raise ConfigError(
            f'the {name} image is of {kind}; convert it: image.astype("float32"){white}'
        )
    if isinstance(image, Tracer):
        return
    values = np.asarray(jax.device_get(image))
    least, most = float(values.min()), float(values.max())
    if not np.isfinite([least, most]).all():
        raise ConfigError(f"the {name} image holds values that are not finite")
    if least < -slack or most > 1 + slack:
        is_bytes = most > 2 and least >= -slack
        advice = (
            "divide pixels of 0 to 255 by 255"
            if is_bytes
            else "bring them to that range, or clip them"
        )
        raise ConfigError(
            f"the {name} image holds values from {least:.4g} to {most:.4g}; it must be "
            f"sRGB in [0, 1]: {advice}"
        )


def shape_of(array: Any) -> tuple[int, ...] | None:
    """The shape of what may be an array; None where its rows are of unequal lengths."""
    try:
        return np.shape(array)
    except ValueError:
        return None


def check_floating(name: str, array: Any) -> None:
    """Makes sure that an array holds floating-point numbers, of any range.

    Raises:
        ConfigError: It does not.
    """
    kind = getattr(array, "dtype", None) or np.asarray(array).dtype
    if not jnp.issubdtype(kind, jnp.floating):
        raise ConfigError(f'{name} is of {kind}; convert it: {name}.astype("float32")')


def is_grey(image: Any) -> bool:
    """Whether an image's three channels are alike, to within a level of 8 bits.

    A colour profile may cost that level.
    """
    values = np.asarray(jax.device_get(image))
    return float(np.ptp(values, axis=-1).max(initial=0)) < 1.5 / 255


def in_grey(image: Array, wanted: Array) -> Array:
    """The image, with the mean of its channels for each of them where that is wanted."""
    return jnp.where(
        wanted, jnp.broadcast_to(jnp.mean(image, axis=-1, keepdims=True), image.shape), image
    )
