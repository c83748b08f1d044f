"""Tensors of PyTorch's own files, read without PyTorch.

A tensor there is a view (offset, shape and strides, in elements) of a *storage*, a run of numbers
of one type that several tensors may share. A pickle says what the tensors are, and names each
storage by a key; the numbers lie outside the pickle:

- The legacy stream is five pickles one after the other: a magic number, the version, facts on
  the machine that wrote it, the tensors, and a list of keys. Then come the storages in the list's
  order, each as an int64 count of elements and the elements, little-endian on every machine.
- The archive, which PyTorch writes since 1.6, is an uncompressed zip file of `data.pkl`, the
  tensors, and `data/KEY` for each storage, in the byte order that `byteorder` names.

No size is believed before it is compared with what is there, and the arrays are views of the bytes
that were read, so that a file makes this reader allocate a few times its own length and no more.

References:
    torch/serialization.py, `_legacy_save`, `_save`; torch/_utils.py, `_rebuild_tensor_v2`.
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nst_jax.weights.contents import WeightsFile
from nst_jax.weights.pickles import StandInUnpickler, leaves

LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
"""What the legacy stream begins with."""

_LEGACY_VERSION = 1001
_MOST_DIMENSIONS = 32  # as many as every NumPy has; PyTorch's files have 4
_BFLOAT16 = "BFloat16Storage"

_TYPES: Mapping[str, str] = {
    "BoolStorage": "?",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "i2",
    "IntStorage": "i4",
    "LongStorage": "i8",
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    _BFLOAT16: "u2",
}
"""NumPy's types of the storages by the names of PyTorch's classes."""


class _Root(NamedTuple):
    """A whole storage, as the pickle describes it."""

    kind: str
    numel: int

    @property
    def nbytes(self) -> int:
        return self.numel * np.dtype(_TYPES[self.kind]).itemsize


class _Storage(NamedTuple):
    """A storage that a tensor names: some or all of a whole one."""

    key: str
    start: int
    numel: int


class _Tensor(NamedTuple):
    """A tensor, as the pickle describes it; nothing of it is checked yet."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


class _Maker(NamedTuple):
    """What a pickle calls. Unlike a function or a class, it cannot be given attributes by one."""

    make: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.make(*args)


class _OrderedDict(dict[Any, Any]):
    """An ordered dictionary, without the attributes that modules leave at theirs."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


_STAND_INS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Maker(_OrderedDict),
    ("torch._utils", "_rebuild_tensor"): _Maker(_Tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Maker(lambda *args: _Tensor(*args[:4])),
    ("torch._utils", "_rebuild_parameter"): _Maker(lambda data, *_: data),
    **{("torch", name): name for name in _TYPES},
}


class _TensorUnpickler(StandInUnpickler):
    """Builds dictionaries of what a pickle says of tensors, and notes the storages it names."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), _STAND_INS, "tensors")
        self.roots: dict[str, _Root] = {}

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", str(kind), str(key), str(), int(numel)):
                view = None
            case ("storage", str(kind), str(key), str(), int(numel), view):
                pass
            case _:
                raise pickle.UnpicklingError("it names a storage in no known way")
        if kind not in _TYPES or numel < 0:
            raise pickle.UnpicklingError(f"its storage {key} is {numel} numbers of type {kind}")
        if self.roots.setdefault(key, _Root(kind, numel)) != _Root(kind, numel):
            raise pickle.UnpicklingError(f"it describes its storage {key} in two ways")
        match view:
            case None:
                return _Storage(key, 0, numel)
            case (str(), int(start), int(size)) if 0 <= start <= start + size <= numel:
                return _Storage(key, start, size)
        raise pickle.UnpicklingError(f"it names a part of its storage {key} that is not there")


def read_torch(name: str, path: Path) -> WeightsFile:
    """Reads the tensors of nested dictionaries, from a legacy stream or an archive."""
    data = path.read_bytes()
    tree, storages = (_read_legacy if data.startswith(LEGACY_MAGIC) else _read_archive)(data)
    found = leaves(tree, _Tensor, path)
    return WeightsFile(name, {key: _as_array(key, tensor, storages) for key, tensor in found}, {})


