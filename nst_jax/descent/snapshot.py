"""All that it takes to go on with a batch of descents, as named arrays that a file can hold."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.checks import ConfigError
from nst_jax.descent.history import HistoryState
from nst_jax.descent.result import TransferResult
from nst_jax.descent.step import StepInfo, TransferState
from nst_jax.objective.loss import LossParts

Arrays = Mapping[str, Any]
"""A snapshot as arrays by name, such as `"states/image"`."""


class SnapshotError(ConfigError):
    """What was saved is not of the run that is to go on."""


class Snapshot(NamedTuple):
    """A batch of descents between two evaluations.

    Args:
        scale: Which scale of the pyramid they are at, from 0.
        states: Their states there.
        history: What was seen there.
        found: What the coarser scale found, its images enlarged to this scale; None at the first.
    """

    scale: Any
    states: TransferState
    history: HistoryState
    found: TransferResult | None


def to_arrays(snapshot: Snapshot) -> Arrays:
    """The arrays of a snapshot by name; those on a device stay there."""
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(snapshot)}


def from_arrays(
    arrays: Arrays, terms: LossParts, describe_states: Callable[[int, int], TransferState]
) -> Snapshot:
    """The snapshot that `to_arrays` took apart.

    Args:
        arrays: By name.
        terms: Anything for each part of each term of the run's loss.
        describe_states: Maps a scale and a number of lanes to the shapes of the states there.

    Raises:
        SnapshotError: The arrays are not those of such a run.
    """
    try:
        scale = operator.index(np.asarray(arrays["scale"]).item())
        lanes = np.shape(arrays["history/active"])
        if scale < 0:
            raise ValueError("its scale is negative")
        blank: Any = 0
        result: dict[str, Any] = {**dict.fromkeys(TransferResult._fields, blank), "terms": terms}
        template = Snapshot(
            scale=0,
            states=describe_states(scale, *lanes),
            history=HistoryState(
                StepInfo(blank, terms, blank), *[blank] * (len(HistoryState._fields) - 1)
            ),
            found=TransferResult(**result)
            if any(name.startswith("found/") for name in arrays)
            else None,
        )
        others = set(arrays) - {
            _name(path) for path, _ in jax.tree_util.tree_leaves_with_path(template)
        }
        if others:
            raise ValueError(f"it has {min(others)}")
        snapshot = jax.tree_util.tree_map_with_path(lambda path, _: arrays[_name(path)], template)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SnapshotError(
            f"what was saved is not of this run, or of another version of nst_jax ({error})"
        ) from error
    shapes = jax.tree.map(
        lambda found, wanted: (found.shape, found.dtype) == (wanted.shape, wanted.dtype),
        snapshot.states,
        template.states,
    )
    if (
        not all(jax.tree.leaves(shapes))
        or not _is_history(snapshot.history, lanes)
        or not _is_result(snapshot.found, lanes)
    ):
        raise SnapshotError(
            "what was saved is not of this run, or of another version of nst_jax (other shapes)"
        )
    # The program takes their memory, and the caller may go on from the same arrays again.
    states = jax.tree.map(
        lambda leaf: jnp.copy(leaf) if isinstance(leaf, Array) else leaf, snapshot.states
    )
    return snapshot._replace(states=states)


def _is_history(history: HistoryState, lanes: tuple[int, ...]) -> bool:
    if history.info is None:
        return False
    num_steps, info = len(history.info.loss), history.info
    kinds = [
        info.finite.dtype.kind == "b",
        *(leaf.dtype.kind == "f" for leaf in jax.tree.leaves(info[:2])),
    ]
    kinds += [leaf.dtype.kind == kind for leaf, kind in zip(history[1:], "biifbU", strict=True)]
    shapes = [np.shape(leaf) == (num_steps, *lanes) for leaf in jax.tree.leaves(info)]
    shapes += [np.shape(leaf) == lanes for leaf in history[1:]]
    return (
        all(kinds)
        and all(shapes)
        and bool(np.all((history.num_steps >= 0) & (history.num_steps <= num_steps)))
    )


def _is_result(found: TransferResult | None, lanes: tuple[int, ...]) -> bool:
    if found is None:
        return True
    columns = (*lanes, found.losses.shape[-1])
    shapes = [
        np.shape(leaf) == columns
        for leaf in (found.losses, found.sizes, *jax.tree.leaves(found.terms))
    ]
    kinds = [
        leaf.dtype.kind == "f"
        for leaf in (found.image, found.loss, found.losses, *jax.tree.leaves(found.terms))
    ]
    by_lane = {
        "loss": "f",
        "best_step": "i",
        "num_steps": "i",
        "converged": "b",
        "cut_off": "b",
        "failure": "U",
    }
    leaves = {name: getattr(found, name) for name in by_lane}
    shapes += [np.shape(leaf) == lanes for leaf in leaves.values()]
    kinds += [
        found.sizes.dtype.kind == "i",
        *(leaf.dtype.kind == by_lane[name] for name, leaf in leaves.items()),
    ]
    return (
        all(kinds)
        and all(shapes)
        and bool(np.all((found.num_steps >= 0) & (found.num_steps <= columns[-1])))
    )


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
