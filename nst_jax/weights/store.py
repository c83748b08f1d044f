"""Weights on disk: where converted files lie, and how they are written.

They lie in the user's cache, and `NST_JAX_WEIGHTS` names another folder. In a checkout of this
project the folder `weights/` comes first.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pooch

from nst_jax.files.atomic import hash_of, whole_file
from nst_jax.weights.contents import WeightsError
from nst_jax.weights.conversion import convert, flatten
from nst_jax.weights.readers import read_weights_file


def store() -> Path:
    """The folder that is this user's own.

    The one that `NST_JAX_WEIGHTS` names, or one in their cache.
    """
    return Path(os.environ.get("NST_JAX_WEIGHTS") or pooch.os_cache("nst_jax"))


def folders() -> list[Path]:
    """Where converted files are looked for, best first; new ones go to the first."""
    if not os.environ.get("NST_JAX_WEIGHTS") and _is_checkout(Path()):
        return [Path("weights"), store()]
    return [store()]


def _is_checkout(folder: Path) -> bool:
    """Whether a folder is a checkout of this project, and not one with a folder of that name."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return project == "nst-jax" and (folder / "weights" / "README.md").is_file()


def converted_name(name: str) -> str:
    """What a known file or network is called when it is converted."""
    return f"{name}.safetensors"


def find_converted(name: str) -> Path | None:
    """The converted file of a known file or network, if there is one."""
    places = [folder / converted_name(name) for folder in folders()]
    return next((path for path in places if path.is_file()), None)


def convert_file(
    source_file: Path,
    output: Path,
    *,
    licence: str = "that of the source",
    source: str | None = None,
) -> str:
    """Converts a weights file of any known format, and writes it as safetensors.

    The preprocessing is folded in.

    Args:
        source_file: The file to convert.
        output: Where to write; replaced only when the new file is whole.
        licence: What the source's publisher says.
        source: Where the file comes from, if not from `source_file`.

    Returns:
        The network's name.

    Raises:
        WeightsError: The source cannot be read as VGG weights, or the output not be written.
    """
    file = read_weights_file(source_file)
    network, params = convert(file, str(source_file))
    remarks = {
        "network": network,
        "source": source or source_file.name,
        "sha256": hash_of(source_file),
        "licence": licence,
    }
    # A file converted before goes on saying where it came from.
    is_own = file.metadata.get("format") == "nst_jax"
    write_params(output, params, remarks | dict(file.metadata) if is_own else remarks)
    return network


def write_params(output: Path, params: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes parameters as safetensors, with remarks such as source, hash, licence and network.

    Raises:
        WeightsError: The file cannot be written; whatever was there before is still there.
    """
    from safetensors.numpy import save

    if output.is_dir():
        raise WeightsError(f"{output}: is a folder; give the name of a file in it")
    try:
        with whole_file(output) as partial:
            partial.write_bytes(
                _in_order(save(flatten(params), metadata={**metadata, "format": "nst_jax"}))
            )
    except OSError as error:
        raise WeightsError(
            f"{output}: cannot be written ({error.strerror or error}); choose another output"
        ) from error


def _in_order(data: bytes) -> bytes:
    """The same safetensors file with its remarks sorted.

    So all conversions of a file have one hash.
    """
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[begin:]
