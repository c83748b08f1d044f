"""Files are written whole or not at all, and known by what they hold."""

import contextlib
import hashlib
import os
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a name beside `path` to write to, so that `path` is written whole or not at all.

    The file is moved to `path` at the end, or removed if writing it fails.

    What is moved is on the disk: `path` is the old file or the new one, whole, even if the machine
    loses power.

    Args:
        path: The file to be; its folder is made if it is missing.

    Raises:
        OSError: The folder cannot be made, or the file not be written or moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{_prefix(path)}{uuid.uuid4().hex}.partial")
    try:
        yield partial
        _flush(partial)
        partial.replace(path)
        _flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(path: Path) -> None:
    """Removes what writers of `path` left behind that were killed; none may be writing it."""
    for partial in path.parent.glob(f"{_prefix(path)}*.partial"):
        partial.unlink(missing_ok=True)


def hash_of(path: Path) -> str:
    """SHA-256 of what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _prefix(path: Path) -> str:
    # Not the name itself, which may be as long as a name can be.
    return f".{zlib.crc32(os.fsencode(path.name)):08x}-"


def _flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except PermissionError:  # Windows opens no folder
            return
        stack.callback(os.close, descriptor)
        os.fsync(descriptor)
