"""What is written beside a result so that it can be made again."""

import dataclasses
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nst_jax.config import ConfigError
from nst_jax.descent.result import TransferResult
from nst_jax.files.atomic import hash_of, whole_file
from nst_jax.files.images import ImageError
from nst_jax.objective.terms import Loss
from nst_jax.weights import LoadedWeights


def describe_inputs(inputs: Mapping[str, Path]) -> dict[str, Any]:
    """Path and hash of each file."""
    return {name: {"path": str(path), "sha256": hash_of(path)} for name, path in inputs.items()}


def describe_network(loaded: LoadedWeights) -> dict[str, Any]:
    """Where the parameters came from."""
    return {
        "name": loaded.name,
        "file": loaded.path.name,
        "path": str(loaded.path),
        "sha256": loaded.sha256,
        "normalised": loaded.normalised,
    }


def describe_loss(loss: Loss) -> dict[str, Any]:
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


def describe_machine() -> dict[str, Any]:
    """The versions that ran, and on what."""
    packages = ("nst-jax", "jax", "jaxlib", "optax", "numpy")
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    return {"versions": versions, "device": jax.local_devices()[0].device_kind}


def describe_result(result: TransferResult) -> dict[str, Any]:
    """One run's loss and its terms over time, as plain values for JSON."""

    def plain(rows: np.ndarray) -> list[float | None]:
        return [float(value) if np.isfinite(value) else None for value in rows]

    losses, terms = jax.tree.map(plain, (result.losses, result.terms))
    return {
        "best_loss": float(result.loss) if np.isfinite(result.loss) else None,
        "best_step": int(result.best_step),
        "history": {
            "size": result.sizes.tolist(),
            "loss": losses,
            "terms": terms,
        },
    }


def check_same(settings: Mapping[str, Any], found: Mapping[str, Any], where: Path) -> None:
    """Makes sure that a run found at `where` is of the settings that are wanted.

    Files are compared by what they hold, wherever they lie; versions, the device and what is saved
    on the way make no other run.

    Raises:
        ConfigError: It is of others; the message names the first.
    """
    for name in settings:
        if name not in _NO_MATTER and deciding(settings[name]) != deciding(found.get(name)):
            values = (
                ""
                if isinstance(settings[name], dict)
                else f", {found.get(name)} there and {settings[name]} here"
            )
            raise ConfigError(
                f"{where}: is of a run of other settings ({name} differs{values}); give "
                "the same, or choose another --output"
            )


def check_hashes(found: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
    """Makes sure that files, described by name, are those that a record is of.

    Args:
        found: From `describe_inputs` and `describe_network`.
        wanted: The SHA-256 of those that must be the same.

    Raises:
        ConfigError: One is another.
    """
    for name, sha256 in wanted.items():
        if found[name]["sha256"] != sha256:
            raise ConfigError(
                f"{found[name]['path']}: is not the {name} that the record is of, whose "
                f"SHA-256 is {sha256}; put that file there"
            )


def deciding(value: Any) -> Any:
    """What of a setting decides the result: of a file what it holds, not the place where it
    lies."""
    if isinstance(value, dict) and "sha256" in value:
        return value["sha256"]
    if isinstance(value, dict):
        return {name: deciding(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [deciding(inner) for inner in value]
    return value


_NO_MATTER = ("versions", "device", "save_every")


def image_metadata(settings: Mapping[str, Any]) -> dict[str, str]:
    """The texts that a PNG carries: pictures are passed on, so files go by their names, without
    their folders."""
    return {
        "Software": f"nst-jax {version('nst-jax')}",
        "nst_jax": json.dumps(_without_folders(settings)),
    }


def _without_folders(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: Path(inner).name if name == "path" else _without_folders(inner)
            for name, inner in value.items()
        }
    return value


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a record as JSON, whole or not at all.

    Raises:
        ImageError: It cannot be written.
    """
    try:
        with whole_file(path) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place "
            "for the output"
        ) from error
