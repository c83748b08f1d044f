"""What a weights file holds, and the error of all that cannot be read, had or used."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Tensors = dict[str, np.ndarray]


class WeightsError(ValueError):
    """Weights are missing, damaged or not what was asked for.

    The message says which file, what is wrong, and what to do.
    """


class FetchError(WeightsError):
    """A published file cannot be had at the time.

    Args:
        what: The file, or what it is packed in.
        reason: Why, in a few words.
        advice: What to do.
    """

    def __init__(self, what: str, reason: str, advice: str = "") -> None:
        super().__init__(what, reason, advice)  # by which pickle makes another
        self._what, self._reason, self._advice = what, reason, f"; {advice}" if advice else ""

    def __str__(self) -> str:
        return f"{self._what} cannot be fetched ({self._reason}){self._advice}"

    @property
    def brief(self) -> str:
        """The message without the file."""
        return f"{self._reason}{self._advice}"


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
