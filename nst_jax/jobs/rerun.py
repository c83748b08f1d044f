"""A result's record as the job that makes the result again, or a like one."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET

from nst_jax.checks import ConfigError
from nst_jax.files.atomic import hash_of
from nst_jax.files.images import OUTPUT_FORMATS
from nst_jax.jobs.inputs import label_of, styles_by_name
from nst_jax.jobs.job import Job, StudyJob
from nst_jax.jobs.presets import Preset
from nst_jax.jobs.record import (
    File,
    LaneRecord,
    LaneSettings,
    Network,
    RunInputs,
    RunRecord,
    RunSettings,
    StudyInputs,
    StudyRecord,
)
from nst_jax.jobs.record_files import read_any_record, read_picture_settings


def job_of_record(path: Path, output: Path | None = None) -> Job | StudyJob:
    """The job that a record describes; its inputs and weights must still hold what they did.

    Args:
        path: The record beside a result, a lane's of a study too, or the `study.json` of a whole
            study; or a result itself, of which the settings in it are taken.
        output: Where the result is to go, a study's folder; beside the first, with `_rerun` behind
            its name, if left out.

    Raises:
        ConfigError: The file is no such record.
    """
    record = _read(path)
    try:
        if isinstance(record, StudyRecord):
            return _study(path, record, output)
        if isinstance(record, RunRecord | LaneRecord):
            return _single(path, record.settings, record.output, output)
        return _single(path, record, path.name, output)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: is of a file that cannot be read ({error.filename}: {error.strerror}); "
            "put the file where it was"
        ) from error


def settings_of_record(path: Path) -> tuple[Preset, int]:
    """The settings in a record, and the seed of a run's; of a study, what its lanes have in common.

    The network goes by its name; the size of a texture is its own.

    Raises:
        ConfigError: The file is no such record.
    """
    record = _read(path)
    if isinstance(record, StudyRecord):
        return record.job.preset.preset().replace(network=record.settings.network.name), 0
    settings = record.settings if isinstance(record, RunRecord | LaneRecord) else record
    if isinstance(settings, LaneSettings) and settings.terms is not UNSET:
        raise ConfigError(f"{path}: {_ITS_OWN_LOSS}")
    preset = settings.preset(settings.network.name)
    if settings.inputs.content is UNSET:
        preset = preset.replace(size=max(settings.height, settings.width))
    return preset, settings.seed


def changed_job(job: Job | StudyJob, changes: Mapping[str, Any], record: Path) -> Job | StudyJob:
    """A job of a record with some settings changed.

    Weights of layers that were found for the record's run are found anew. A texture of another size
    keeps its aspect ratio, and the size of its source.

    Args:
        job: From `job_of_record`.
        changes: Values by the names of the settings: fields of `Preset` and of its config, or
            `seed`.
        record: What messages call the record.

    Raises:
        ConfigError: A study varies such a setting, or has none such, or a value cannot be.
    """
    if isinstance(job, StudyJob) and (ignored := changes.keys() & _OF_RUNS):
        raise ConfigError(
            f"{record}: is of a study, whose lanes have no --{min(ignored).replace('_', '-')}; "
            "leave it out"
        )
    hashes = {
        label: sha256
        for label, sha256 in job.hashes.items()
        if label != "network" or "network" not in changes
    }
    of_preset = {name: value for name, value in changes.items() if name != "seed"}
    shape = None
    if isinstance(job, Job) and job.shape:
        sides = {name: of_preset.pop(name) for name in ("size", "rows") if name in of_preset}
        shape = _scaled(job.shape, sides)
    preset = job.preset.replace(**of_preset)
    if isinstance(job, StudyJob):
        for name in changes:
            if name == "seed" or name in job.axes:
                raise ConfigError(
                    f"{record}: is of a study, of which {name} is an axis; leave "
                    f"--{name.replace('_', '-')} out, or give the study's command"
                )
        return dataclasses.replace(job, preset=preset, hashes=hashes)
    was_found = job.preset.config.balance or preset.config.balance
    weights = None if changes and was_found else job.layer_weights
    return dataclasses.replace(
        job,
        preset=preset,
        shape=shape,
        seed=changes.get("seed", job.seed),
        layer_weights=weights,
        hashes=hashes,
    )


_OF_RUNS = {"fine_until", "save_every"}
"""Settings that a study has none of."""


def _scaled(shape: tuple[int, int], changes: Mapping[str, Any]) -> tuple[int, int]:
    """The shape of a texture of which the longest side, or the height, is changed."""
    if not changes:
        return shape
    rows, size = changes.get("rows"), changes.get("size")
    wanted = size if rows is None else rows
    if wanted is None:
        raise ConfigError("--size original is a photograph's, and a texture has none; give pixels")
    if wanted < 1:
        option = "--size" if rows is None else "--rows"
        raise ConfigError(f"{option} is {wanted}; give the pixels that the texture is to have")
    height, width = (
        max(round(side * wanted / (max(shape) if rows is None else shape[0])), 1) for side in shape
    )
    return height, width


def _read(path: Path) -> RunRecord | LaneRecord | StudyRecord | RunSettings | LaneSettings:
    if path.suffix.lower() in OUTPUT_FORMATS:
        return read_picture_settings(path)
    return read_any_record(path, "name a result, or the .json beside it, as it was written")


_ITS_OWN_LOSS = "was made with a loss given in Python, which no record holds; run it from there"


def _single(
    path: Path, settings: RunSettings | LaneSettings, output_then: str, output: Path | None
) -> Job:
    name = Path(output_then).name
    if isinstance(settings, LaneSettings) and settings.terms is not UNSET:
        raise ConfigError(_ITS_OWN_LOSS)
    if not output and not name:
        raise ConfigError(f"$.output is {output_then!r}, which is no file's name; pass --output")
    inputs, network, by_layer = settings.inputs, settings.network, settings.weights_by_layer
    of_content = None if inputs.content is UNSET else inputs.content
    content = _find(of_content, path) if of_content else None
    styles = tuple(_find(file, path) for file in inputs.styles)
    areas, hashes_of_areas = _areas(inputs, path)
    single = {"fine": inputs.fine, "initial": inputs.initial}
    single = {label: file for label, file in single.items() if file is not UNSET}
    found = {label: _find(file, path) for label, file in single.items()}
    hashes = {
        **{
            label_of("style", name): file.sha256
            for name, file in zip(styles_by_name(styles), inputs.styles, strict=True)
        },
        **hashes_of_areas,
        **{label: file.sha256 for label, file in single.items()},
        "network": network.sha256,
    }
    if content and of_content:
        hashes[label_of("content", content.stem)] = of_content.sha256
    return Job(
        content=content,
        styles=styles,
        output=output or path.with_name(name).with_stem(f"{Path(name).stem}_rerun"),
        preset=settings.preset(_network(network, path)),
        shape=None if content else (settings.height, settings.width),
        initial=found.get("initial"),
        **areas,
        fine=found.get("fine"),
        seed=settings.seed,
        num_devices=1 if isinstance(settings, LaneSettings) else settings.num_devices,
        layer_weights=None if by_layer is UNSET else by_layer,
        hashes=hashes,
    )


def _study(path: Path, record: StudyRecord, output: Path | None) -> StudyJob:
    job, inputs, network = record.job, record.settings.inputs, record.settings.network
    if "loss" in job.axes:
        raise ConfigError(_ITS_OWN_LOSS)
    areas, hashes = _areas(inputs, path)
    hashes |= _hashes("content", inputs.content) | _hashes("style", inputs.style)
    folder = path.absolute().parent
    return StudyJob(
        tuple(_find(file, path) for file in inputs.content.values()),
        tuple(_find(file, path) for file in inputs.style.values()),
        output or folder.with_name(f"{folder.name}_rerun"),
        job.preset.preset().replace(network=_network(network, path)),
        job.axes,
        **areas,
        zipped=job.zipped,
        title=record.title,
        evaluate=job.evaluate is True,
        hashes=hashes | {"network": network.sha256},
    )


def _areas(inputs: RunInputs | StudyInputs, record: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The files of areas as a job has them, and the hashes that they must have."""
    given = {"masks": inputs.mask, "region_maps": inputs.region_maps}
    several = {name: () if files is UNSET else files for name, files in given.items()}
    areas: dict[str, Any] = {
        name: tuple(_find(file, record) for file in files) for name, files in several.items()
    }
    hashes = {
        label_of(kind, str(place)): file.sha256
        for kind, files in zip(("mask", "region map"), several.values(), strict=True)
        for place, file in enumerate(files, 1)
    }
    if inputs.keep is not UNSET:
        areas["keep"], hashes["keep"] = _find(inputs.keep, record), inputs.keep.sha256
    return areas, hashes


def _hashes(kind: str, files: Mapping[str, File]) -> dict[str, str]:
    return {label_of(kind, Path(file.path).stem): file.sha256 for file in files.values()}


def _network(described: Network, record: Path) -> str:
    """The file that the weights were read from, or else the network by its name.

    Raises:
        ConfigError: The file was normalised by the user, and is not there.
    """
    found = _find(described, record)
    if found.is_file():
        return str(found)
    if described.normalised:  # which no known file is
        raise ConfigError(
            f"{record}: was painted by the weights in {described.file}, which is not there; put it "
            "beside the record"
        )
    return described.name


def _find(file: File | Network, record: Path) -> Path:
    """A file where it was, or beside the record: the first that is the same.

    Where it was is as seen from here, or from a folder that the record lies in.
    """
    path = Path(file.path)
    places = [
        path,
        record.parent / path.name,
        *(parent / path for parent in record.absolute().parents),
    ]
    there = [place for place in places if place.is_file()]
    same = (place for place in there if hash_of(place) == file.sha256)
    return next(same, (there or places)[0])
