"""Image files: read, resized, written.

With the other modules of this folder, the only one that knows Pillow.
"""

import io
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from nst_jax.config import ConfigError
from nst_jax.files.atomic import whole_file
from nst_jax.files.decoding import LEAST_SIDE, Decoded, ImageError, decode
from nst_jax.pixels import check_image

PixelArray = np.ndarray
"""(height, width, 3) float32 sRGB in [0, 1]."""

OUTPUT_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""The format that each ending of an output's name stands for."""

INPUT_ENDINGS = frozenset({*OUTPUT_FORMATS, ".gif", ".bmp"})
"""The endings by which images are known in a folder; of a file that is named, its content
decides."""

_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}
MAX_PIXELS = 178_000_000
"""The most pixels that an image is decoded with or brought to, unless told otherwise."""


def read_image(
    path: str | os.PathLike[str],
    size: int | None = None,
    *,
    shape: tuple[int, int] | None = None,
    rows: int | None = None,
    resample: Literal["lanczos", "nearest"] = "lanczos",
    max_pixels: int = MAX_PIXELS,
) -> PixelArray:
    """Reads an image file, upright, in sRGB, resized as asked.

    Orientation marks are applied and embedded colour profiles converted to sRGB. Transparency is
    laid over white, and of several frames the first is taken; both draw a warning, and so does an
    image of 16 bits that uses less than an eighth of their range. Palette, greyscale, CMYK and
    16-bit images are taken. The aspect ratio is kept unless `shape` says otherwise. Threads may
    call it at once.

    Args:
        path: The file; its content decides its format.
        size: Longest side of the result in pixels; smaller images are enlarged.
        shape: Height and width of the result.
        rows: Height of the result in pixels, its width cut to whole pixels.
        resample: `"lanczos"`, or `"nearest"` for the pixels as they are.
        max_pixels: An image of more is not decoded, nor made.

    Returns:
        (height, width, 3) float32 in [0, 1].

    Raises:
        ImageError: The file is missing, damaged, no image, too large to decode safely, or smaller
            than 16 pixels a side, before or after.
    """
    for name, sides in (("size", [size]), ("rows", [rows]), ("shape", shape or [])):
        for side in sides:
            if side is not None and side < LEAST_SIDE:
                raise ImageError(
                    f"{name} is {side}; it must be at least {LEAST_SIDE} pixels, which "
                    "VGG's poolings need"
                )
    image, notes, _ = decode_file(path, max_pixels)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    if size:
        factor = size / max(image.size)
        shape = max(round(image.height * factor), 1), max(round(image.width * factor), 1)
    elif rows:
        shape = rows, int(image.width * rows / image.height)
    if shape and shape[0] * shape[1] > max_pixels:
        raise ImageError(
            f"{path}: would be {shape[1]} × {shape[0]}, more than {max_pixels:,} pixels; "
            "take a smaller size"
        )
    if shape and min(shape) < LEAST_SIDE:
        raise ImageError(
            f"{path}: would be {shape[1]} × {shape[0]} pixels; each side must be at least "
            f"{LEAST_SIDE}, so take a larger size"
        )
    if shape and shape != (image.height, image.width):
        image = image.resize((shape[1], shape[0]), _FILTERS[resample])
    return np.asarray(image, np.float32) / 255


def decode_file(path: str | os.PathLike[str], max_pixels: int) -> Decoded:
    """The image in a file, as it is: not resized, and without a word of what is odd about it.

    Raises:
        ImageError: It cannot be read.
    """
    # a pipe can be read but once, and its hash is wanted too
    if os.path.exists(path) and not os.path.isfile(path):
        raise ImageError(f"{path}: cannot be read, for it is no file; give the path of an image")
    try:
        with open(path, "rb") as file:
            return decode(file, str(path), max_pixels)
    except (ImageError, Warning):  # a warning of Pillow's that the user has made an error
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path}: has more than {max_pixels:,} pixels; make it smaller first, or "
            "allow more (max_pixels)"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path}: not an image in a known format; use PNG, JPEG, WebP or TIFF"
        ) from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise ImageError(
            f"{path}: cannot be read ({reason}); check the path, or save the image again "
            "if it is damaged"
        ) from error
    except Exception as error:  # whatever a decoder throws at damaged input
        raise ImageError(
            f"{path}: damaged image ({' '.join(str(error).split())}); save it again"
        ) from error


