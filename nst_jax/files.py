"""Files are written whole or not at all."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a name beside `path` to write to; the file is moved to `path` at the end, or removed if writing it fails.

    Args:
        path: The file to be; its folder is made if it is missing.

    Raises:
        OSError: The folder cannot be made, or the file not be written or moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
