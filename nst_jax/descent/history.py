"""The history of a batch of descents, on the host.

From it come what callbacks see, what a run returns, and which lanes have ended.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from nst_jax.descent.result import Progress, TransferResult
from nst_jax.descent.schedule import Scale
from nst_jax.descent.step import StepInfo, TransferState
from nst_jax.objective.loss import LossParts

_TOLERANCE_WINDOW = 10
# L-BFGS takes a tenth of its step after each: ten are more than float32 resolves
_MOST_BAD_STEPS = 10


class HistoryState(NamedTuple):
    """All that a `History` has collected: arrays, all but the first with an axis of lanes alone.

    Args:
        info: What each evaluation saw, (steps, lanes); None before the first.
        active: Whether a lane has not ended.
        num_steps: Evaluations made.
        bad_steps: Evaluations in a row, up to the last, that were not finite.
        best_before: Lowest loss at the last multiple of the tolerance's window.
        converged: Whether the tolerance ended the lane.
        failure: What stopped being finite, or an empty text.
    """

    info: StepInfo | None
    active: np.ndarray
    num_steps: np.ndarray
    bad_steps: np.ndarray
    best_before: np.ndarray
    converged: np.ndarray
    failure: np.ndarray


class History:
    """Collects what a batch's pieces report.

    Args:
        active: Which lanes are to run, (lanes,).
        num_steps: Evaluations of each.
        tolerance: A lane ends once its best loss falls by less than this fraction over ten steps; 0
            never ends one.
        steps_before: Evaluations that each lane has made at other sizes, (lanes,); callbacks count
            on from the most.
        state: What a history of the same batch had collected when it was cut off, to go on from.
    """

    def __init__(
        self,
        active: Any,
        num_steps: int,
        tolerance: float,
        steps_before: Any = 0,
        state: HistoryState | None = None,
    ) -> None:
        lanes = np.shape(active)
        self._own_before = np.broadcast_to(steps_before, lanes)
        self._before = int(self._own_before.max())
        self._max_steps, self._tolerance = num_steps, tolerance
        self._found = jax.tree.map(np.array, state) or HistoryState(
            info=None,
            active=np.array(active, bool),
            num_steps=np.zeros(lanes, np.int64),
            bad_steps=np.zeros(lanes, np.int64),
            best_before=np.full(lanes, np.inf),
            converged=np.zeros(lanes, bool),
            failure=np.full(lanes, "", "U200"),
        )

    @property
    def active(self) -> np.ndarray:
        """Which lanes have not ended."""
        return self._found.active

    @property
    def state(self) -> HistoryState:
        """What another history needs to go on from here."""
        return jax.tree.map(np.copy, self._found)

    @property
    def _step(self) -> int:
        return 0 if self._found.info is None else len(self._found.info.loss)

    @property
    def done(self) -> bool:
        """Whether every lane has ended."""
        return self._step >= self._max_steps or not self.active.any()

    def until_next_stop(self, piece: int, every: int) -> int:
        """The length of the next piece: it ends no later than a step that somebody waits for."""
        stops = [self._max_steps]
        if every:
            made = self._before + self._step
            stops.append((made // every + 1) * every - self._before)
        if self._tolerance:
            stops.append((self._step // _TOLERANCE_WINDOW + 1) * _TOLERANCE_WINDOW)
        return min(piece, *(stop - self._step for stop in stops))

    def add(self, info: StepInfo, num_steps: int, states: TransferState) -> None:
        """Takes what a piece of `num_steps` saw, (at least num_steps, lanes).

        Lanes that failed, or no longer gain, end.
        """
        info = jax.tree.map(lambda rows: np.array(rows[:num_steps]), jax.device_get(info))
        for rows in jax.tree.leaves(info[:2]):
            rows[:, ~self.active] = np.nan
        found, made = self._found, self._step
        for lane in np.flatnonzero(self.active):
            self._count_bad_steps(info, made, int(lane))
        found.num_steps[self.active] += num_steps
        longer = (
            info
            if found.info is None
            else jax.tree.map(lambda *rows: np.concatenate(rows), found.info, info)
        )
        self._found = found = found._replace(info=longer)
        found.active[:] &= found.failure == ""
        if self._tolerance and self._step % _TOLERANCE_WINDOW == 0:
            best, before = jax.device_get(states.best_loss), found.best_before
            seen = np.isfinite(before)
            before, now = (np.where(seen, loss, 0) for loss in (before, best))
            gained = before - now > self._tolerance * np.abs(before)
            found.converged[:] |= self.active & seen & ~gained
            found.active[:] &= ~found.converged
            found.best_before[:] = best

    def _count_bad_steps(self, info: StepInfo, made: int, lane: int) -> None:
        bad_steps, failure = self._found.bad_steps, self._found.failure
        for row, finite in enumerate(info.finite[:, lane]):
            bad_steps[lane] = 0 if finite else bad_steps[lane] + 1
            step = made + row + 1
            if bad_steps[lane] >= (1 if step == 1 else _MOST_BAD_STEPS) and not failure[lane]:
                first = int(self._own_before[lane]) + step - int(bad_steps[lane]) + 1
                failure[lane] = (
                    f"{_first_bad(info, row, lane)} at step {first} is not finite; make "
                    "the weights, or the learning rate, smaller"
                )

    def progress(self, states: TransferState) -> Progress:
        """What callbacks see after a piece; of an ended lane, NaN for its loss and terms."""
        loss, terms = jax.tree.map(lambda rows: rows[-1], self._last_info[:2])
        left = 0 if self.done else self._max_steps - self._step
        height, width = states.best_image.shape[1:3]
        return Progress(
            step=self._before + self._step,
            num_steps=self._before + self._step + left,
            done=self._step / (self._step + left),
            loss=loss,
            terms=terms,
            best_loss=jax.device_get(states.best_loss),
            image=states.best_image,
            ahead=(Scale((height, width), left),),
        )

    def result(self, states: TransferState) -> TransferResult:
        """What the batch returns; ended lanes as they were then."""
        found = self._found
        longest = found.num_steps.max(initial=0)
        losses, terms = jax.tree.map(lambda rows: rows.T[:, :longest], self._last_info[:2])
        return TransferResult(
            image=states.best_image,
            loss=jax.device_get(states.best_loss),
            best_step=jax.device_get(states.best_step),
            num_steps=found.num_steps.copy(),
            losses=losses,
            terms=terms,
            sizes=np.where(
                np.arange(longest) < found.num_steps[:, None], max(states.best_image.shape[1:3]), 0
            ),
            converged=found.converged.copy(),
            cut_off=found.active & (not self.done),
            failure=found.failure.copy(),
        )

    @property
    def _last_info(self) -> StepInfo:
        assert self._found.info is not None, "no piece was added"
        return self._found.info


def _first_bad(info: StepInfo, row: int, lane: int) -> str:
    """The first part of the loss that is not finite."""
    terms: LossParts = info.terms
    parts = {
        _called(name, part): rows for name, own in terms.items() for part, rows in own.items()
    } | {"the weighted loss": info.loss}
    return next(
        (name for name, rows in parts.items() if not np.isfinite(rows[row, lane])),
        "the squared length of the gradient",
    )


def _called(name: str, part: str) -> str:
    """A part of the loss in words."""
    return (
        f"the {name.replace('_', ' ')}"
        if part == "all"
        else f"the {name.replace('_', ' ')} term of {part}"
    )
