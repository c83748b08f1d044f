"""A file is written beside its place, and moved there when it is whole."""

import contextlib
import os
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Gives a name beside `path` to write to, which is moved to `path`, or removed at an error.

    Whoever reads `path` meanwhile sees the old file or the new one.

    Args:
        path: The file to be, in a folder that is there.

    Raises:
        OSError: The file cannot be moved.
    """
    draft = path.with_name(f"{_prefix(path)}{uuid.uuid4().hex}.partial")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(path: Path) -> None:
    """Removes what writers of `path` left behind that were killed; none may be writing it."""
    for draft in path.parent.glob(f"{_prefix(path)}*.partial"):
        draft.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    # Not the name itself, which may be as long as a name can be.
    return f".{zlib.crc32(os.fsencode(path.name)):08x}-"
