"""A run's state on disk: a snapshot with the settings that it belongs to.

It is written whole, and checked when read. It is an uncompressed NumPy archive, whose zip format
keeps a checksum of each array. Reading it executes nothing.
"""

import json
import logging
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nst_jax.checks import ConfigError
from nst_jax.descent.chunk import Chunk
from nst_jax.descent.snapshot import Arrays
from nst_jax.files.atomic import whole_file
from nst_jax.host.drafts import remove_drafts
from nst_jax.host.now_and_then import NowAndThen

_LOG = logging.getLogger(__name__)

_SETTINGS = "settings"


class Saved(NamedTuple):
    """What a checkpoint holds.

    Args:
        settings: What decides the run's result, as plain values.
        arrays: The snapshot.
    """

    settings: dict[str, Any]
    arrays: Arrays


class Checkpoint:
    """The checkpoint of one run.

    It keeps the last snapshot that was saved, and the one before it for when the last is damaged.

    Args:
        path: The file; the one before it has `.previous` behind its name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.previous = path.with_name(f"{path.name}.previous")

    @property
    def exists(self) -> bool:
        """Whether something was saved and not removed."""
        return self.path.exists() or self.previous.exists()

    def save(self, settings: Mapping[str, Any], arrays: Arrays) -> None:
        """Saves a snapshot; the last stays until this one is whole.

        Raises:
            OSError: It cannot be written; the last stays.
        """
        text = np.frombuffer(json.dumps(settings).encode(), np.uint8)
        with whole_file(self.path) as partial:
            with partial.open("wb") as file:
                np.savez(
                    file,
                    **{
                        _SETTINGS: text,
                        **{name: np.asarray(array) for name, array in arrays.items()},
                    },
                )
            if self.path.exists():
                self.path.replace(self.previous)

    def read(self) -> Saved | None:
        """The last snapshot that is whole, or None where there is none."""
        for path in (self.path, self.previous):
            try:
                return _read(path)
            except FileNotFoundError:
                continue
            except Exception as error:  # whatever a parser throws at damaged input
                _LOG.warning(
                    f"{path}: is damaged ({' '.join(str(error).split()) or type(error).__name__})"
                )
        return None

    def remove(self) -> None:
        """Removes what was saved, and what was left of saving."""
        remove_drafts(self.path)
        self.previous.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def _read(path: Path) -> Saved:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > path.stat().st_size:
                raise ValueError(f"{member.filename} is not as it was written")
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    settings = json.loads(arrays.pop(_SETTINGS).tobytes())
    if not isinstance(settings, dict):
        raise ValueError("its settings are none")
    return Saved(settings, arrays)


def check_checkpoint_every(seconds: float) -> None:
    """Makes sure that checkpoints can be written so often.

    Raises:
        ConfigError: They cannot.
    """
    if not 0 <= seconds < float("inf"):
        raise ConfigError(
            f"--checkpoint-every is {seconds}; it must be a number of seconds, or 0 to "
            "save only when stopped"
        )


class Saver:
    """Saves a run's chunks now and then.

    Args:
        checkpoint: Where to save.
        settings: What decides the run's result.
        every: Seconds between two saves, more where saving takes long; 0 saves only when a run is
            stopped.
    """

    def __init__(self, checkpoint: Checkpoint, settings: Mapping[str, Any], every: float) -> None:
        self._checkpoint, self._settings, self._times = checkpoint, settings, NowAndThen(every)

    def save(self, chunk: Chunk, is_last: bool = False) -> None:
        """Saves a chunk if it is time, or if it is the last before the run is stopped."""
        if not (is_last or self._times.is_time):
            return
        started = time.monotonic()
        with self._times.timed():
            try:
                self._checkpoint.save(self._settings, chunk.snapshot())
            except OSError as error:
                _LOG.warning(
                    f"{self._checkpoint.path}: cannot be written "
                    f"({error.strerror or error}); the run goes on, make room"
                )
        _LOG.debug("saved %s in %.1f s", self._checkpoint.path, time.monotonic() - started)
