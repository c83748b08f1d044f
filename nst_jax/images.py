"""Image files: read, resized, written. The only module that knows Pillow."""

import contextlib
import io
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from nst_jax.files import whole_file

PixelArray = np.ndarray
"""(height, width, 3) float32 sRGB in [0, 1]."""

OUTPUT_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""The format that each ending of an output's name stands for."""

INPUT_ENDINGS = frozenset({*OUTPUT_FORMATS, ".gif", ".bmp"})
"""The endings by which images are known in a folder; of a file that is named, its content decides."""

# Pillow would open others by running other programs (EPS), and each is more code that a hostile file can reach.
_INPUT_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")

_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}
MAX_PIXELS = 178_000_000
"""The most pixels that an image is decoded with or brought to, unless told otherwise."""

LEAST_SIDE = 16
"""The least height and width of an image: conv5_1 lies behind four halvings."""

_SRGB = ImageCms.createProfile("sRGB")


class ImageError(ValueError):
    """An image cannot be read or written; the message says which, what is wrong, and what to do."""


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

    Orientation marks are applied and embedded colour profiles converted to sRGB. Transparency is laid over white, and of several frames the
    first is taken; both draw a warning. Palette, greyscale, CMYK and 16-bit images are taken. The aspect ratio is kept unless `shape` says
    otherwise.

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
        ImageError: The file is missing, damaged, no image, too large to decode safely, or smaller than 16 pixels a side, before or after.
    """
    for name, sides in (("size", [size]), ("rows", [rows]), ("shape", shape or [])):
        for side in sides:
            if side is not None and side < LEAST_SIDE:
                raise ImageError(f"{name} is {side}; it must be at least {LEAST_SIDE} pixels, which VGG's poolings need")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe can be read but once, and its hash is wanted too
        raise ImageError(f"{path}: cannot be read, for it is no file; give the path of an image")
    try:
        with _bounded(max_pixels):
            image = Image.open(path, formats=_INPUT_FORMATS)
            if image.width * image.height > max_pixels:
                raise Image.DecompressionBombError
            if min(image.size) < LEAST_SIDE:
                raise ImageError(f"{path}: {image.width} × {image.height} pixels is too small; each side must be at least {LEAST_SIDE}")
            has_frames = image.format != "MPO" and getattr(image, "is_animated", False)  # a camera's MPO has previews
            image.load()
            image = _to_srgb(ImageOps.exif_transpose(image), str(path))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: has more than {max_pixels:,} pixels; make it smaller first, or allow more (--max-pixels)") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not an image in a known format; use PNG, JPEG, WebP or TIFF") from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise ImageError(f"{path}: cannot be read ({reason}); check the path, or save the image again if it is damaged") from error
    except Exception as error:  # whatever a decoder throws at damaged input
        raise ImageError(f"{path}: damaged image ({' '.join(str(error).split())}); save it again") from error
    if has_frames:
        warnings.warn(f"{path}: of its several frames, the first was taken", stacklevel=2)
    if size:
        factor = size / max(image.size)
        shape = max(round(image.height * factor), 1), max(round(image.width * factor), 1)
    elif rows:
        shape = rows, int(image.width * rows / image.height)
    if shape and shape[0] * shape[1] > max_pixels:
        raise ImageError(f"{path}: would be {shape[1]} × {shape[0]}, more than {max_pixels:,} pixels; take a smaller --size")
    if shape and min(shape) < LEAST_SIDE:
        raise ImageError(f"{path}: would be {shape[1]} × {shape[0]} pixels; each side must be at least {LEAST_SIDE}, so take a larger --size")
    if shape and shape != (image.height, image.width):
        image = image.resize((shape[1], shape[0]), _FILTERS[resample])
    return np.asarray(image, np.float32) / 255


@contextlib.contextmanager
def _bounded(max_pixels: int) -> Iterator[None]:
    """Has Pillow refuse nothing that the bound allows; it warns from its own bound, and refuses from twice that."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _to_srgb(image: Image.Image, name: str) -> Image.Image:
    """The image as 8-bit sRGB without transparency."""
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep_grey(image, name)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        layer = image.convert("RGBA")
        if np.asarray(layer.getchannel("A")).min() < 255:
            warnings.warn(f"{name}: transparent parts were laid over white", stacklevel=3)
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer).convert("L" if image.mode in ("LA", "La") else "RGB")
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    if profile:
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(image, embedded, _SRGB, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError):
            warnings.warn(f"{name}: its colour profile does not fit the image, which was read as sRGB", stacklevel=3)
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image, name: str) -> Image.Image:
    """A greyscale image of more than 8 bits; Pillow's own conversion would cut instead of scale."""
    grey = np.asarray(image, np.float64)
    if not np.all(np.isfinite(grey)):
        raise ImageError(f"{name}: holds values that are not finite; save it again")
    most = grey.max(initial=0)
    if grey.min(initial=0) < 0 or most > 65535:
        raise ImageError(f"{name}: holds values from {grey.min():g} to {most:g}; bring them to 0–1 or 0–65535, and save it again")
    if image.mode != "F":
        grey = grey / 65535
    elif most > 2:  # up to twice white, highlights are cut
        grey = grey / (65535 if most > 255 else 255)
    return Image.fromarray(np.round(np.clip(grey, 0, 1) * 255).astype(np.uint8)).convert("RGB")


