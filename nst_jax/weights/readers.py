"""Readers of weights files, one a format.

Each returns the file's arrays by name as they are; their meaning is the business of `conversion`.

A format is recognised from a file's first bytes, never from its name. Nothing in a file is
executed. Parsers that believe what a file says of its sizes run in a process of their own, for
which `reader_process` is the program, in memory and time bounded by the file's length.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from nst_jax.weights.contents import Tensors, WeightsError, WeightsFile
from nst_jax.weights.pickles import read_pickle
from nst_jax.weights.torch_files import LEGACY_MAGIC, read_torch

_PROGRAM = Path(__file__).with_name("reader_process.py")

# address space, of which libraries take the most
_BYTES_AT_LEAST, _BYTES_A_BYTE = 3_000_000_000, 16
_SECONDS_AT_LEAST, _BYTES_A_SECOND = 20, 5_000_000
# bytes of the largest convolution in float64; the layers after the last one are not needed
_LARGEST = 512 * 512 * 9 * 8


def read_weights_file(path: Path, trusted: bool = False) -> WeightsFile:
    """Reads every array of a weights file of any known format.

    Args:
        path: The file.
        trusted: Whether it is known to be good, so that no process of its own is needed.

    Raises:
        WeightsError: The file is missing, damaged, of no known format, or needs a package that is
            not installed.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    for name, (recognise, _) in FORMATS.items():
        if recognise(head, path):
            # The reader of safetensors compares every size with the file's before it believes it.
            return (
                read_format(name, path)
                if trusted or name == "safetensors"
                else _read_apart(name, path)
            )
    raise WeightsError(
        f"{path}: not a weights file of a known format; known are {', '.join(FORMATS)}"
    )


def read_format(name: str, path: Path) -> WeightsFile:
    """Reads the arrays of a file of a known format that a network may need, in this process.

    Raises:
        WeightsError: The file is damaged, or needs a package that is not installed.
    """
    try:
        file = FORMATS[name][1](name, path)
        return file._replace(
            tensors={key: array for key, array in file.tensors.items() if _is_wanted(array)}
        )
    except WeightsError:
        raise
    except Exception as error:  # whatever a parser throws at damaged input
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(
            f"{path}: damaged or truncated {name} file ({reason}); fetch it again"
        ) from error


def _read_apart(name: str, path: Path) -> WeightsFile:
    """`read_format` in a process of its own."""
    size = path.stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        words = [
            sys.executable,
            "-P",
            str(_PROGRAM),
            name,
            str(path.absolute()),
            folder,
            str(_BYTES_AT_LEAST + _BYTES_A_BYTE * size),
        ]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each thread would ask for room
        try:
            ended = subprocess.run(
                words,
                capture_output=True,
                env=environment,
                timeout=_SECONDS_AT_LEAST + size / _BYTES_A_SECOND,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise WeightsError(
                f"{path}: damaged {name} file (reading it takes too long); fetch it again"
            ) from error
        try:
            answer = json.loads(ended.stdout)
        except ValueError as error:
            raise WeightsError(
                f"{path}: damaged {name} file (its reader died of it); fetch it again"
            ) from error
        if "error" in answer:
            raise WeightsError(answer["error"].replace(str(path.absolute()), str(path)))
        tensors = {
            key: np.load(Path(folder, f"{index}.npy"), allow_pickle=False)
            for index, key in enumerate(answer["names"])
        }
        return WeightsFile(name, tensors, answer["metadata"])


def _is_wanted(array: Any) -> bool:
    is_numeric = isinstance(array, np.ndarray) and (
        np.issubdtype(array.dtype, np.number) or array.dtype.name == "bfloat16"
    )
    return is_numeric and array.nbytes <= _LARGEST


def _read_hdf5(name: str, path: Path) -> WeightsFile:
    tensors: Tensors = {}

    def visit(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise WeightsError(
                    f"{path}: {key} is kept in other files, which are not read; save the "
                    "weights in one"
                )
            if item.nbytes <= _LARGEST:  # however few bytes of the file they may be packed in
                # where a whole Keras model was saved
                tensors[key.removeprefix("model_weights/")] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return WeightsFile(name, tensors, {})


def _read_safetensors(name: str, path: Path) -> WeightsFile:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, no mapping
        return WeightsFile(name, tensors, file.metadata() or {})


def _read_npz(name: str, path: Path) -> WeightsFile:
    with np.load(path, allow_pickle=False) as file:
        if len(set(file.files)) < len(file.files):
            raise WeightsError(f"{path}: holds an array twice under one name; save it again")
        return WeightsFile(name, {key: file[key] for key in file.files}, {})


def _read_matconvnet(name: str, path: Path) -> WeightsFile:
    from scipy.io import loadmat

    tensors: Tensors = {}
    for layer in loadmat(path, squeeze_me=True, struct_as_record=False)["layers"]:
        if layer.type == "conv":
            # MatConvNet's first releases kept `filters` and `biases` apart, later ones a cell
            # `weights`.
            kernel, bias = (
                layer.weights if hasattr(layer, "weights") else (layer.filters, layer.biases)
            )
            tensors[f"{layer.name}/kernel"] = kernel
            tensors[f"{layer.name}/bias"] = np.atleast_1d(bias)
    return WeightsFile(name, tensors, {})


def _zip_has(path: Path, ending: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(ending) for name in archive.namelist())
    except Exception:  # BadZipFile, NotImplementedError, UnicodeDecodeError, …
        # a damaged archive has no list of names; NumPy's reader will say so
        return ending == ".npy"


FORMATS: Mapping[str, tuple[Callable[[bytes, Path], bool], Callable[[str, Path], WeightsFile]]] = {
    "HDF5": (lambda head, path: head.startswith(b"\x89HDF\r\n\x1a\n"), _read_hdf5),
    "safetensors": (lambda head, path: head[8:9] == b"{", _read_safetensors),
    "PyTorch": (
        lambda head, path: (
            head.startswith(LEGACY_MAGIC)
            or (head.startswith(b"PK\x03\x04") and _zip_has(path, "data.pkl"))
        ),
        read_torch,
    ),
    "NumPy archive": (
        lambda head, path: head.startswith(b"PK\x03\x04") and _zip_has(path, ".npy"),
        _read_npz,
    ),
    "MatConvNet": (lambda head, path: head.startswith(b"MATLAB 5.0 MAT-file"), _read_matconvnet),
    "pickle": (lambda head, path: head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5", read_pickle),
}
"""How to recognise each format from a file's first 64 bytes, and how to read it."""
