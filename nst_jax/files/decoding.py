"""An image file's pixels: decoded by Pillow within a bound, and brought to upright 8-bit sRGB.

Nothing that threads share is touched, neither Pillow's own bound on pixels nor Python's filters of
warnings, so that any number of threads may decode at once, each within a bound of its own.
"""

import io
import struct
import types
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

LEAST_SIDE = 16
"""The least height and width of an image: conv5_1 lies behind four halvings."""

# Pillow would open others by running other programs (EPS), and each is more code that a hostile
# file can reach.
_PLUGINS = (
    PngImagePlugin.PngImageFile,
    JpegImagePlugin.JpegImageFile,
    WebPImagePlugin.WebPImageFile,
    TiffImagePlugin.TiffImageFile,
    GifImagePlugin.GifImageFile,
    BmpImagePlugin.BmpImageFile,
)

_DARK = 65535 // 8
"""The brightest value of 16 bits up to which an image is called dark; one of 13 bits has no
more."""

_SRGB = ImageCms.createProfile("sRGB")


def _srgb_profile() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(_SRGB).tobytes())
    # The time of its making, in place of which all files have the day that ICC.1:2010 is of.
    profile[24:36] = struct.pack(">6H", 2010, 12, 1, 0, 0, 0)
    return bytes(profile)


SRGB_PROFILE = _srgb_profile()
"""The ICC profile of sRGB, the same bytes each time, which written images carry."""


class ImageError(ValueError):
    """An image cannot be read or written; the message says which, what is wrong, and what to do."""


class Decoded(NamedTuple):
    """An image as it was decoded.

    Args:
        image: RGB of 8 bits, sRGB, upright.
        notes: What the user should know of it, a line each.
        alpha: How opaque each pixel is, of 8 bits; None where all are.
    """

    image: Image.Image
    notes: list[str]
    alpha: Image.Image | None


def decode(file: BinaryIO, name: str, max_pixels: int) -> Decoded:
    """Decodes an image file of a known format.

    Args:
        file: The file, open for reading, which stays open.
        name: What messages call it.
        max_pixels: An image of more is not decoded.

    Raises:
        ImageError: The image is too small, or holds values that mean nothing.
        PIL.Image.DecompressionBombError: It has more pixels.
        PIL.UnidentifiedImageError: It is of no known format.
        Exception: Whatever a decoder throws at damaged input.
    """
    notes: list[str] = []
    with open_image(file, max_pixels) as image:
        if min(image.size) < LEAST_SIDE:
            raise ImageError(
                f"{name}: {image.width} × {image.height} pixels is too small; each side "
                f"must be at least {LEAST_SIDE}"
            )
        # a camera's MPO has previews
        if image.format != "MPO" and getattr(image, "is_animated", False):
            notes.append(f"{name}: of its several frames, the first was taken")
        raw_modes = (
            " ".join(str(tile[3]) for tile in image.tile) if image.format in ("PNG", "TIFF") else ""
        )
        image.load()
        upright = ImageOps.exif_transpose(image)
    image, alpha = _to_srgb(upright, raw_modes, name, notes)
    return Decoded(image, notes, alpha)


