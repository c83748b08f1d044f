"""Readers of weights files, one a format. Each returns the file's arrays by name as they are; what they mean is `conversion`'s business.

A format is recognised from a file's first bytes, never from its name. Nothing in a file is executed. Parsers that believe what a file says of
its sizes run in a process of their own, for which this module is the program, in memory and time bounded by the file's length.
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

try:
    import resource
except ImportError:  # on Windows only the time is bounded
    resource = None

_BYTES_AT_LEAST, _BYTES_A_BYTE = 3_000_000_000, 16  # address space, of which libraries take the most
_SECONDS_AT_LEAST, _BYTES_A_SECOND = 20, 5_000_000
_LARGEST = 512 * 512 * 9 * 8  # bytes of the largest convolution in float64; the layers after the last one are not needed
_LARGEST_SUM = 400_000_000  # bytes of all of them

Tensors = dict[str, np.ndarray]


class WeightsError(ValueError):
    """Weights are missing, damaged or not what was asked for; the message says which file, what is wrong, and what to do."""


class WeightsFile(NamedTuple):
    """What a weights file holds.

    Args:
        format: One of the names in `FORMATS`.
        tensors: Arrays by name; paths are joined by "/" where the format nests them.
        metadata: The file's own remarks, where the format has any.
    """

    format: str
    tensors: Tensors
    metadata: Mapping[str, str]


def read_weights_file(path: Path, trusted: bool = False) -> WeightsFile:
    """Reads every array of a weights file of any known format.

    Args:
        path: The file.
        trusted: Whether it is known to be good, so that no process of its own is needed.

    Raises:
        WeightsError: The file is missing, damaged, of no known format, or needs a package that is not installed.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    for name, (recognise, read) in FORMATS.items():
        if recognise(head, path):
            # The reader of safetensors compares every size with the file's before it believes it.
            return _read(name, read, path) if trusted or name == "safetensors" else _read_apart(name, path)
    raise WeightsError(f"{path}: not a weights file of a known format; known are {', '.join(FORMATS)}")


def _read(name: str, read: Callable[[str, Path], WeightsFile], path: Path) -> WeightsFile:
    try:
        file = read(name, path)
        return file._replace(tensors={key: array for key, array in file.tensors.items() if _is_wanted(array)})
    except WeightsError:
        raise
    except Exception as error:  # whatever a parser throws at damaged input
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"{path}: damaged or truncated {name} file ({reason}); fetch it again") from error


def _read_apart(name: str, path: Path) -> WeightsFile:
    """`_read` in a process of its own."""
    size = path.stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-P", __file__, name, str(path.absolute()), folder, str(_BYTES_AT_LEAST + _BYTES_A_BYTE * size)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each thread would ask for room
        try:
            ended = subprocess.run(words, capture_output=True, env=environment, timeout=_SECONDS_AT_LEAST + size / _BYTES_A_SECOND, check=False)
        except subprocess.TimeoutExpired as error:
            raise WeightsError(f"{path}: damaged {name} file (reading it takes too long); fetch it again") from error
        try:
            answer = json.loads(ended.stdout)
        except ValueError as error:
            raise WeightsError(f"{path}: damaged {name} file (its reader died of it); fetch it again") from error
        if "error" in answer:
            raise WeightsError(answer["error"].replace(str(path.absolute()), str(path)))
        tensors = {key: np.load(Path(folder, f"{index}.npy"), allow_pickle=False) for index, key in enumerate(answer["names"])}
        return WeightsFile(name, tensors, answer["metadata"])


def _main(name: str, path: str, folder: str, most_bytes: str) -> None:
    """The process of its own: writes the arrays to a folder, and what else there is to say to standard output."""
    if resource:
        resource.setrlimit(resource.RLIMIT_AS, (int(most_bytes), resource.RLIM_INFINITY))
    try:
        file = _read(name, FORMATS[name][1], Path(path))
        if sum(array.nbytes for array in file.tensors.values()) > _LARGEST_SUM:
            raise WeightsError(f"{path}: holds more than the convolutions of a VGG; give a file with those alone")
        for index, array in enumerate(file.tensors.values()):
            np.save(Path(folder, f"{index}.npy"), array, allow_pickle=False)
        answer: Any = {"names": list(file.tensors), "metadata": dict(file.metadata)}
    except (WeightsError, MemoryError) as error:
        answer = {"error": str(error) or f"{path}: damaged {name} file (it asks for too much memory); fetch it again"}
    except OSError as error:
        answer = {"error": f"{folder}: cannot be written ({error.strerror or error}); make room for temporary files"}
    print(json.dumps(answer))


def _is_wanted(array: Any) -> bool:
    is_numeric = isinstance(array, np.ndarray) and (np.issubdtype(array.dtype, np.number) or array.dtype.name == "bfloat16")
    return is_numeric and array.nbytes <= _LARGEST


