"""PyTorch's own files, read without it: what they may hold, and what hostile ones come to."""

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import nst_jax as nst
from nst_jax import weights
from nst_jax.weights.readers import read_format
from tests.torch_streams import (
    KINDS,
    Call,
    Name,
    Raw,
    archive,
    legacy,
    pickled,
    state,
    storage,
    tensor,
    whole,
)

ARRAYS = {
    f"features.{index}.{kind}": np.arange(24).reshape(2, 3, 4).astype(kind)
    if kind != "|b1"
    else np.array([True, False])
    for index, kind in enumerate(KINDS)
}
WRITERS = {"legacy": (legacy, True), "archive": (archive, False)}


@pytest.fixture
def read(tmp_path):
    """Arrays by name of a file of these bytes, read in this process."""

    def run(data):
        path = tmp_path / "a.pth"
        path.write_bytes(data)
        return read_format("PyTorch", path).tensors

    return run


@pytest.mark.parametrize("is_legacy", [True, False])
def test_tensors_of_every_plain_type_come_back_bit_for_bit(is_legacy, read):
    found = read(state(ARRAYS, is_legacy))
    assert set(found) == {key for key in ARRAYS if "|b1" not in key}  # truth values are no weights
    for key, array in found.items():
        np.testing.assert_array_equal(array, ARRAYS[key])
        assert array.dtype == ARRAYS[key].dtype


def test_bfloat16_is_widened(read):
    numbers = np.array([1.0, -0.5, 3e38], np.float32)
    halves = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    found = read(
        legacy({"a": tensor(storage("1", "BFloat16", 3, None), (3,), (1,))}, {"1": halves})
    )["a"]
    np.testing.assert_allclose(found, numbers, rtol=2**-7)
    assert found.dtype == np.float32


def test_the_byte_order_of_an_archive_is_heeded_and_no_mark_means_little(read):
    numbers = np.array([1.5, 2.5], np.float32)
    tree = {"a": whole("1", numbers, False)}
    np.testing.assert_array_equal(
        read(archive(tree, {"1": numbers.astype(">f4")}, byteorder=b"big"))["a"], numbers
    )
    np.testing.assert_array_equal(read(archive(tree, {"1": numbers}, byteorder=None))["a"], numbers)


@pytest.mark.parametrize("form", WRITERS)
def test_tensors_are_views_of_storages_that_they_share(form, read):
    write, is_legacy = WRITERS[form]
    numbers = np.arange(24, dtype=np.float32)
    stored = storage("1", "Float", 24, *[None] * is_legacy)
    tree = {
        "whole": tensor(stored, (24,), (1,)),
        "transposed": tensor(stored, (4, 6), (1, 4)),
        "every other": tensor(stored, (3, 2), (8, 2), 5),
        "one number": tensor(stored, (1, 1), (999, 0), 23),  # strides that are never used
        "nothing": tensor(stored, (0, 3), (3, 1), 24),
        "no axis": tensor(stored, (), (), 7),
        "old": tensor(stored, (2,), (1,), 3, "_rebuild_tensor"),
        "parameter": Call(
            Name("torch._utils", "_rebuild_parameter"), (tensor(stored, (2,), (1,)), True, {})
        ),
    }
    if is_legacy:
        tree["part"] = tensor(storage("1", "Float", 24, ("part", 10, 4)), (2,), (2,), 1)
    found = read(write(tree, {"1": numbers}))
    np.testing.assert_array_equal(found["whole"], numbers)
    np.testing.assert_array_equal(found["transposed"], numbers.reshape(6, 4).T)
    np.testing.assert_array_equal(found["every other"], [[5, 7], [13, 15], [21, 23]])
    assert (
        found["one number"] == [[23]] and found["nothing"].shape == (0, 3) and found["no axis"] == 7
    )
    np.testing.assert_array_equal(found["old"], [3, 4])
    np.testing.assert_array_equal(found["parameter"], [0, 1])
    if is_legacy:
        np.testing.assert_array_equal(found["part"], [11, 13])


def test_what_lies_around_the_tensors_is_passed_over(read):
    """A training checkpoint; and a module's ordered dictionary, which has attributes of its own."""
    ordered = pickled(Call(Name("collections", "OrderedDict"), ()))[2:-1]
    kept = pickled({"_metadata": 1})[2:-1]
    tree = {
        "epoch": 3,
        "names": ["a"],
        "state_dict": {"a": whole("1", np.ones(2, np.float32))},
        "module": Raw(ordered + kept + b"b"),
    }
    assert list(read(legacy(tree, {"1": np.ones(2, np.float32)}) + b"more")) == ["state_dict/a"]


