"""What the folder of a study holds: which lanes are there, and of which settings."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.config import ConfigError
from nst_jax.grid import Grid, file_name
from nst_jax.images import ImageError, read_image, write_image
from nst_jax.record import deciding, write_record
from nst_jax.study import Images


def lane_settings(grid: Grid, index: int, common: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides a lane's result, as plain values for JSON."""
    lane = grid.lanes[index]
    sets = {} if lane.layer_weights is None else {"weights_by_layer": dict(grid.layer_weights[lane.layer_weights])}
    own = dataclasses.asdict(lane) | {"inputs": {"content": inputs["content"][lane.content], "style": inputs["style"][lane.style]}} | sets
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
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{record_path}: is not the record of a lane ({error}); remove it, or choose another --output-dir") from error
    for name in settings:
        if deciding(found.get(name)) != deciding(settings[name]):
            raise ConfigError(
                f"{stem.parent.parent}: holds a study of other settings ({name} differs at {stem.name}); choose another --output-dir"
            )
    if has_image:
        try:
            read_image(image_path)
        except ImageError:  # missing or damaged; it is painted again
            return False
    return True


def write_study_record(folder: Path, title: str, grid: Grid, contents: Images, styles: Images, settings: Mapping[str, Any]) -> None:
    """Writes what all lanes have in common: `study.json`, and the images as they were read.

    Raises:
        ImageError: One of them cannot be written.
    """
    files: dict[str, dict[str, str]] = {"contents": {}, "styles": {}}
    for kind, images in (("contents", contents), ("styles", styles)):
        for name, image in images.items():
            files[kind][name] = f"{file_name(f'{kind[:-1]}_{name}')}.png"
            write_image(folder / files[kind][name], np.asarray(image))
    record = {
        "title": title or f"{', '.join(contents)} × {', '.join(styles)}",
        "axes": {name: list(labels) for name, labels in grid.axes.items()},
        "zipped": grid.zipped,
        "lanes": list(grid.names),
        **files,
        "settings": settings,
    }
    write_record(folder / "study.json", record)
