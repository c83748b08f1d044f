"""Files are written whole or not at all, and known by what they hold."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from nst_jax.host.drafts import draft_of


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """`draft_of` of a file that must not be lost.

    What is moved is on the disk: `path` is the old file or the new one, whole, even if the machine
    loses power.

    Args:
        path: The file to be; its folder is made if it is missing.

    Raises:
        OSError: The folder cannot be made, or the file not be written or moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(path) as draft:
        yield draft
        with draft.open("r+b") as file:  # to write, without which Windows does not flush
            os.fsync(file.fileno())
    _flush_names(path.parent)


def hash_of(path: Path) -> str:
    """SHA-256 of what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_names(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folder, some file systems flush none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
