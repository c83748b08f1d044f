"""Masks as image files: white or opaque is 1, black or transparent is 0, and soft edges stay."""

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from nst_jax.files.images import MAX_PIXELS, ImageError, decode_file

_ASPECT = 0.02  # how far the aspect ratios of two images may be apart that show the same

_LEAST_WHITE = 32  # of 255: masks of numbers 0 and 1 are meant otherwise than they would be read


def read_mask(
    path: str | os.PathLike[str], shape: tuple[int, int], *, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Reads a mask: white, or opaque, is 1; soft edges are kept.

    Args:
        path: An image; where parts of it are transparent, its opacity counts, else its brightness.
        shape: Height and width of the result, to which the pixels are averaged.
        max_pixels: As in `read_image`.

    Returns:
        (height, width) float32 in [0, 1].

    Raises:
        ImageError: As `read_image`, or the mask has another aspect ratio than `shape`, or is
            black or next to it.
    """
    image, notes, alpha = decode_file(path, max_pixels)
    check_aspect(path, (image.height, image.width), shape)
    mask = alpha or image.convert("L")
    brightest = int(np.max(np.asarray(mask)))
    if brightest < _LEAST_WHITE:
        told = f" ({'; '.join(notes)})" if notes else ""
        raise ImageError(
            f"{path}: the brightest of the mask is {brightest} of 255, which is next to "
            f"nothing{told}; paint white what it is of"
        )
    return average(mask, shape)


def read_alpha(
    path: str | os.PathLike[str], shape: tuple[int, int], *, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Reads how opaque an image is.

    Args:
        path: The image.
        shape: As in `read_mask`.
        max_pixels: As in `read_image`.

    Returns:
        (height, width) float32 in [0, 1].

    Raises:
        ImageError: As `read_image`, or the image is opaque.
    """
    alpha = decode_file(path, max_pixels).alpha
    if alpha is None:
        raise ImageError(
            f"{path}: has no transparent parts that could be kept; leave --keep-alpha out"
        )
    return average(alpha, shape)


def check_aspect(
    path: str | os.PathLike[str], found: tuple[int, int], shape: tuple[int, int]
) -> None:
    """Makes sure that a mask of the height and width `found` fits a picture of those of `shape`.

    Raises:
        ImageError: It does not.
    """
    height, width = shape
    if not has_aspect(found, shape):
        raise ImageError(
            f"{path}: is {found[1]} × {found[0]} pixels, its picture {width} × {height}; "
            "make the mask of the picture's aspect ratio"
        )


def has_aspect(found: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether an image of the height and width `found` comes to those of `shape` unsqueezed."""
    height, width = shape[:2]
    # A side of the picture was rounded to whole pixels.
    return abs(found[1] / found[0] * height - width) <= max(_ASPECT * width, 1)


def average(mask: Image.Image, shape: tuple[int, int]) -> np.ndarray:
    """A mask of 8 bits at another height and width, as shares, (height, width) float32 in [0, 1].

    Each pixel is the mean of those that it covers.
    """
    resized = mask.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.asarray(resized, np.float32) / 255