def check_output(path: str | os.PathLike[str]) -> None:
    """Makes sure, before any work is done, that an image can be written to `path`.

    Raises:
        ImageError: Its ending stands for no format, or its folder cannot be made or written.
    """
    path = Path(path)
    if path.suffix.lower() not in OUTPUT_FORMATS:
        raise ImageError(f"{path}: the output's name must end in {', '.join(OUTPUT_FORMATS)}")
    try:
        exists = path.exists()
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror}); choose another place for the output") from error
    if path.is_dir():
        raise ImageError(f"{path}: is a folder; give the name of a file in it")
    # Only the nearest folder that exists is asked, so that a run that fails later leaves no empty folders behind.
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK) or (exists and not os.access(path, os.W_OK)):
        raise ImageError(f"{path}: cannot be written; choose another place for the output")


def write_image(path: str | os.PathLike[str], image: PixelArray, metadata: Mapping[str, str] | None = None) -> None:
    """Writes an image in the format of the name's ending, whole or not at all.

    Args:
        path: The file; a missing folder is made.
        image: (height, width, 3), sRGB; values outside [0, 1] are clipped.
        metadata: Texts by keyword, kept in a PNG; the other formats drop them.

    Raises:
        ImageError: The ending stands for no format, the image is not finite, or the file cannot be written.
    """
    check_output(path)
    path = Path(path)
    if not np.all(np.isfinite(image)):
        raise ImageError(f"{path}: the image to write holds values that are not finite; nothing was written")
    pixels = np.round(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8)
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
            Image.fromarray(pixels).save(partial, file_format, **options)
    except (OSError, ValueError) as error:  # a ValueError where a format cannot hold so large an image
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path}: cannot be written ({reason}); choose another place for the output") from error


def make_sheet(images: Sequence[PixelArray], height: int | None = None, gap: int = 8) -> PixelArray:
    """Images side by side on white, brought to one height.

    Args:
        images: Each (height, width, 3) in [0, 1].
        height: Of the sheet in pixels; the last image's if left out.
        gap: Pixels between two images.
    """
    tall: int = height or images[-1].shape[0]
    columns = []
    for image in images:
        pixels = Image.fromarray(np.round(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8))
        width = max(math.floor(pixels.width * tall / pixels.height + 0.5), 1)
        columns += [np.ones((tall, gap, 3), np.float32), np.asarray(pixels.resize((width, tall), _FILTERS["lanczos"]), np.float32) / 255]
    return np.concatenate(columns[1:], axis=1)


def make_thumbnail(image: PixelArray, size: int) -> bytes:
    """The image as a WebP of a few kilobytes, at most `size` pixels a side.

    Args:
        image: (height, width, 3) in [0, 1].
        size: Longest side in pixels; a smaller image is not enlarged.
    """
    pixels = Image.fromarray(np.round(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8))
    pixels.thumbnail((size, size), _FILTERS["lanczos"])
    stream = io.BytesIO()
    pixels.save(stream, "WEBP", quality=60, method=6)
    return stream.getvalue()
