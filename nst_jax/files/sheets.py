"""Several images side by side, and small ones."""

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from nst_jax.checks import ConfigError
from nst_jax.files.images import PixelArray
from nst_jax.pixels import check_image

_LANCZOS = Image.Resampling.LANCZOS


def make_sheet(images: Sequence[ArrayLike], height: int | None = None, gap: int = 8) -> PixelArray:
    """Images side by side on white, brought to one height.

    Args:
        images: Each (height, width, 3) of floating-point sRGB in [0, 1]; at least one.
        height: Of the sheet in pixels; the last image's if left out.
        gap: Pixels between two images.

    Raises:
        ConfigError: One is not such an image, or there is none.

    Example:
        >>> write_image("sheet.png", make_sheet([content, style]))
    """
    if len(images) == 0:
        raise ConfigError("there are no images for the sheet; give at least one")
    pictures = [_to_pillow("sheet's", image) for image in images]
    tall: int = height or pictures[-1].height
    columns = []
    for pixels in pictures:
        width = max(math.floor(pixels.width * tall / pixels.height + 0.5), 1)
        columns += [
            np.ones((tall, gap, 3), np.float32),
            np.asarray(pixels.resize((width, tall), _LANCZOS), np.float32) / 255,
        ]
    return np.concatenate(columns[1:], axis=1)


def make_thumbnail(image: PixelArray, size: int, *, quality: int = 60, effort: int = 6) -> bytes:
    """The image as a WebP of a few kilobytes, at most `size` pixels a side.

    Args:
        image: (height, width, 3) of floating-point sRGB in [0, 1].
        size: Longest side in pixels; a smaller image is not enlarged.
        quality: 1 to 100.
        effort: 0 to 6, of which the last takes four times as long as the first.

    Raises:
        ConfigError: It is not such an image.
    """
    pixels = _to_pillow("thumbnail's", image)
    pixels.thumbnail((size, size), _LANCZOS)
    stream = io.BytesIO()
    pixels.save(stream, "WEBP", quality=quality, method=effort)
    return stream.getvalue()


def _to_pillow(name: str, image: ArrayLike) -> Image.Image:
    check_image(name, image)
    return Image.fromarray(
        np.round(np.clip(np.asarray(image, np.float32), 0, 1) * 255).astype(np.uint8)
    )