def check_output(path: str | os.PathLike[str], has_alpha: bool = False) -> None:
    """Makes sure, before any work is done, that an image can be written to `path`.

    Args:
        path: The file.
        has_alpha: Whether parts of the image are to be transparent.

    Raises:
        ImageError: Its ending stands for no format, or for one without transparency where that is
            wanted, or its folder cannot be made or written.
    """
    path = Path(path)
    if path.suffix.lower() not in OUTPUT_FORMATS:
        raise ImageError(f"{path}: the output's name must end in {', '.join(OUTPUT_FORMATS)}")
    if has_alpha and OUTPUT_FORMATS[path.suffix.lower()] == "JPEG":
        raise ImageError(
            f"{path}: JPEG knows no transparency; give the output a name in .png, .webp or .tif"
        )
    check_place(path)


def check_place(path: Path) -> None:
    """Makes sure, before any work is done, that a file can be written to `path`.

    Raises:
        ImageError: It is a folder, or its folder cannot be made or written.
    """
    try:
        exists = path.exists()
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror}); choose another place for the output"
        ) from error
    if path.is_dir():
        raise ImageError(f"{path}: is a folder; give the name of a file in it")
    # Only the nearest folder that exists is asked, so that a run that fails later leaves no empty
    # folders behind.
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if (
        not folder.is_dir()
        or not os.access(folder, os.W_OK)
        or (exists and not os.access(path, os.W_OK))
    ):
        raise ImageError(f"{path}: cannot be written; choose another place for the output")


def write_image(
    path: str | os.PathLike[str],
    image: ArrayLike,
    metadata: Mapping[str, str] | None = None,
    alpha: np.ndarray | None = None,
) -> None:
    """Writes an image in the format of the name's ending, whole or not at all.

    Args:
        path: The file; a missing folder is made.
        image: (height, width, 3) of floating-point sRGB in [0, 1].
        metadata: Texts by keyword, kept in a PNG; the other formats drop them.
        alpha: How opaque each pixel is, (height, width) in [0, 1]; left out, all are. JPEG knows
            no transparency.

    Raises:
        ConfigError: The image is not such a one; nothing is written.
        ImageError: The ending stands for no format, or for one without transparency, or the file
            cannot be written.
    """
    check_output(path, alpha is not None)
    path = Path(path)
    picture = _to_pillow("output", image)
    if alpha is not None:
        picture.putalpha(Image.fromarray(np.round(np.clip(alpha, 0, 1) * 255).astype(np.uint8)))
    file_format = OUTPUT_FORMATS[path.suffix.lower()]
    options: dict[str, object] = {}
    if file_format == "PNG":
        texts = PngImagePlugin.PngInfo()
        for keyword, text in (metadata or {}).items():
            texts.add_text(keyword, text)
        options["pnginfo"] = texts
    elif file_format in ("JPEG", "WEBP"):
        options["quality"] = 95
    try:
        with whole_file(path) as partial:
            picture.save(partial, file_format, **options)
    # a ValueError where a format cannot hold so large an image
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(
            f"{path}: cannot be written ({reason}); choose another place for the output"
        ) from error


def make_sheet(images: Sequence[ArrayLike], height: int | None = None, gap: int = 8) -> PixelArray:
    """Images side by side on white, brought to one height.

    Args:
        images: Each (height, width, 3) of floating-point sRGB in [0, 1]; at least one.
        height: Of the sheet in pixels; the last image's if left out.
        gap: Pixels between two images.

    Raises:
        ConfigError: One is not such an image, or there is none.
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
            np.asarray(pixels.resize((width, tall), _FILTERS["lanczos"]), np.float32) / 255,
        ]
    return np.concatenate(columns[1:], axis=1)


def make_thumbnail(image: PixelArray, size: int) -> bytes:
    """The image as a WebP of a few kilobytes, at most `size` pixels a side.

    Args:
        image: (height, width, 3) of floating-point sRGB in [0, 1].
        size: Longest side in pixels; a smaller image is not enlarged.

    Raises:
        ConfigError: It is not such an image.
    """
    pixels = _to_pillow("thumbnail's", image)
    pixels.thumbnail((size, size), _FILTERS["lanczos"])
    stream = io.BytesIO()
    pixels.save(stream, "WEBP", quality=60, method=6)
    return stream.getvalue()


def _to_pillow(name: str, image: ArrayLike) -> Image.Image:
    check_image(name, image)
    return Image.fromarray(
        np.round(np.clip(np.asarray(image, np.float32), 0, 1) * 255).astype(np.uint8)
    )
