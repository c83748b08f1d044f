"""A result's record as the job that makes the result again."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_jax.config import ConfigError, TransferConfig, check_known
from nst_jax.files.atomic import hash_of
from nst_jax.jobs.job import Job, StudyJob
from nst_jax.jobs.presets import Preset

_CONFIG = {field.name for field in dataclasses.fields(TransferConfig)}
_PRESET = {field.name for field in dataclasses.fields(Preset)} - {"config", "network"}
_BESIDE_THEM = {
    *(
        "inputs",
        "network",
        "height",
        "width",
        "seed",
        "num_devices",
        "iteration",
        "versions",
        "device",
    ),
    # of a study's lane
    *("content", "style", "layer_weights", "weights_by_layer", "loss", "terms"),
}


def job_of_record(path: Path, output: Path | None = None) -> Job | StudyJob:
    """The job that a record describes; its inputs and weights must still hold what they did.

    Args:
        path: The record beside a result, a lane's of a study too, or the `study.json` of a whole
            study.
        output: Where the result is to go, a study's folder; beside the first, with `_rerun` behind
            its name, if left out.

    Raises:
        ConfigError: The file is no such record.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if "\\u0000" in text:  # no name of a file holds it
            raise ConfigError("holds a zero character; name the .json beside a result")
        record = json.loads(text)
        return _study(path, record, output) if "lanes" in record else _single(path, record, output)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = (
            getattr(error, "strerror", None)
            or f"{type(error).__name__}: {' '.join(str(error).split())}"
        )
        raise ConfigError(
            f"{path}: is not the record of a result ({reason}); name the .json beside it"
        ) from error


def _single(path: Path, record: Mapping[str, Any], output: Path | None) -> Job:
    settings, first = record["settings"], path.with_name(Path(record["output"]).name)
    _check_loss(settings.get("terms"))
    for key in settings:
        check_known(key, _CONFIG | _PRESET | _BESIDE_THEM)
    inputs, network = settings["inputs"], settings["network"]
    for name in inputs:
        check_known(name, ("content", "style", "initial"))
    # What a lane's record does not say was as it is in every study.
    own = {name: settings[name] for name in _PRESET if name != "save_every" or name in settings}
    preset = Preset(config=_config(settings), network=_network(network, path), **own)
    return Job(
        content=_find(inputs["content"], path),
        style=_find(inputs["style"], path),
        output=output or first.with_stem(f"{first.stem}_rerun"),
        preset=preset,
        initial=_find(inputs["initial"], path) if "initial" in inputs else None,
        seed=settings["seed"],
        num_devices=settings.get("num_devices", 1),
        layer_weights=settings.get("weights_by_layer"),
        hashes={name: str(file["sha256"]) for name, file in {**inputs, "network": network}.items()},
    )


def _check_loss(described: object) -> None:
    if described is not None:
        raise ConfigError(
            "was made with a loss given in Python, which no record holds; run it from there"
        )


def _study(path: Path, record: Mapping[str, Any], output: Path | None) -> StudyJob:
    job, settings = record["job"], record["settings"]
    _check_loss(job["axes"].get("loss"))
    inputs, network = settings["inputs"], settings["network"]
    for key in job["preset"]:
        check_known(key, _PRESET | {"config", "network"})
    for key in job["preset"]["config"]:
        check_known(key, _CONFIG)
    files = {
        f"{kind} {name}": file
        for kind in ("content", "style")
        for name, file in inputs[kind].items()
    }
    contents, styles = (
        tuple(_find(file, path) for file in inputs[kind].values()) for kind in ("content", "style")
    )
    folder = path.absolute().parent
    return StudyJob(
        contents,
        styles,
        output or folder.with_name(f"{folder.name}_rerun"),
        Preset(
            **{
                **job["preset"],
                "config": _config(job["preset"]["config"]),
                "network": _network(network, path),
            }
        ),
        dict(job["axes"]),
        bool(job["zipped"]),
        title=str(record["title"]),
        hashes={name: str(file["sha256"]) for name, file in {**files, "network": network}.items()},
    )


def _config(settings: Mapping[str, Any]) -> TransferConfig:
    return TransferConfig(**{name: settings[name] for name in _CONFIG})


def _network(described: Mapping[str, Any], record: Path) -> str:
    """The file that the weights were read from, or else the network by its name."""
    found = _find(described, record)
    return str(found) if found.is_file() else str(described["name"])


def _find(file: Mapping[str, Any], record: Path) -> Path:
    """A file where it was, as seen from here or from a folder that the record lies in, or beside
    the record: the first that is the same."""
    path = Path(file["path"])
    places = [
        path,
        record.parent / path.name,
        *(parent / path for parent in record.absolute().parents),
    ]
    there = [place for place in places if place.is_file()]
    same = (place for place in there if hash_of(place) == file["sha256"])
    return next(same, (there or places)[0])