def open_image(file: BinaryIO, max_pixels: int) -> ImageFile.ImageFile:
    """What `PIL.Image.open` does, but with another bound than the one that all threads share.

    Raises:
        PIL.Image.DecompressionBombError: It has more pixels.
        PIL.UnidentifiedImageError: It is of no known format.
    """

    def check(size: tuple[int, int], *, error_only: bool = False) -> None:
        if size[0] * size[1] > max_pixels:
            raise Image.DecompressionBombError

    prefix = file.read(16)
    for plugin in _PLUGINS:
        factory, accept = Image.OPEN[str(plugin.format)]
        accepted = accept is None or accept(prefix)
        # a text says why this Pillow lacks the format
        if not accepted or isinstance(accepted, str):
            continue
        file.seek(0)
        try:
            # Without a name Pillow maps no memory of the file, which would keep it open.
            image = _bounded(factory, check)(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # so plugins say "not mine"
            continue
        check(image.size)
        return image
    raise UnidentifiedImageError


def _bounded(factory: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    """The plugin with `check` where it would ask Pillow's own bound.

    Some plugins ask `Image._decompression_bomb_check` themselves, of a canvas or a frame. Their
    methods that do are copied with another `Image` in their namespace. Should a Pillow to come ask
    elsewhere, its own bound holds beside this one.
    """
    if not isinstance(factory, type):
        return factory
    methods: dict[str, Any] = {}
    for name, method in vars(factory).items():
        if (
            isinstance(method, types.FunctionType)
            and "_decompression_bomb_check" in method.__code__.co_names
        ):
            namespace = {**method.__globals__, "Image": _ImageModule(check)}
            methods[name] = types.FunctionType(
                method.__code__, namespace, name, method.__defaults__, method.__closure__
            )
    return type(factory.__name__, (factory,), methods)


class _ImageModule:
    """`PIL.Image` with another bound on pixels."""

    def __init__(self, check: Callable[..., None]) -> None:
        self._decompression_bomb_check = check

    def __getattr__(self, name: str) -> Any:
        return getattr(Image, name)


def _to_srgb(
    image: Image.Image, raw_modes: str, name: str, notes: list[str]
) -> tuple[Image.Image, Image.Image | None]:
    """The image as 8-bit sRGB without transparency, and its transparency."""
    alpha = None
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _from_deep_grey(image, name, notes)
    elif ";16" in raw_modes:
        image = _from_deep_colour(image, raw_modes, name, notes)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        layer = image.convert("RGBA")
        if np.asarray(layer.getchannel("A")).min() < 255:
            alpha = layer.getchannel("A")
            notes.append(f"{name}: transparent parts were laid over white")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer).convert(
            "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
        )
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    if profile and profile != SRGB_PROFILE:
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, embedded, _SRGB, outputMode="RGB")
            return converted or image, alpha
        except (ImageCms.PyCMSError, OSError):
            notes.append(
                f"{name}: its colour profile does not fit the image, which was read as sRGB"
            )
    return image.convert("RGB"), alpha


def _from_deep_grey(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    """A greyscale image of more than 8 bits as one of 8.

    It has alpha where one of its values stands for transparency. Pillow's own conversion cuts
    instead of scaling.
    """
    values = np.asarray(image, np.float64)
    if not np.all(np.isfinite(values)):
        raise ImageError(f"{name}: holds values that are not finite; save it again")
    most = values.max(initial=0)
    if values.min(initial=0) < 0 or most > 65535:
        raise ImageError(
            f"{name}: holds values from {values.min():g} to {most:g}; bring them to 0–1 "
            "or 0–65535, and save it again"
        )
    # Numbers with a point are of the range that they fill; up to twice white, highlights are cut.
    white = 65535 if image.mode != "F" or most > 255 else 255 if most > 2 else 1
    if white == 65535:
        _note_darkness(name, f"{most:g}", most, notes)
    grey = Image.fromarray(np.round(np.clip(values / white, 0, 1) * 255).astype(np.uint8))
    if isinstance(transparent := image.info.get("transparency"), int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _from_deep_colour(
    image: Image.Image, raw_modes: str, name: str, notes: list[str]
) -> Image.Image:
    """An image of 16 bits a channel, of which Pillow has kept the upper 8, as one of 8 bits."""
    grey_and_alpha = "LA;16" in raw_modes and image.mode == "RGBA"
    if isinstance(transparent := image.info.get("transparency"), tuple):
        # Still of 16 bits; of the image's pixels, the lower 8 are gone.
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    if image.mode in ("RGB", "RGBA"):
        brightest = int(np.asarray(image.convert("RGB")).max())
        _note_darkness(name, f"at most {brightest * 256 + 255}", brightest * 256, notes)
    return image.convert("LA") if grey_and_alpha else image


def _note_darkness(name: str, what: str, brightest: float, notes: list[str]) -> None:
    if 0 < brightest <= _DARK:
        notes.append(
            f"{name}: its brightest value is {what} of 65535, so it is dark; "
            "if fewer than 16 bits of its file are used, scale its values up to 65535 first"
        )
