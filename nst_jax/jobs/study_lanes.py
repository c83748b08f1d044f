"""The lanes that lie in the folder of a study: compared with those that are asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nst_jax.checks import ConfigError
from nst_jax.files.images import ImageError, read_result
from nst_jax.jobs.outputs import OVERWRITE_FOLDER, WEIGHTS_FOUND
from nst_jax.jobs.record import LaneRecord, StudyRecord
from nst_jax.jobs.record_files import first_difference, plain, read_record, write_record
from nst_jax.jobs.study_folder import StudyFolder


def lanes_by_new_names(
    folder: StudyFolder, names: Sequence[str], settings: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Lanes of a study that grows an axis, which go by other names from now on.

    Args:
        folder: The study's.
        names: The names of its lanes now.
        settings: Their settings, as plain values.

    Returns:
        The new name by the old one.

    Raises:
        ConfigError: It holds a lane that is none of these.
    """
    if not folder.record.exists():
        return {}
    renamed: dict[str, str] = {}
    there = read_record(folder.record, StudyRecord, OVERWRITE_FOLDER)
    for name in sorted(set(there.lanes) - set(names)):
        if not folder.lane_record(name).exists() and not folder.lane_image(name).exists():
            continue  # it has its new name already
        found = read_record(folder.lane_record(name), LaneRecord, OVERWRITE_FOLDER)
        same = (
            new
            for new, own in zip(names, settings, strict=True)
            if not folder.lane_record(new).exists()
            and first_difference(own, plain(found.settings), _found_in(own)) is None
        )
        new = next(same, None)
        if new is None:
            raise ConfigError(
                f"{folder.path}: holds a study with other lanes ({name}); {OVERWRITE_FOLDER}"
            )
        renamed[name] = new
    return renamed


def rename_lane(folder: StudyFolder, old: str, new: str, coordinates: Mapping[str, str]) -> None:
    """Gives a lane another name and place among the axes.

    A command that is killed in between leaves a lane to be painted again.

    Args:
        folder: The study's.
        old: Its name until now.
        new: Its name from now on.
        coordinates: As in its record.
    """
    record = read_record(folder.lane_record(old), LaneRecord, OVERWRITE_FOLDER)
    image = folder.lane_image(new)
    if folder.lane_image(old).exists():
        folder.lane_image(old).replace(image)
    moved = msgspec.structs.replace(record, output=image.name, coordinates=dict(coordinates))
    write_record(folder.lane_record(new), moved)
    folder.lane_record(old).unlink()


def _found_in(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a lane's settings, those that were found when it began."""
    return (WEIGHTS_FOUND,) if settings["balance"] else ()


def is_lane_finished(folder: StudyFolder, name: str, settings: Mapping[str, Any]) -> bool:
    """Whether a lane is there, whole.

    Args:
        folder: The study's.
        name: The lane's.
        settings: Its settings, as plain values.

    Raises:
        ConfigError: Another lane is there under its name.
    """
    path = folder.lane_record(name)
    if not path.exists():
        return False
    record = read_record(path, LaneRecord, OVERWRITE_FOLDER)
    differing = first_difference(settings, plain(record.settings), _found_in(settings))
    if differing is not None:
        raise ConfigError(
            f"{folder.path}: holds a study of other settings ({differing} differs at {name}); "
            f"{OVERWRITE_FOLDER}"
        )
    if record.best_loss is not None:
        try:
            read_result(folder.lane_image(name))
        except ImageError:  # missing or damaged; it is painted again
            return False
    return True
