"""Image files: read, resized, written.

With the other modules of this folder, the only one that knows Pillow.
"""

import difflib
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, UnidentifiedImageError

from nst_jax.files.atomic import whole_file
from nst_jax.files.decoding import LEAST_SIDE, Decoded, ImageError, decode
from nst_jax.files.encoding import Encoding, encode
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

    Example:
        >>> read_image("photo.jpg", size=512).shape
        (512, 427, 3)
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


def read_result(path: str | os.PathLike[str]) -> PixelArray:
    """A picture of this program's own, of any size.

    What is odd about it was said when it was written.

    Raises:
        ImageError: It cannot be read.
    """
    return np.asarray(decode_file(path, sys.maxsize).image, np.float32) / 255


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
    except FileNotFoundError as error:
        raise ImageError(
            f"{path}: cannot be read ({error.strerror}); {_advice_on_missing(Path(path))}"
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


def _advice_on_missing(path: Path) -> str:
    """The file of its folder that a path is near, or where else to look."""
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, 1, 0.75)
    return f"did you mean {path.with_name(near[0])}?" if near else "check the path"


def check_output(path: str | os.PathLike[str], has_alpha: bool = False, bits: int = 8) -> None:
    """Makes sure, before any work is done, that an image can be written to `path`.

    Args:
        path: The file.
        has_alpha: Whether parts of the image are to be transparent.
        bits: A channel's.

    Raises:
        ImageError: Its ending stands for no format, or for one without transparency, or without
            that many bits, where that is wanted, or its folder cannot be made or written.
    """
    path = Path(path)
    if path.suffix.lower() not in OUTPUT_FORMATS:
        raise ImageError(f"{path}: the output's name must end in {', '.join(OUTPUT_FORMATS)}")
    if has_alpha and OUTPUT_FORMATS[path.suffix.lower()] == "JPEG":
        raise ImageError(
            f"{path}: JPEG knows no transparency; give the output a name in .png, .webp or .tif"
        )
    if bits > 8 and OUTPUT_FORMATS[path.suffix.lower()] in ("JPEG", "WEBP"):
        raise ImageError(
            f"{path}: holds 8 bits a channel, not {bits}; give the output a name in .png or .tif"
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
    metadata: Mapping[str, Any] | None = None,
    alpha: np.ndarray | None = None,
    *,
    bits: int = 8,
    quality: int = 95,
    dpi: int | None = None,
    origin: Mapping[str, str] | None = None,
) -> None:
    """Writes an image in the format of the name's ending, whole or not at all.

    Every file has sRGB's colour profile. JPEGs keep the colour of each pixel (4:4:4).

    Args:
        path: The file; a missing folder is made.
        image: (height, width, 3) of floating-point sRGB in [0, 1].
        metadata: Texts, or plain values as JSON, by keyword; `Software` is the program.
        alpha: How opaque each pixel is, (height, width) in [0, 1]; left out, all are. JPEG knows
            no transparency.
        bits: A channel's, 8, or in PNG and TIFF 16.
        quality: Of JPEG and WebP, 1 to 100.
        dpi: Pixels an inch, for print; unsaid if left out.
        origin: Whose the photograph is, as `read_origin` gives it.

    Raises:
        ConfigError: The image, or how it is to be written, is not as said; nothing is written.
        ImageError: The ending stands for no format, or for one without transparency, or without
            16 bits, or the file cannot be written.

    Example:
        >>> write_image("print.tif", np.full((32, 48, 3), 0.5), bits=16, dpi=300)
    """
    how = Encoding(bits, quality, dpi, metadata or {}, origin or {})
    check_output(path, alpha is not None, bits)
    path = Path(path)
    check_image("output", image)
    opaque = None if alpha is None else np.asarray(alpha, np.float32)
    try:
        data = encode(
            np.asarray(image, np.float32), opaque, OUTPUT_FORMATS[path.suffix.lower()], how
        )
        with whole_file(path) as partial:
            partial.write_bytes(data)
    # a ValueError where a format cannot hold so large an image
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(
            f"{path}: cannot be written ({reason}); choose another place for the output"
        ) from error
