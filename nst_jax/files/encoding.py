"""An image's pixels as the bytes of a file, which says in every format what its numbers mean.

Each has sRGB's colour profile. Texts lie in a PNG as such, in a TIFF as the description, and in
JPEG and WebP in EXIF's comment.
"""

import io
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from nst_jax.checks import check_at_least, check_one_of
from nst_jax.files.decoding import SRGB_PROFILE
from nst_jax.files.metadata import COMMENT_PREFIX, ORIGIN

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INCH = 2  # as EXIF and TIFF number units of resolution


@dataclass(frozen=True)
class Encoding:
    """How the pixels of an image lie in a file, and what lies beside them.

    Args:
        bits: A channel's, 8 or 16.
        quality: Of JPEG and WebP, 1 to 100.
        dpi: Pixels an inch, for print; unsaid if left out.
        metadata: Texts, or plain values as JSON, by keyword.
        origin: Of the photograph, as `read_origin` gives it.

    Raises:
        ConfigError: No image can be written so.
    """

    bits: int = 8
    quality: int = 95
    dpi: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_one_of("bits", self.bits, (8, 16))
        check_at_least("quality", self.quality, 1, 100)
        if self.dpi is not None:
            check_at_least("dpi", self.dpi, 1, 65535)


def encode(image: np.ndarray, alpha: np.ndarray | None, file_format: str, how: Encoding) -> bytes:
    """The file of an image.

    Args:
        image: (height, width, 3) float32 in [0, 1].
        alpha: (height, width) float32 in [0, 1]; None where all is opaque.
        file_format: As Pillow calls it: PNG, JPEG, WEBP or TIFF.
        how: How its pixels lie in it.

    Raises:
        ValueError: The format cannot hold so large an image.
    """
    layers = image if alpha is None else np.concatenate([image, alpha[..., None]], axis=-1)
    most = 2**how.bits - 1
    kind = np.uint16 if how.bits == 16 else np.uint8
    pixels = np.round(np.clip(layers, 0, 1) * most).astype(kind)
    return _WRITERS[file_format](pixels, how)


def _png(pixels: np.ndarray, how: Encoding) -> bytes:
    texts = PngImagePlugin.PngInfo()
    for keyword, value in how.metadata.items():
        texts.add_text(keyword, _as_text(value))
    options: dict[str, Any] = {"pnginfo": texts} | _dpi(how)
    if how.origin:
        options["exif"] = _exif(replace(how, metadata={}))
    if how.bits == 8:
        return _saved(Image.fromarray(pixels), "PNG", **options)
    # Pillow writes no colours of 16 bits: all that lies around them is that of one pixel's file.
    mode = "RGB" if pixels.shape[-1] == 3 else "RGBA"
    around = _saved(Image.new(mode, (1, 1)), "PNG", **options)
    height, width, num_channels = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0], filtered[0, 1:] = 2, rows[0]  # "up": each row as its difference from the last
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    colour_type = 2 if num_channels == 3 else 6
    own = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0),
        b"IDAT": zlib.compress(filtered.tobytes()),
    }
    chunks = ((name, own.get(name, data)) for name, data in _png_chunks(around))
    return _PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _png_chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], len(_PNG_SIGNATURE)
    while at < len(file):
        (length,) = struct.unpack_from(">I", file, at)
        chunks.append((file[at + 4 : at + 8], file[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _jpeg(pixels: np.ndarray, how: Encoding) -> bytes:
    options = {"quality": how.quality, "subsampling": "4:4:4", "exif": _exif(how)} | _dpi(how)
    return _saved(Image.fromarray(pixels), "JPEG", **options)


def _webp(pixels: np.ndarray, how: Encoding) -> bytes:
    return _saved(Image.fromarray(pixels), "WEBP", quality=how.quality, exif=_exif(how))


def _tiff(pixels: np.ndarray, how: Encoding) -> bytes:
    import tifffile  # it takes a while to import

    software, comment = _texts(how)
    # in the first directory, as TIFF/EP has them
    tags = [(ORIGIN[name], "s", 0, text.encode(), True) for name, text in how.origin.items()]
    resolution: dict[str, Any] = {}
    if how.dpi:
        resolution = {"resolution": (how.dpi, how.dpi), "resolutionunit": _INCH}
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        pixels,
        photometric="rgb",
        extrasamples=("unassalpha",) if pixels.shape[-1] == 4 else None,
        description=comment or None,
        software=software or False,  # unsaid, or it names itself
        metadata=None,
        iccprofile=SRGB_PROFILE,
        extratags=tags,
        **resolution,
    )
    return stream.getvalue()


_WRITERS = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp, "TIFF": _tiff}


def _saved(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, file_format, icc_profile=SRGB_PROFILE, **options)
    return stream.getvalue()


def _dpi(how: Encoding) -> dict[str, tuple[int, int]]:
    return {"dpi": (how.dpi, how.dpi)} if how.dpi else {}


def _exif(how: Encoding) -> bytes:
    software, comment = _texts(how)
    exif = Image.Exif()
    if software:
        exif[ExifTags.Base.Software] = software.encode()
    if how.dpi:
        exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = how.dpi
        exif[ExifTags.Base.ResolutionUnit] = _INCH
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    for name, text in how.origin.items():
        if name == "DateTimeOriginal":  # digits, which Pillow takes as a text alone
            inner[ORIGIN[name]] = text
        else:
            exif[ORIGIN[name]] = text.encode()
    if comment:
        inner[ExifTags.Base.UserComment] = COMMENT_PREFIX + comment.encode()
    return exif.tobytes()


def _texts(how: Encoding) -> tuple[str, str]:
    """The program, which has a place of its own, and all other texts as JSON."""
    others = {name: value for name, value in how.metadata.items() if name != "Software"}
    return _as_text(how.metadata.get("Software", "")), json.dumps(others) if others else ""


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
