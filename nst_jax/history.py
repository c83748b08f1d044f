"""The history of a batch of descents on the host: what callbacks see, what a run returns, and which lanes have ended."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.descent import StepInfo, TransferState
from nst_jax.objective import LossTerms

_TOLERANCE_WINDOW = 10
_MOST_BAD_STEPS = 10  # L-BFGS takes a tenth of its step after each: ten are more than float32 resolves


class Progress(NamedTuple):
    """What a callback sees. In a batch, every array has a leading axis of lanes.

    Args:
        step: Evaluations made, over all sizes of the image.
        num_steps: Evaluations to be made at most.
        done: The share of the work that is done, pixels counted, from 0 to 1.
        loss: Loss at the last evaluation.
        terms: Its terms.
        best_loss: Lowest loss so far at the present size.
        image: The image of that loss, clipped to [0, 1].
    """

    step: int
    num_steps: int
    done: float
    loss: np.ndarray
    terms: LossTerms
    best_loss: np.ndarray
    image: Array


class TransferResult(NamedTuple):
    """What a run found. From `stylize_batch`, every field has a leading axis of lanes.

    Args:
        image: The image of the lowest loss at full size, sRGB clipped to [0, 1], (height, width, 3).
        loss: That loss; infinite if no evaluation was finite.
        best_step: The evaluation that saw it, from 1.
        num_steps: Evaluations made, fewer than asked for where `tolerance` or a failure stopped the run.
        losses: The loss at each evaluation, (num_steps,); in a batch NaN beyond a lane's own end.
        terms: The terms at each evaluation, likewise.
        sizes: Longest side of the image at each evaluation in pixels, which grows where the run goes from coarse to fine; in a batch 0 beyond a
            lane's own end.
        converged: Whether `tolerance` stopped the run.
        failure: What stopped being finite and when, or an empty text. A run fails when its first evaluation, or ten in a row, are not finite.
    """

    image: Array
    loss: np.ndarray
    best_step: np.ndarray
    num_steps: np.ndarray
    losses: np.ndarray
    terms: LossTerms
    sizes: np.ndarray
    converged: np.ndarray
    failure: np.ndarray


class History:
    """Collects what a batch's pieces report.

    Args:
        active: Which lanes are to run, (lanes,).
        num_steps: Evaluations of each.
        tolerance: A lane ends once its best loss falls by less than this fraction over ten steps; 0 never ends one.
        steps_before: Evaluations that each lane has made at other sizes, (lanes,); callbacks count on from the most.
    """

    def __init__(self, active: Any, num_steps: int, tolerance: float, steps_before: Any = 0) -> None:
        self.active = np.array(active, bool)
        self._own_before = np.broadcast_to(steps_before, self.active.shape)
        self._before = int(self._own_before.max())
        self._max_steps, self._tolerance = num_steps, tolerance
        self._infos: list[StepInfo] = []
        self._step = 0
        lanes = self.active.shape
        self._num_steps = np.zeros(lanes, np.int64)
        self._bad_steps = np.zeros(lanes, np.int64)  # in a row, up to the last
        self._best_before = np.full(lanes, np.inf)  # lowest loss at the last multiple of the window
        self._converged = np.zeros(lanes, bool)
        self._failure = np.full(lanes, "", object)

    @property
    def done(self) -> bool:
        """Whether every lane has ended."""
        return self._step >= self._max_steps or not self.active.any()

    def until_next_stop(self, piece: int, callback_every: int) -> int:
        """A piece of at most that length that ends no later than the next multiple somebody waits for."""
        stops = [self._max_steps]
        if callback_every:
            made = self._before + self._step
            stops.append((made // callback_every + 1) * callback_every - self._before)
        if self._tolerance:
            stops.append((self._step // _TOLERANCE_WINDOW + 1) * _TOLERANCE_WINDOW)
        return min(piece, *(stop - self._step for stop in stops))

    def add(self, info: StepInfo, num_steps: int, states: TransferState) -> None:
        """Takes what a piece of `num_steps` saw, (at least num_steps, lanes), and ends the lanes that failed or no longer gain."""
        info = jax.tree.map(lambda rows: np.asarray(rows)[:num_steps], info)
        self._infos.append(info)
        for lane in np.flatnonzero(self.active):
            self._count_bad_steps(info, int(lane))
        self._num_steps[self.active] += num_steps
        self._step += num_steps
        self.active &= self._failure == ""
        if self._tolerance and self._step % _TOLERANCE_WINDOW == 0:
            best, before = np.asarray(states.best_loss), self._best_before
            seen = np.isfinite(before)
            gained = np.where(seen, before, 0) - np.where(seen, best, 0) > self._tolerance * np.where(seen, before, 0)
            self._converged |= self.active & seen & ~gained
            self.active &= ~self._converged
            self._best_before = best

    def _count_bad_steps(self, info: StepInfo, lane: int) -> None:
        for row, finite in enumerate(info.finite[:, lane]):
            self._bad_steps[lane] = 0 if finite else self._bad_steps[lane] + 1
            step = self._step + row + 1
            if self._bad_steps[lane] >= (1 if step == 1 else _MOST_BAD_STEPS) and not self._failure[lane]:
                first = int(self._own_before[lane]) + step - int(self._bad_steps[lane]) + 1
                self._failure[lane] = f"{_first_bad(info, row, lane)} at step {first} is not finite; make the weights smaller"

    def progress(self, states: TransferState) -> Progress:
        """What callbacks see now; of an ended lane, NaN for its loss and terms."""
        loss, terms = jax.tree.map(lambda rows: rows[-1], self._infos[-1][:2])
        return Progress(
            step=self._before + self._step,
            num_steps=self._before + self._max_steps,
            done=self._step / self._max_steps,
            loss=loss,
            terms=terms,
            best_loss=np.asarray(states.best_loss),
            image=jnp.clip(states.best_image, 0, 1),
        )

    def result(self, states: TransferState) -> TransferResult:
        """What the batch returns; ended lanes as they were then."""
        longest = self._num_steps.max(initial=0)
        losses, terms = jax.tree.map(lambda *rows: np.concatenate(rows).T[:, :longest], *(info[:2] for info in self._infos))
        return TransferResult(
            image=jnp.clip(states.best_image, 0, 1),
            loss=np.asarray(states.best_loss),
            best_step=np.asarray(states.best_step),
            num_steps=self._num_steps,
            losses=losses,
            terms=terms,
            sizes=np.where(np.arange(longest) < self._num_steps[:, None], max(states.best_image.shape[1:3]), 0),
            converged=self._converged,
            failure=self._failure,
        )


def _first_bad(info: StepInfo, row: int, lane: int) -> str:
    """The first part of the loss, in the order of its terms, that is not finite."""
    terms: LossTerms = info.terms
    parts = {f"the content term of {layer}": rows for layer, rows in terms.content.items()}
    parts |= {f"the style term of {layer}": rows for layer, rows in terms.style.items()}
    parts |= {"the total variation": terms.total_variation, "the weighted loss": info.loss}
    return next((name for name, rows in parts.items() if not np.isfinite(rows[row, lane])), "the squared length of the gradient")
