"""Where in the folder of a study things lie, and what they are called."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nst_jax.checks import ConfigError
from nst_jax.study.grid import Grid
from nst_jax.study.result import StudyResult

_LONGEST_NAME = 160  # in bytes; file systems take 255, and endings come on top


def lane_names(grid: Grid | StudyResult) -> tuple[str, ...]:
    """For each lane a name that can be a file's.

    Raises:
        ConfigError: Two would have the same, on some disk.
    """
    texts = (
        ",".join(f"{axis}={label}" for axis, label in coordinates.items())
        for coordinates in grid.coordinates
    )
    names = tuple(file_name(text or "lane") for text in texts)
    if len({name.casefold() for name in names}) < len(names):
        raise ConfigError(
            "two lanes would have the same file name; rename the images, the sets of "
            "layer weights or the losses"
        )
    return names


def file_name(text: str) -> str:
    """The text as a name that every file system takes, shortened where it is too long."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", text)
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{name.encode()[: _LONGEST_NAME - 13].decode(errors='ignore')}~{digest}"


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study.

    Args:
        path: Where it is.
    """

    path: Path

    @property
    def record(self) -> Path:
        """The record of the study."""
        return self.path / "study.json"

    @property
    def report(self) -> tuple[Path, ...]:
        """What the report is made of, beside the record."""
        names = ("index.html", "lanes.csv", "contact_sheet.png", "losses.png")
        return tuple(self.path / name for name in names)

    @property
    def lock(self) -> Path:
        """What a command holds while it writes the study."""
        return self.path / ".study.lock"

    def lane_record(self, name: str) -> Path:
        """The record of a lane."""
        return self.path / "lanes" / f"{name}.json"

    def lane_image(self, name: str) -> Path:
        """The picture of a lane."""
        return self.path / "lanes" / f"{name}.png"

    def copy(self, kind: str, name: str) -> Path:
        """Where a content or style image is kept as it was read."""
        return self.path / f"{file_name(f'{kind}_{name}')}.png"

    def checkpoint(self, process: int) -> Path:
        """The checkpoint of the lanes that a process runs."""
        return self.path / f".process_{process}.checkpoint"

    def checkpoints(self) -> Iterator[Path]:
        """Those of all processes, as far as they are there, with the ones before them."""
        return self.path.glob(".process_*.checkpoint*")

    def leftovers(self) -> Iterator[Path]:
        """What a process that was killed left half written."""
        for folder in (self.path, self.path / "lanes"):
            yield from folder.glob(".*.partial")
