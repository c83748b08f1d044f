"""What a descent begins with: the images checked, the first one made, the random key."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.checks import ConfigError, check_at_least
from nst_jax.config import TransferConfig
from nst_jax.objective.styles import Style
from nst_jax.pixels import check_image


def make_key(seed: int) -> Array:
    """`jax.random.key(seed)`, put on the device on purpose."""
    return jax.random.key(jax.device_put(np.uint32(seed)))


def initial_image(content: Array, style: Array, key: Array | None, kind: str) -> Array:
    """The image that a descent starts from.

    `kind` is as in `TransferConfig.init`; noise alone needs a key.
    """
    if kind == "noise":
        assert key is not None
        return _noise(key, content.shape)
    return content if kind == "content" else _resized_to(style, content.shape)


@jax.jit
def noise_around(image: Array, key: Array) -> Array:
    """The image with noise of a tenth of the contrast."""
    return jnp.clip(image + 0.1 * (_noise(key, image.shape) - 0.5), 0, 1)


@partial(jax.jit, static_argnums=1)
def _noise(key: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.uniform(key, shape, jnp.float32)


@partial(jax.jit, static_argnums=1)
def _resized_to(style: Array, shape: tuple[int, ...]) -> Array:
    return jnp.clip(jax.image.resize(style, shape, "lanczos3"), 0, 1)


def checked_image(name: str, image: Any) -> Array:
    """The image as float32 on the device.

    Raises:
        ConfigError: It is no (height, width, 3) of floating-point values in [0, 1].
    """
    check_image(name, image)
    # A copy, for what is put on the device may share memory with what it was.
    return jax.device_put(np.clip(np.array(jax.device_get(image), np.float32), 0, 1))


def mean_colour(style: Style, shape: Sequence[int]) -> Array:
    """A flat image of the mean colour of a style.

    Raises:
        ConfigError: A side is none of a picture.
    """
    for side in shape:
        check_at_least("a side of shape", side, 1)
    colours = [np.asarray(jax.device_get(image)).mean((0, 1)) for image in style.images]
    colour = np.average(colours, axis=0, weights=style.shares).astype(np.float32)
    return jax.device_put(np.broadcast_to(colour, (*shape, 3)).copy())


def check_sharing(num_rows: int, config: TransferConfig, devices: Sequence[jax.Device]) -> None:
    """Makes sure that the devices can share an image of so many rows.

    Raises:
        ConfigError: They cannot.
    """
    if devices and num_rows % len(devices):
        raise ConfigError(
            f"{len(devices)} devices cannot share the image's {num_rows} rows evenly; "
            "take another number, or another size"
        )
    if len(devices) > 1 and config.tile:
        raise ConfigError(
            f"tile is {config.tile}, but an image that devices share is evaluated whole; "
            "leave one of the two out"
        )