ONES = np.ones(4, np.float32)


def described(stored=None, shape=(4,), strides=(1,), offset=0):
    """A legacy stream of one tensor that is described like this."""
    return legacy(
        {"a": tensor(stored or storage("1", "Float", 4, None), shape, strides, offset)}, {"1": ONES}
    )


GOOD = {"a": whole("1", ONES)}
HOSTILE = {
    "version": (legacy(GOOD, {"1": ONES}, version=1002), "it is of version 1002"),
    "keys that are no list": (legacy(GOOD, {"1": ONES}, keys="1"), "it has no list of storages"),
    "a key of no tensor": (
        legacy(GOOD, {"1": ONES}, keys=["2"]),
        "a storage '2' that no tensor has",
    ),
    "a key twice": (legacy(GOOD, {"1": ONES}, keys=["1", "1"]), "lists it twice"),
    "a key that is no text": (
        legacy(GOOD, {"1": ONES}, keys=[(1,)]),
        "a storage '(1,)' that no tensor has",
    ),
    "no key": (legacy(GOOD, {}), "its tensor a is described in no known way"),
    "more numbers than there are": (
        legacy(GOOD, {"1": ONES}, counts={"1": 5}),
        "has 5 numbers instead of 4",
    ),
    "fewer numbers": (legacy(GOOD, {"1": ONES}, counts={"1": -(2**63)}), "numbers instead of 4"),
    "a storage larger than the file": (
        described(storage("1", "Float", 2**60, None)),
        "it ends within the storage 1",
    ),
    "a storage of less than nothing": (
        described(storage("1", "Float", -1, None)),
        "its storage 1 is -1 numbers",
    ),
    "a storage of complex numbers": (
        described(storage("1", "ComplexFloat", 4, None)),
        "it asks for torch.ComplexFloatStorage",
    ),
    "a storage of two types": (
        legacy({"a": whole("1", ONES), "b": whole("1", np.ones(4))}, {"1": ONES}),
        "it describes its storage 1 in two ways",
    ),
    "a part beyond the end": (
        described(storage("1", "Float", 4, ("b", 2, 3))),
        "a part of its storage 1 that is not there",
    ),
    "a part before the start": (
        described(storage("1", "Float", 4, ("b", -1, 3))),
        "a part of its storage 1 that is not there",
    ),
    "a storage by another name": (
        described(Raw(pickled(("module", 1))[2:-1] + b"Q")),
        "it names a storage in no known way",
    ),
    "no storage": (legacy({"a": tensor("1", (4,), (1,))}, {}), "described in no known way"),
    "a shape too large": (described(shape=(5,)), "is larger than its storage"),
    "a shape beyond all memory": (
        described(shape=(2**39, 2**39, 2**39), strides=(0, 0, 0)),
        "is larger than its storage",
    ),
    "a shape beyond all numbers": (described(shape=(2**500,)), "described in no known way"),
    "a shape of many axes": (
        described(shape=(1,) * 40, strides=(1,) * 40),
        "described in no known way",
    ),
    "a shape of less than nothing": (described(shape=(-1,)), "described in no known way"),
    "a shape that is no tuple": (described(shape=4), "described in no known way"),
    "a stride too large": (described(shape=(2,), strides=(4,)), "is larger than its storage"),
    "a stride backwards": (
        described(shape=(2,), strides=(-1,), offset=3),
        "described in no known way",
    ),
    "numbers used twice": (described(shape=(2, 4), strides=(0, 1)), "is larger than its storage"),
    "another number of strides": (described(strides=(1, 1)), "described in no known way"),
    "an offset beyond the end": (described(shape=(1,), offset=4), "is larger than its storage"),
    "an offset before the start": (described(shape=(1,), offset=-1), "described in no known way"),
    "too few arguments": (
        legacy({"a": Call(Name("torch._utils", "_rebuild_tensor_v2"), (1,))}, {}),
        "missing",
    ),
    "a memo beyond all memory": (
        legacy(Raw(b"}r\xff\xff\xff\x7f"), {}),
        "it numbers more values than it has",
    ),
    "a text beyond the end": (
        legacy(Raw(b"\x8d" + struct.pack("<Q", 2**40)), {}),
        "expected 1099511627776 bytes",
    ),
    "attributes for a stand-in": (
        legacy(Raw(b"ctorch._utils\n_rebuild_tensor\n}X\1\0\0\0aNsb"), {}),
        "attribute",
    ),
    "a dictionary in itself": (
        legacy(Raw(b"}q\1X\1\0\0\0ah\1s"), {}),
        "the same dictionary at several places",
    ),
    "a packed archive": (
        archive({}, {"1": ONES}, compression=zipfile.ZIP_DEFLATED),
        "it is compressed",
    ),
    "an archive's storage too short": (
        archive({"a": whole("1", ONES, False)}, {"1": ONES[1:]}),
        "12 bytes instead of 16",
    ),
    "an archive's storage missing": (
        archive({"a": whole("1", ONES, False)}, {}),
        "None bytes instead of 16",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_lie_is_refused_in_one_line(case, read):
    data, message = HOSTILE[case]
    with pytest.raises(nst.WeightsError, match=r"a\.pth: ") as caught:
        read(data)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("is_legacy", [True, False])
def test_a_file_cut_or_changed_anywhere_raises_nothing_else(is_legacy, read):
    data = state({"a": np.ones((2, 3), np.float32), "b": np.ones(3, np.uint8)}, is_legacy)
    for length in range(0, len(data), 3):
        with pytest.raises(nst.WeightsError):
            read(data[:length])
    rng = np.random.default_rng(0)
    for position in range(0, len(data), 3):
        changed = bytearray(data)
        changed[position] = rng.integers(256)
        try:
            read(bytes(changed))
        except nst.WeightsError as error:
            assert "\n" not in str(error)


def test_an_archive_whose_files_lie_over_each_other_is_refused(read):
    """Many names of the same bytes would be read as many times what is there."""
    data = archive(
        {"a": whole("1", np.ones(400, np.float32), False)}, {"1": np.ones(400, np.float32)}
    )
    at = data.rindex(b"PK\x01\x02")
    entry, end = data[at : data.index(b"PK\x05\x06")], bytearray(data[data.index(b"PK\x05\x06") :])
    count = struct.unpack_from("<HxxI", end, 10)[0] + 9
    size = struct.unpack_from("<I", end, 12)[0] + 9 * len(entry)
    struct.pack_into("<HHI", end, 8, count, count, size)
    others = b"".join(
        entry.replace(b"model/data/1", f"model/data/{index}".encode()) for index in "abcdefghi"
    )
    with pytest.raises(nst.WeightsError, match="its files are larger than the whole"):
        read(data[:at] + entry + others + bytes(end))


@pytest.mark.parametrize("place", ["tree", "keys", "magic", "version", "storage", "archive"])
@pytest.mark.parametrize("module", ["os", "posix", "builtins", "torch"])
def test_a_file_that_wants_to_run_something_runs_nothing(
    place, module, read, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    function = Name(module, {"builtins": "exec", "torch": "load"}.get(module, "mkdir"))
    evil = Call(function, ("open('ran', 'w')" if module == "builtins" else "ran",))
    stream = {
        "tree": lambda: legacy({"a": evil}, {}),
        "keys": lambda: legacy({}, {}, keys=[evil]),
        "magic": lambda: legacy({}, {}) + pickled(evil),
        "version": lambda: legacy({}, {}, version=evil),
        "storage": lambda: described(storage(evil, "Float", 4, None)),
        "archive": lambda: archive({"a": evil}, {}),
    }[place]()
    if place == "magic":  # what follows the storages is not read at all
        assert read(stream) == {}
    else:
        with pytest.raises(
            nst.WeightsError, match=f"it asks for {module}.{function.name}, and nothing but tensors"
        ):
            read(stream)
    assert not (tmp_path / "ran").exists()


def test_the_process_that_reads_imports_nothing_from_the_working_folder(tmp_path, monkeypatch):
    """Nor JAX, in which most of its memory would go."""
    monkeypatch.chdir(tmp_path)
    for name in ("json", "numpy", "h5py", "nst_jax", "readers", "jax"):
        Path(f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    Path("evil.pth").write_bytes(legacy({"a": Call(Name("os", "mkdir"), ("ran",))}, {}))
    with pytest.raises(nst.WeightsError, match=r"evil\.pth: .*it asks for os\.mkdir"):
        weights.read_weights_file(Path("evil.pth"))
    assert not os.path.exists("ran")