def _read_legacy(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    stream = io.BytesIO(data)
    _, version, _ = (_TensorUnpickler(_next_pickle(stream)).load() for _ in range(3))
    if version != _LEGACY_VERSION:
        raise ValueError(f"it is of version {version!r}, and only {_LEGACY_VERSION} is known")
    described = _TensorUnpickler(_next_pickle(stream))
    tree, keys = described.load(), _TensorUnpickler(_next_pickle(stream)).load()
    if not isinstance(keys, list):
        raise ValueError("it has no list of storages")
    storages: dict[str, np.ndarray] = {}
    position = stream.tell()
    for key in keys:
        if not isinstance(key, str) or key not in described.roots or key in storages:
            name = repr(str(key)[:40])
            raise ValueError(f"it lists a storage {name} that no tensor has, or lists it twice")
        root = described.roots[key]
        count = struct.unpack_from("<q", data, position)[0] if position + 8 <= len(data) else None
        position += 8
        if position + root.nbytes > len(data):
            raise ValueError(f"it ends within the storage {key}")
        if count != root.numel:
            raise ValueError(f"its storage {key} has {count} numbers instead of {root.numel}")
        numbers = memoryview(data)[position : position + root.nbytes]
        storages[key] = _as_numbers(numbers, root.kind, "<")
        position += root.nbytes
    return tree, storages


def _read_archive(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {item.filename: item.file_size for item in archive.infolist()}
        if len(sizes) < len(archive.infolist()):
            raise ValueError("it holds a file twice under one name")
        if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
            raise ValueError("it is compressed, as PyTorch's archives never are")
        # Each file lies in the archive for itself, so that together they are no larger than it.
        if sum(sizes.values()) > len(data):
            raise ValueError("its files are larger than the whole")
        folder = next(name for name in sizes if name.endswith("data.pkl")).removesuffix("data.pkl")
        stream = io.BytesIO(archive.read(f"{folder}data.pkl"))
        described = _TensorUnpickler(_next_pickle(stream))
        tree = described.load()
        mark = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in sizes else b"little"
        storages: dict[str, np.ndarray] = {}
        for key, root in described.roots.items():
            size = sizes.get(f"{folder}data/{key}")
            if size != root.nbytes:
                raise ValueError(f"its storage {key} has {size} bytes instead of {root.nbytes}")
            numbers = archive.read(f"{folder}data/{key}")
            storages[key] = _as_numbers(numbers, root.kind, ">" if mark == b"big" else "<")
    return tree, storages


def _next_pickle(stream: io.BytesIO) -> bytes:
    """The bytes of the pickle that begins where the stream is; the stream stands behind it then.

    Every length in it is compared with what is there before the unpickler, which allocates first,
    sees it; and so is a place in its memo, for which the unpickler makes a table of that size.
    """
    start = stream.tell()
    for opcode, argument, position in pickletools.genops(stream):
        is_place = opcode.name in ("PUT", "LONG_BINPUT")
        if is_place and not 0 <= (argument or 0) <= (position or 0) - start:
            raise pickle.UnpicklingError("it numbers more values than it has")
    return stream.getbuffer()[start : stream.tell()].tobytes()


def _as_numbers(data: bytes | memoryview, kind: str, order: str) -> np.ndarray:
    numbers = np.frombuffer(data, np.dtype(order + _TYPES[kind]))
    if kind == _BFLOAT16:  # a float32 without its lower half
        return (numbers.astype("=u4") << 16).view("=f4")
    return numbers


def _as_array(name: str, tensor: _Tensor, storages: Mapping[str, np.ndarray]) -> np.ndarray:
    """A tensor's elements, as a view of its storage."""
    storage, offset, shape, strides = tensor
    is_sound = isinstance(storage, _Storage) and storage.key in storages
    is_sound = is_sound and all(map(_are_counts, ((offset,), shape, strides)))
    if not is_sound or len(shape) != len(strides):
        raise ValueError(f"its tensor {name} is described in no known way")
    # The stride of an axis of one element is never used, and may be any.
    strides = [stride if size > 1 else 0 for size, stride in zip(shape, strides, strict=True)]
    numel = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    # Also refused: elements used twice, as an expanded tensor does, for which there is no bound.
    if numel and (last >= storage.numel or numel > storage.numel):
        raise ValueError(f"its tensor {name} {tuple(shape)} is larger than its storage")
    whole = storages[storage.key]
    if not numel:
        return np.zeros(shape, whole.dtype)
    steps = [stride * whole.itemsize for stride in strides]
    return np.ndarray(shape, whole.dtype, whole, (storage.start + offset) * whole.itemsize, steps)


def _are_counts(values: Any) -> bool:
    """Whether these are a few non-negative integers of a size that memory can have."""
    if not isinstance(values, tuple) or len(values) > _MOST_DIMENSIONS:
        return False
    return all(type(value) is int and 0 <= value < 2**40 for value in values)
