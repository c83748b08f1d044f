"""What is passed on says nothing of the folders of the machine that it was made on."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def without_folder(word: str) -> str:
    """A word of a command, or a path; of an absolute path its last name alone."""
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{Path(value).name}" if Path(value).is_absolute() else word


def shareable(value: Any, folder: Path | None = None) -> Any:
    """Plain values without absolute paths.

    Args:
        value: Plain values, in which a `path` is one.
        folder: Where they are written: files that lie near are named as seen from there, others by
            their last names alone. Without one, all are.
    """
    if isinstance(value, Mapping):
        return {
            name: _named(inner, folder)
            if name == "path" and isinstance(inner, str)
            else shareable(inner, folder)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [shareable(inner, folder) for inner in value]
    return value


def _named(path: str, folder: Path | None) -> str:
    if folder is None:
        return Path(path).name
    if not Path(path).is_absolute():
        return path
    folder = folder.absolute()
    shared = Path(os.path.commonpath([path, folder]))
    if shared in (Path(shared.anchor), *Path.home().parents):  # the rest would say whose it is
        return Path(path).name
    return os.path.relpath(path, folder)
