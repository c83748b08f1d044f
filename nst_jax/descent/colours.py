"""Whose colours the picture has: the style's, or the content's.

The style may be recoloured before a run, or the run be on luminance alone. Either is done to the
images around a run, which knows nothing of it.

References:
    Gatys, Bethge, Hertzmann and Shechtman, "Preserving color in neural artistic style transfer"
    (arXiv 1606.05897), sections 3.1 and 3.2.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from nst_jax.config import Colours
from nst_jax.pixels import check_image

Image = Float[Array | np.ndarray, "_height _width 3"]

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue as displayed (ITU-R BT.601); they sum to 1."""

_LEAST_SPREAD = 1e-6  # of the largest variance: along a direction of less there is no colour


class Recoloured(NamedTuple):
    """The images as a run sees them, and the way back.

    Args:
        content: The content image.
        styles: The style images.
        finish: Makes the picture of an image of the run; None where the image is the picture.
    """

    content: Array
    styles: list[Array]
    finish: Callable[[Array], Array] | None


def recolour(content: Array, styles: Sequence[Array], colours: Colours) -> Recoloured:
    """The images of a run whose picture has those colours; `colours` as in `TransferConfig`."""
    if colours == "style":
        return Recoloured(content, list(styles), None)
    if colours == "content":
        matched = [match_colours(style, content) for style in styles]
        return Recoloured(content, jax.device_put(matched), None)
    brightness = luminance(content)
    return Recoloured(
        jax.device_put(in_luminance(content)),
        jax.device_put([_matched_luminance(style, brightness) for style in styles]),
        lambda image: with_luminance(content, luminance(image)),
    )


def match_colours(image: Image, target: Image) -> Float[np.ndarray, "_height _width 3"]:
    """The image with the mean and the covariance of another's colours.

    x → T (x − μ) + μ', clipped to [0, 1], with T the symmetric map that moves colours least:
    T = Σ^−½ (Σ^½ Σ' Σ^½)^½ Σ^−½, so that T Σ T = Σ'. Along a direction in which the image has next
    to no colour, such as any but grey for a grey image, T is 0.

    Args:
        image: sRGB in [0, 1]; the colours are matched as displayed, without a conversion to light.
        target: Likewise, of any size.

    Raises:
        ConfigError: One is no such image.

    Example:
        >>> style = match_colours(painting, photograph)

    References:
        Gatys et al. (arXiv 1606.05897), section 3.1, with the map of optimal transport between
        Gaussians in place of the one by principal components.
    """
    check_image("image to be recoloured", image)
    check_image("target", target)
    mean, covariance = _moments(image)
    wanted_mean, wanted_covariance = _moments(target)
    root, inverse_root = _root(covariance), _inverse_root(covariance)
    transport = inverse_root @ _root(root @ wanted_covariance @ root) @ inverse_root
    moved = (np.asarray(image, np.float64) - mean) @ transport + wanted_mean
    return np.clip(moved, 0, 1).astype(np.float32)


@jax.jit
def luminance(image: Float[Array, "height width 3"]) -> Float[Array, "height width 1"]:
    """Y = 0.299 R + 0.587 G + 0.114 B."""
    red, green, blue = (
        weight * image[..., channel : channel + 1] for channel, weight in enumerate(LUMINANCE)
    )
    return red + green + blue


@jax.jit
def in_luminance(image: Float[Array, "height width 3"]) -> Float[Array, "height width 3"]:
    """The image in grey: its luminance as red, green and blue."""
    return jnp.broadcast_to(jnp.clip(luminance(image), 0, 1), image.shape)


@jax.jit
def with_luminance(
    image: Float[Array, "height width 3"], brightness: Float[Array, "height width 1"]
) -> Float[Array, "height width 3"]:
    """The image with another luminance, and the differences of its colours from it as they are.

    Where that leaves [0, 1], those differences shrink together, which keeps the hue.

    Args:
        image: sRGB in [0, 1].
        brightness: The luminance, in [0, 1].

    Example:
        >>> flat = with_luminance(image, jnp.full((*image.shape[:2], 1), 0.5))
    """
    chroma = image - luminance(image)
    room = jnp.where(chroma > 0, 1 - brightness, brightness)
    fitting = jnp.where(chroma == 0, 1, room / jnp.where(chroma == 0, 1, jnp.abs(chroma)))
    share = jnp.clip(jnp.min(fitting, axis=-1, keepdims=True), 0, 1)
    return jnp.clip(brightness + share * chroma, 0, 1)


def _matched_luminance(style: Array, wanted: Array) -> np.ndarray:
    """The style in grey, with the mean and the standard deviation of a luminance."""
    found, aim = (np.asarray(values, np.float64) for values in (luminance(style), wanted))
    gain = aim.std() / max(found.std(), 1e-6)
    moved = np.clip((found - found.mean()) * gain + aim.mean(), 0, 1)
    return np.repeat(moved.astype(np.float32), 3, axis=-1)


def _moments(image: Image) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.asarray(image, np.float64).reshape(-1, 3)
    return pixels.mean(0), np.cov(pixels, rowvar=False, bias=True)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _inverse_root(matrix: np.ndarray) -> np.ndarray:
    """That of its inverse, and 0 along directions of next to no spread."""
    values, vectors = np.linalg.eigh(matrix)
    is_there = values > _LEAST_SPREAD * max(values[-1], np.finfo(float).tiny)
    return (vectors * np.where(is_there, np.maximum(values, 1e-300) ** -0.5, 0)) @ vectors.T
