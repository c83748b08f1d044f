"""All that it takes to go on with a batch of descents, as named arrays that a file can hold."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from nst_jax.config import ConfigError, TransferConfig
from nst_jax.descent import StepInfo, TransferState
from nst_jax.history import HistoryState, TransferResult
from nst_jax.objective import LossTerms

Arrays = Mapping[str, Any]
"""A snapshot as arrays by name, such as `"states/image"`."""


class Snapshot(NamedTuple):
    """A batch of descents between two evaluations.

    Args:
        scale: Which scale of the pyramid they are at, from 0.
        states: Their states there.
        history: What was seen there.
        found: What the coarser scales found, its images enlarged to this scale; None at the first.
    """

    scale: Any
    states: TransferState
    history: HistoryState
    found: TransferResult | None


def to_arrays(snapshot: Snapshot) -> Arrays:
    """The arrays of a snapshot by name; those on a device stay there."""
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(snapshot)}


def from_arrays(arrays: Arrays, config: TransferConfig, describe_states: Callable[[int, int], TransferState]) -> Snapshot:
    """The snapshot that `to_arrays` took apart.

    Args:
        arrays: By name.
        config: That of the run.
        describe_states: Maps a scale and a number of lanes to the shapes of the states there.

    Raises:
        ConfigError: The arrays are not those of such a run.
    """
    try:
        scale, lanes = int(arrays["scale"]), np.shape(arrays["history/active"])
        terms = LossTerms(dict.fromkeys(config.content_layers, 0), dict.fromkeys(config.style_layers, 0), 0)
        blank: Any = 0
        result: dict[str, Any] = {**dict.fromkeys(TransferResult._fields, blank), "terms": terms}
        template = Snapshot(
            scale=0,
            states=describe_states(scale, *lanes),
            history=HistoryState(StepInfo(blank, terms, blank), *[blank] * (len(HistoryState._fields) - 1)),
            found=TransferResult(**result) if any(name.startswith("found/") for name in arrays) else None,
        )
        snapshot = jax.tree_util.tree_map_with_path(lambda path, _: arrays[_name(path)], template)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(f"what was saved is not of this run ({error})") from error
    shapes = jax.tree.map(lambda found, wanted: (found.shape, found.dtype) == (wanted.shape, wanted.dtype), snapshot.states, template.states)
    rows = {np.shape(leaf) for leaf in jax.tree.leaves(snapshot.history.info)}
    by_lane = {np.shape(leaf) for leaf in snapshot.history[1:]}
    if not all(jax.tree.leaves(shapes)) or len(rows) != 1 or next(iter(rows))[1:] != lanes or by_lane != {lanes}:
        raise ConfigError("what was saved is not of this run (other shapes)")
    return snapshot


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
