"""What a record says, made of what ran."""

import dataclasses
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nst_jax.config import TransferConfig
from nst_jax.descent.result import TransferResult
from nst_jax.files.atomic import hash_of
from nst_jax.host.devices import device_name
from nst_jax.jobs.parts import values_of
from nst_jax.jobs.presets import Preset
from nst_jax.jobs.record import ConfigRecord, File, History, Network, PresetRecord
from nst_jax.jobs.sharing import without_folder
from nst_jax.objective.terms import Loss
from nst_jax.weights import LoadedWeights


def describe_files(paths: Mapping[str, Path]) -> dict[str, File]:
    """Path and hash of each file."""
    return {name: File(path=str(path), sha256=hash_of(path)) for name, path in paths.items()}


def describe_network(loaded: LoadedWeights) -> Network:
    """Where the parameters came from."""
    return Network(
        name=loaded.name,
        file=loaded.path.name,
        path=str(loaded.path),
        sha256=loaded.sha256,
        normalised=loaded.normalised,
    )


def describe_preset(preset: Preset) -> PresetRecord:
    """A preset's fields, and those of its config."""
    config = ConfigRecord(**values_of(preset.config, TransferConfig))
    own = values_of(preset, Preset, leave_out=("config",))
    if preset.network:
        own["network"] = without_folder(preset.network)
    return PresetRecord(config=config, **own)


def describe_loss(loss: Loss) -> dict[str, dict[str, Any]]:
    """The class and the fields of each term, as plain values for JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, tuple | list):
            return [plain(inner) for inner in value]
        if callable(value):
            return f"{value.__module__}:{value.__qualname__}"
        return value if isinstance(value, str | bool | None) else np.asarray(value).tolist()

    return {
        name: {"type": f"{type(term).__module__}:{type(term).__qualname__}"}
        | {field.name: plain(getattr(term, field.name)) for field in dataclasses.fields(term)}
        for name, term in loss.items()
    }


def describe_versions() -> dict[str, str]:
    """The versions that run."""
    packages = ("nst-jax", "jax", "jaxlib", "optax", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def describe_device() -> str:
    """What they run on."""
    return device_name()


def describe_history(result: TransferResult) -> History:
    """One run's loss and its terms over time."""

    def finite(rows: np.ndarray) -> list[float | None]:
        return [finite_or_none(value) for value in rows]

    losses, terms = jax.tree.map(finite, (result.losses, result.terms))
    return History(size=result.sizes.tolist(), loss=losses, terms=terms)


def finite_or_none(value: Any) -> float | None:
    """A number as JSON has it, which knows neither infinity nor NaN."""
    return float(value) if np.isfinite(value) else None
