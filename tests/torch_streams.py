"""Files as PyTorch writes them, made without it, so that a test can make each part of them
wrong."""

import io
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
KINDS = {"|u1": "Byte", "|i1": "Char", "<i2": "Short", "<i4": "Int", "<i8": "Long"}
KINDS |= {"<f2": "Half", "<f4": "Float", "<f8": "Double", "|b1": "Bool"}


class Name(NamedTuple):
    """What a pickle asks to be looked up."""

    module: str
    name: str


class Call(NamedTuple):
    """What a pickle asks to be called, and its arguments."""

    function: Any
    arguments: tuple


class Stored(NamedTuple):
    """A storage as a pickle names it."""

    identity: Any


class Raw(NamedTuple):
    """A pickle's own words."""

    words: bytes


def pickled(value):
    """A pickle of protocol 2, as PyTorch's are."""
    return b"\x80\x02" + _words(value) + b"."


def _words(value):
    match value:
        case Raw(words):
            return words
        case Name(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(function, arguments):
            return _words(function) + _words(arguments) + b"R"
        case Stored(identity):
            return _words(identity) + b"Q"
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case str():
            data = value.encode()
            return b"X" + struct.pack("<I", len(data)) + data
        case tuple():
            return b"(" + b"".join(map(_words, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_words, value)) + b"e"
        case dict():
            return (
                b"}(" + b"".join(_words(key) + _words(item) for key, item in value.items()) + b"u"
            )
    raise TypeError(value)


def storage(key, kind, numel, *view):
    """A whole storage; a legacy stream's has a sixth part, which may name a part of it."""
    return Stored(("storage", Name("torch", f"{kind}Storage"), key, "cpu", numel, *view))


def tensor(stored, shape, strides, offset=0, function="_rebuild_tensor_v2"):
    """A view of a storage."""
    hooks = (False, Call(Name("collections", "OrderedDict"), ()))
    more = hooks if function == "_rebuild_tensor_v2" else ()
    return Call(Name("torch._utils", function), (stored, offset, shape, strides, *more))


def whole(key, array, legacy=True):
    """A tensor that is all of a storage of its own."""
    strides = tuple(step // array.itemsize for step in array.strides)
    return tensor(
        storage(key, KINDS[array.dtype.str], array.size, *[None] * legacy), array.shape, strides
    )


def legacy(tree, storages, *, magic=MAGIC, version=VERSION, keys=None, counts=None):
    """A legacy stream of a tree that names these storages, arrays by key."""
    counts = counts or {}
    facts = {
        "protocol_version": VERSION,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    heads = (magic, version, facts, tree, list(storages) if keys is None else keys)
    tails = (
        struct.pack("<q", counts.get(key, array.size)) + array.tobytes()
        for key, array in storages.items()
    )
    return b"".join([*map(pickled, heads), *tails])


def archive(tree, storages, *, byteorder=b"little", compression=zipfile.ZIP_STORED):
    """The zip archive of a tree that names these storages, arrays by key."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as packed:
        packed.writestr("model/data.pkl", pickled(tree))
        if byteorder:
            packed.writestr("model/byteorder", byteorder)
        for key, array in storages.items():
            packed.writestr(f"model/data/{key}", array.tobytes())
    return stream.getvalue()


def state(arrays, is_legacy=True):
    """The bytes of a file of these arrays by name, each with a storage of its own."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    keys = {name: str(94_000_000 + 64 * index) for index, name in enumerate(arrays)}
    tree = {name: whole(keys[name], array, is_legacy) for name, array in arrays.items()}
    return (legacy if is_legacy else archive)(
        tree, {keys[name]: array for name, array in arrays.items()}
    )