def _read_hdf5(name: str, path: Path) -> WeightsFile:
    tensors: Tensors = {}

    def visit(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise WeightsError(f"{path}: {key} is kept in other files, which are not read; save the weights in one")
            if item.nbytes <= _LARGEST:  # however few bytes of the file they may be packed in
                tensors[key.removeprefix("model_weights/")] = item[()]  # where a whole Keras model was saved

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return WeightsFile(name, tensors, {})


def _read_safetensors(name: str, path: Path) -> WeightsFile:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return WeightsFile(name, {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {})  # noqa: SIM118, it is no mapping


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
            # MatConvNet's first releases kept `filters` and `biases` apart, later ones a cell `weights`.
            kernel, bias = layer.weights if hasattr(layer, "weights") else (layer.filters, layer.biases)
            tensors[f"{layer.name}/kernel"], tensors[f"{layer.name}/bias"] = kernel, np.atleast_1d(bias)
    return WeightsFile(name, tensors, {})


def _read_torch(name: str, path: Path) -> WeightsFile:
    try:
        import torch  # pyright: ignore[reportMissingImports], for it is an extra
    except ImportError as error:
        raise WeightsError(
            f"{path}: reading PyTorch's own files needs PyTorch; run: pip install torch, or convert the file to safetensors"
        ) from error
    state = torch.load(path, map_location="cpu", weights_only=True)
    return WeightsFile(name, {key: value.float().numpy() for key, value in state.items()}, {})


def _read_pickle(name: str, path: Path) -> WeightsFile:
    with path.open("rb") as file:
        tree = _ArrayUnpickler(file).load()
    tensors: Tensors = {}
    seen: set[int] = set()

    def flatten(prefix: str, item: Any) -> None:
        if isinstance(item, dict):
            if id(item) in seen:  # it may be its own, or nest in a way whose leaves cannot be counted
                raise WeightsError(f"{path}: holds the same dictionary at several places; save the arrays in one that is plain")
            seen.add(id(item))
            for key, value in item.items():
                flatten(f"{prefix}/{key}" if prefix else str(key), value)
        elif isinstance(item, _PickledArray):
            tensors[prefix] = item.array

    flatten("", tree)
    return WeightsFile(name, tensors, {})


class _PickledType:
    """What a pickle says of an array's type. NumPy's own class believes whatever state it is given, and crashes of some."""

    def __init__(self, text: str, *_: Any) -> None:
        self.text, self.order = text, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    @property
    def dtype(self) -> np.dtype:
        if self.text not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8") or self.order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"it holds an array of type {self.text!r}")
        return np.dtype(self.order + self.text)


class _PickledArray:
    """What a pickle says of an array; the same holds of NumPy's."""

    array: np.ndarray

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, pickled, is_fortran, data = state
        self.array = np.frombuffer(data, pickled.dtype).reshape(shape, order="F" if is_fortran else "C")


class _ArrayUnpickler(pickle.Unpickler):
    """Builds dictionaries of what it says of NumPy arrays, and refuses to look up anything else."""

    # NumPy 2 renamed the module that older pickles name.
    _ALLOWED: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy", "ndarray"): _PickledArray,
        ("numpy", "dtype"): _PickledType,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and nothing but NumPy arrays is ever built from a pickle")
        return self._ALLOWED[module, name]


def _zip_has(path: Path, ending: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(ending) for name in archive.namelist())
    except Exception:  # BadZipFile, NotImplementedError, UnicodeDecodeError, …
        return ending == ".npy"  # a damaged archive has no list of names; NumPy's reader will say so


_TORCH_LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)

FORMATS: Mapping[str, tuple[Callable[[bytes, Path], bool], Callable[[str, Path], WeightsFile]]] = {
    "HDF5": (lambda head, path: head.startswith(b"\x89HDF\r\n\x1a\n"), _read_hdf5),
    "safetensors": (lambda head, path: head[8:9] == b"{", _read_safetensors),
    "PyTorch": (
        lambda head, path: head.startswith(_TORCH_LEGACY) or (head.startswith(b"PK\x03\x04") and _zip_has(path, "data.pkl")),
        _read_torch,
    ),
    "NumPy archive": (lambda head, path: head.startswith(b"PK\x03\x04") and _zip_has(path, ".npy"), _read_npz),
    "MatConvNet": (lambda head, path: head.startswith(b"MATLAB 5.0 MAT-file"), _read_matconvnet),
    "pickle": (lambda head, path: head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5", _read_pickle),
}
"""How to recognise each format from a file's first 64 bytes, and how to read it."""


if __name__ == "__main__":
    _main(*sys.argv[1:])
