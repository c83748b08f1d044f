"""What a run shows on its way, and what it ends with."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from nst_jax.descent.schedule import Scale
from nst_jax.host.outlets import outlets
from nst_jax.objective.loss import LossParts


class Progress(NamedTuple):
    """What a callback sees. In a batch, every array has a leading axis of lanes.

    Args:
        step: Evaluations made, over all sizes of the image.
        num_steps: Evaluations to be made at most.
        done: The share of the work that is done, pixels counted, from 0 to 1.
        loss: Loss at the last evaluation.
        terms: Its parts by term, such as `terms["style"]["conv1_1"]`, scaled but not weighted.
        best_loss: Lowest loss so far at the present size.
        image: The image of that loss, or the average so far, in [0, 1].
        ahead: What is still to be done, at most: the present size with the steps that are left
            there, maybe none, then the sizes to come.
    """

    step: int
    num_steps: int
    done: float
    loss: np.ndarray
    terms: LossParts
    best_loss: np.ndarray
    image: Array
    ahead: tuple[Scale, ...]


class TransferResult(NamedTuple):
    """What a run found. From `stylize_batch`, every field has a leading axis of lanes.

    Args:
        image: The image of the lowest loss at full size, or the average that was asked for, sRGB in
            [0, 1], (height, width, 3); the loss is its own.
        loss: That loss; infinite if no evaluation was finite.
        best_step: The evaluation that saw it, from 1.
        num_steps: Evaluations made, fewer than asked for where `tolerance` or a failure stopped the
            run; the last is that of the average where one was asked for.
        losses: The loss at each evaluation, (num_steps,); in a batch NaN beyond a lane's own end.
        terms: Its parts at each evaluation, likewise: `terms["style"]["conv1_1"]`, scaled but not
            weighted.
        sizes: Longest side of the image at each evaluation in pixels, which grows where the run
            goes from coarse to fine; in a batch 0 beyond a lane's own end.
        converged: Whether `tolerance` stopped the run.
        cut_off: Whether the run was stopped before its end.
        failure: What stopped being finite and when, or an empty text; a lane that failed at a
            smaller size has that size's loss. A run fails when its first evaluation, or ten in a
            row, are not finite.
    """

    image: Array
    loss: np.ndarray
    best_step: np.ndarray
    num_steps: np.ndarray
    losses: np.ndarray
    terms: LossParts
    sizes: np.ndarray
    converged: np.ndarray
    cut_off: np.ndarray
    failure: np.ndarray

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture, and its loss and history to a .json beside it.

        Of a batch, each lane's, with its number behind the name. The .json has no settings, since
        images and weights were arrays: `rerun` cannot read it.

        Args:
            path: The picture, .png .jpg .webp or .tif, which is replaced if it is there.

        Raises:
            ConfigError: Beside it lies a .json that no such call has written.
            ImageError: A file cannot be written.

        Example:
            >>> stylize(params, content, style, config).save("result.png")
        """
        outlets().save_result(self, Path(path))

    def __repr__(self) -> str:
        # Transformations of JAX put other things in the places of arrays.
        if not isinstance(self.losses, np.ndarray) or np.ndim(self.image) not in (3, 4):
            return tuple.__repr__(self)
        return _described(self)

    def _repr_png_(self) -> bytes:
        return outlets().result_as_png(self)


Callback = Callable[[Progress], None]


def _described(result: TransferResult) -> str:
    """A run, or a batch, in three lines."""
    height, width = result.image.shape[-3:-1]
    size = f"{width} × {height} pixels"
    ends = {
        "failed": result.failure != "",
        "cut off": result.cut_off,
        "stopped by the tolerance": result.converged,
    }
    if result.image.ndim == 4:
        counts = [f"{np.count_nonzero(how)} {name}" for name, how in ends.items()]
        found = f"TransferResult: {len(result.image)} lanes of {size}"
        losses = ", ".join(f"{float(loss):.4g}" for loss in result.loss)
        return f"{found}\n  losses {losses}\n  {', '.join(counts)}"
    how = next((name for name, is_so in ends.items() if is_so), "all steps made")
    best = int(result.best_step)
    terms = [
        f"{term} {sum(float(rows[best - 1]) for rows in own.values()) / len(own):.4g}"
        for term, own in result.terms.items()
        if best and own
    ]
    return (
        f"TransferResult: {size}, {how}\n"
        f"  loss {float(result.loss):.4g} at step {best} of {int(result.num_steps)}\n"
        f"  {', '.join(terms)} (means over layers)"
    )


def join(earlier: TransferResult, later: TransferResult) -> TransferResult:
    """Two stages as one run.

    A lane that did not take part in the later one keeps what the earlier one found.
    """
    took_part = later.num_steps > 0

    def pick(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        return np.where(took_part, new, old)

    def rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        own = [
            np.concatenate([row[:count], other[:more]])
            for row, count, other, more in zip(
                first, earlier.num_steps, second, later.num_steps, strict=True
            )
        ]
        table = np.full(
            (len(own), max(map(len, own))), np.nan if first.dtype.kind == "f" else 0, first.dtype
        )
        for line, values in zip(table, own, strict=True):
            line[: len(values)] = values
        return table

    best_step = np.where(later.best_step > 0, earlier.num_steps + later.best_step, 0)
    return TransferResult(
        image=later.image,
        loss=pick(later.loss, earlier.loss),
        best_step=pick(best_step, earlier.best_step),
        num_steps=earlier.num_steps + later.num_steps,
        losses=rows(earlier.losses, later.losses),
        terms=jax.tree.map(rows, earlier.terms, later.terms),
        sizes=rows(earlier.sizes, later.sizes),
        converged=pick(later.converged, earlier.converged),
        cut_off=pick(later.cut_off, earlier.cut_off),
        failure=pick(later.failure, earlier.failure),
    )
