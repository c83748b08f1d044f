"""A result's record as the job that makes the result again."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_jax.config import ConfigError, Preset, TransferConfig
from nst_jax.job import Job


def job_of_record(path: Path, output: Path | None = None, overwrite: bool = False) -> Job:
    """The job that a record beside a result describes; its inputs and weights must still hold what they did.

    Args:
        path: The record, from `run_job`.
        output: Where the result is to go; beside the first, with `_rerun` behind its name, if left out.
        overwrite: As in `Job`.

    Raises:
        ConfigError: The file is no such record.
    """
    try:
        record = json.loads(path.read_text())
        settings, first = record["settings"], path.with_name(Path(record["output"]).name)
        inputs, network = settings["inputs"], settings["network"]
        hashes = {name: file["sha256"] for name, file in {**inputs, "network": network}.items()}
        own = {field.name: settings[field.name] for field in dataclasses.fields(Preset) if field.name not in ("config", "network")}
        weights = Path(network["path"])
        preset = Preset(config=_config(settings), network=str(weights) if weights.is_file() else network["name"], **own)
        return Job(
            content=_find(inputs["content"], path),
            style=_find(inputs["style"], path),
            output=output or first.with_stem(f"{first.stem}_rerun"),
            preset=preset,
            initial=_find(inputs["initial"], path) if "initial" in inputs else None,
            seed=settings["seed"],
            num_devices=settings["num_devices"],
            overwrite=overwrite,
            hashes=hashes,
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise ConfigError(f"{path}: is not the record of a single run ({reason}); name the .json beside its result") from error


def _config(settings: Mapping[str, Any]) -> TransferConfig:
    return TransferConfig(**{field.name: settings[field.name] for field in dataclasses.fields(TransferConfig)})


def _find(file: Mapping[str, Any], record: Path) -> Path:
    """An input where it was, or else beside the record."""
    path = Path(file["path"])
    return path if path.exists() else record.parent / path.name
