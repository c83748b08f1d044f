"""What the folder of a study holds: which lanes are there, and of which settings."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.config import ConfigError
from nst_jax.files.images import ImageError, read_image, write_image
from nst_jax.jobs.record import deciding, describe_loss, write_record
from nst_jax.study.grid import Grid
from nst_jax.study.result import Images


def lane_names(grid: Grid) -> tuple[str, ...]:
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


def lane_settings(
    grid: Grid, index: int, common: Mapping[str, Any], inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that decides a lane's result, as plain values for JSON."""
    lane = grid.lanes[index]
    sets = (
        {}
        if lane.layer_weights is None
        else {"weights_by_layer": dict(grid.layer_weights[lane.layer_weights])}
    )
    if lane.loss is not None:
        sets |= {"terms": describe_loss(grid.losses[lane.loss])}
    own = (
        lane.settings()
        | {
            "inputs": {
                "content": inputs["content"][lane.content],
                "style": inputs["style"][lane.style],
            }
        }
        | sets
    )
    return json.loads(json.dumps({**common, **own}))


def is_finished(stem: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the lane is there, whole.

    Raises:
        ConfigError: Another lane is there under its name.
    """
    record_path, image_path = stem.parent / f"{stem.name}.json", stem.parent / f"{stem.name}.png"
    try:
        record = json.loads(record_path.read_text())
        found, has_image = dict(record["settings"]), record["best_loss"] is not None
        _check_record(record)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{record_path}: is not the record of a lane ({error}); pass --overwrite, or "
            "choose another --output-dir"
        ) from error
    for name in settings:
        if deciding(found.get(name)) != deciding(settings[name]):
            raise ConfigError(
                f"{stem.parent.parent}: holds a study of other settings "
                f"({name} differs at {stem.name}); pass --overwrite, or choose another --output-dir"
            )
    if has_image:
        try:
            read_image(image_path)
        except ImageError:  # missing or damaged; it is painted again
            return False
    return True


def _check_record(record: Mapping[str, Any]) -> None:
    """Makes sure that the report can be made of a lane's record.

    Raises:
        ValueError: It cannot.
    """
    history = record.get("history")
    mappings = [record.get(name) for name in ("coordinates", "lane", "history")]
    if isinstance(history, dict):
        mappings += [
            terms := history.get("terms"),
            *(terms.values() if isinstance(terms, dict) else ()),
        ]
    lists = [history.get(name) for name in ("size", "loss")] if isinstance(history, dict) else []
    missing = {"status", "reason", "num_steps", "best_step", "lpips"} - set(record)
    if (
        missing
        or not all(isinstance(value, dict) for value in mappings)
        or not all(isinstance(value, list) for value in lists)
    ):
        raise ValueError("parts of it are missing")


def check_folder(
    folder: Path, grid: Grid, inputs: Mapping[str, Mapping[str, Path]], overwrite: bool
) -> None:
    """Makes sure that a study can be written into the folder, and nothing is lost that is not the
    study's own.

    Args:
        folder: The study's.
        grid: Its lanes.
        inputs: The images that it is made of, by name, of each kind, `content` and `style`.
        overwrite: Whether what is there already may be lost, but for the inputs.

    Raises:
        ImageError: The study would overwrite what it is made of.
        ConfigError: There is something else, or another study.
    """
    own = [
        folder / name
        for name in (
            *REPORT,
            *(f"lanes/{name}{ending}" for name in lane_names(grid) for ending in (".png", ".json")),
        )
    ]
    copies = [copy_of(folder, kind, name) for kind, images in inputs.items() for name in images]
    there = [path for path in (*own, *copies) if path.exists()]
    for kind, images in inputs.items():
        for path in images.values():
            for output in there:
                if path.exists() and path.samefile(output):
                    raise ImageError(
                        f"{output}: is a {kind} image, which would be lost; choose "
                        "another --output-dir"
                    )
    if overwrite:
        return
    record = folder / RECORD
    lanes = [path for path in there if path.parent.name == "lanes"]
    if record.exists():
        try:
            names = set(map(str, json.loads(record.read_text(encoding="utf-8"))["lanes"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError(
                f"{record}: is there already, of no study; pass --overwrite, or choose "
                "another --output-dir"
            ) from error
        for name in sorted(names - set(lane_names(grid))):
            raise ConfigError(
                f"{folder}: holds a study with other lanes ({name}); pass --overwrite, or "
                "choose another --output-dir"
            )
    elif there and not lanes:
        raise ConfigError(
            f"{there[0]}: is there already, of no study; pass --overwrite, or choose "
            "another --output-dir"
        )


def copy_of(folder: Path, kind: str, name: str) -> Path:
    """Where a study keeps a content or style image, of that name, as it was read."""
    return folder / f"{file_name(f'{kind}_{name}')}.png"


RECORD = "study.json"
REPORT = (RECORD, "index.html", "lanes.csv", "contact_sheet.png", "losses.png")


def write_study_record(
    folder: Path,
    title: str,
    grid: Grid,
    contents: Images,
    styles: Images,
    settings: Mapping[str, Any],
    job: Mapping[str, Any],
) -> None:
    """Writes what all lanes have in common: `study.json`, and the images as they were read.

    Args:
        folder: The study's.
        title: The report's heading; made of the images' names if it is empty.
        grid: The study's lanes.
        contents: Content images by name.
        styles: Style images by name.
        settings: What all lanes have in common.
        job: What it takes, beside the images, to make the study again.

    Raises:
        ImageError: One of them cannot be written.
    """
    files: dict[str, dict[str, str]] = {"contents": {}, "styles": {}}
    for kind, images in (("contents", contents), ("styles", styles)):
        for name, image in images.items():
            path = copy_of(folder, kind[:-1], name)
            files[kind][name] = path.name
            write_image(path, np.asarray(image))
    record = {
        "title": title or f"{', '.join(contents)} × {', '.join(styles)}",
        "axes": {name: list(labels) for name, labels in grid.axes.items()},
        "zipped": grid.zipped,
        "lanes": list(lane_names(grid)),
        **files,
        "settings": settings,
        "job": job,
    }
    write_record(folder / RECORD, record)


_LONGEST_NAME = 160  # in bytes; file systems take 255, and endings come on top


def file_name(text: str) -> str:
    """The text as a name that every file system takes, shortened where it is too long."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", text)
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{name.encode()[: _LONGEST_NAME - 13].decode(errors='ignore')}~{digest}"
