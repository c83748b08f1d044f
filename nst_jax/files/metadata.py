"""The texts that lie in image files beside their pixels."""

import contextlib
import json
import os
from types import MappingProxyType
from typing import Any

from PIL import ExifTags, Image

from nst_jax.files.decoding import ImageError, open_image

COMMENT_PREFIX = b"ASCII\0\0\0"
"""How EXIF's comment says which letters it is of."""

ORIGIN = MappingProxyType(
    {
        "Copyright": ExifTags.Base.Copyright,
        "Artist": ExifTags.Base.Artist,
        "DateTimeOriginal": ExifTags.Base.DateTimeOriginal,
    }
)
"""What a picture keeps of its photograph: whose it is, and when it was taken, but not where."""

_MOST_PIXELS = 2**40  # none is decoded here


def read_origin(path: str | os.PathLike[str]) -> dict[str, str]:
    """Whose a photograph is and when it was taken, as far as its file says so.

    Args:
        path: An image file.

    Returns:
        Of `Copyright`, `Artist` and `DateTimeOriginal` those that are there. The place is not read.

    Raises:
        ImageError: The file is no image.

    Example:
        >>> origin = read_origin("photo.jpg")
        >>> write_image("result.jpg", image, origin=origin)
    """
    _, exif = _read(path)
    found = {name: _letters(exif.get(tag)) for name, tag in ORIGIN.items()}
    return {name: text for name, text in found.items() if text}


def read_texts(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts by keyword that `write_image` has put in a file of any format.

    Args:
        path: An image file.

    Raises:
        ImageError: The file is no image.
    """
    texts, exif = _read(path)
    for tag in (ExifTags.Base.UserComment, ExifTags.Base.ImageDescription):
        comment = exif.get(tag)
        if isinstance(comment, bytes):
            comment = comment.removeprefix(COMMENT_PREFIX).decode("utf-8", "replace")
        try:
            given = json.loads(comment or "")
        except (ValueError, TypeError, RecursionError):  # another program's
            continue
        if isinstance(given, dict):
            texts |= {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in given.items()
            }
    if software := _letters(exif.get(ExifTags.Base.Software)):
        texts["Software"] = software
    return texts


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[int, Any]]:
    """The texts of a PNG, and what EXIF says in any format."""
    try:
        with open(path, "rb") as file, open_image(file, _MOST_PIXELS) as image:
            # A PNG's own way looks behind its pixels, which would be decoded.
            exif = image.getexif() if image.format == "TIFF" else Image.Exif()
            if image.format != "TIFF":
                exif.load(image.info.get("exif", b""))
            texts = {}
            if image.format == "PNG":
                texts = {str(k): text for k, text in image.info.items() if isinstance(text, str)}
            return texts, {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except OSError as error:
        reason = error.strerror or "it is no image in a known format"
        raise ImageError(f"{path}: cannot be read ({reason}); name a picture") from error
    except Exception:  # whatever a parser throws at damaged EXIF, which is as good as none
        return {}, {}


def _letters(value: object) -> str:
    """A text of EXIF, of which Pillow takes each byte for a letter."""
    if not isinstance(value, str):
        return ""
    with contextlib.suppress(UnicodeError):  # as other programs write them
        value = value.encode("latin-1").decode()
    return value.strip("\0 ")
