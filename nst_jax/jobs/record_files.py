"""Records as files: read, written and compared."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from nst_jax.checks import ConfigError
from nst_jax.files.atomic import whole_file
from nst_jax.files.images import ImageError
from nst_jax.files.metadata import read_texts
from nst_jax.jobs.record import (
    LaneRecord,
    LaneSettings,
    Part,
    RunRecord,
    RunSettings,
    StudyRecord,
)
from nst_jax.jobs.sharing import shareable

Record = RunRecord | LaneRecord | StudyRecord
R = TypeVar("R", RunRecord, LaneRecord, StudyRecord)
S = TypeVar("S", bound=Part)

SETTINGS_KEYWORD = "nst_jax"
"""Where among the texts in a picture its settings are."""


def plain(part: Part) -> dict[str, Any]:
    """A record, or a part of one, as plain values for JSON."""
    return msgspec.to_builtins(part, enc_hook=lambda number: np.asarray(number).tolist())


def write_record(path: Path, record: Record) -> None:
    """Writes a record as JSON, whole or not at all.

    Raises:
        ImageError: It cannot be written.
    """
    try:
        with whole_file(path) as partial:
            told = shareable(plain(record), path.parent)
            partial.write_text(json.dumps(told, indent=1) + "\n")
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place "
            "for the output"
        ) from error


def read_record(path: Path, kind: type[R], advice: str) -> R:
    """Reads a record of the kind that is wanted.

    Args:
        path: The file.
        kind: The class of the record.
        advice: What the user is to do where the file holds no such record.

    Returns:
        The record, every field of which is there and of its type.

    Raises:
        ConfigError: The file cannot be read, or is not such a record; the message says which place
            in it is not as expected.
    """
    return _as_record(path, kind, _read(path, kind.KIND, advice), advice)


def read_any_record(path: Path, advice: str) -> Record:
    """Reads a record of any kind: its keys say which it is of.

    Args:
        path: The file.
        advice: As in `read_record`.

    Raises:
        ConfigError: As in `read_record`.
    """
    given = _read(path, "a result", advice)
    names: Collection[Any] = given if isinstance(given, dict) else ()
    if "lanes" in names:
        return _as_record(path, StudyRecord, given, advice)
    if "lane" in names:
        return _as_record(path, LaneRecord, given, advice)
    return _as_record(path, RunRecord, given, advice)


def read_picture_settings(path: Path) -> RunSettings | LaneSettings:
    """The settings in a picture that a run or a study has written.

    Raises:
        ConfigError: It has none.
        ImageError: It is no picture.
    """
    advice = "name a picture as it was written, or the .json beside it"
    try:
        given = json.loads(read_texts(path)[SETTINGS_KEYWORD])
    except (KeyError, ValueError, RecursionError) as error:
        if isinstance(error, ImageError):
            raise
        raise ConfigError(f"{path}: holds no settings of nst-jax; {advice}") from error
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: holds no settings of nst-jax; {advice}")
    given.pop("iteration", None)  # of a picture on the way, whose run is made again as a whole
    if "num_devices" in given:
        return _converted(path, RunSettings, given, "a picture", advice)
    of_machine = ("versions", "device")
    of_lane = {name: value for name, value in given.items() if name not in of_machine}
    return _converted(path, LaneSettings, of_lane, "a picture", advice)


def _read(path: Path, kind: str, advice: str) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"{path}: is not the record of {kind} ({reason}); {advice}") from error


def _as_record(path: Path, kind: type[R], given: object, advice: str) -> R:
    return _converted(path, kind, given, kind.KIND, advice)


def _converted(path: Path, kind: type[S], given: object, what: str, advice: str) -> S:
    try:
        return msgspec.convert(given, kind)
    # the latter where a text that is no Unicode stands for something else
    except (msgspec.ValidationError, UnicodeError) as error:
        said, _, place = " ".join(str(error).split()).rpartition(" - at ")
        said, place = (said, place) if said else (place, "$")
        reason = f"{place}: {said[:1].lower()}{said[1:]}".replace("`", "")
        raise ConfigError(f"{path}: is not the record of {what} ({reason}); {advice}") from error


def deciding(value: Any) -> Any:
    """What of plain settings decides the result.

    Of a file, that is what it holds, not the place where it lies.
    """
    if isinstance(value, Mapping) and "sha256" in value:
        return value["sha256"]
    if isinstance(value, Mapping):
        return {name: deciding(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [deciding(inner) for inner in value]
    return value


def first_difference(
    wanted: Mapping[str, Any], found: Mapping[str, Any], no_matter: Collection[str] = ()
) -> str | None:
    """The name of the first setting that decides the result and differs, or None.

    Args:
        wanted: Plain settings.
        found: Plain settings.
        no_matter: Those that may differ.
    """
    for name in {**wanted, **found}:
        if name not in no_matter and deciding(wanted.get(name)) != deciding(found.get(name)):
            return name
    return None
