"""The history of a batch of descents on the host: what callbacks see, what a run returns, and which lanes have ended."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.config import TransferConfig
from nst_jax.descent import StepInfo, TransferState
from nst_jax.objective import LossTerms

_TOLERANCE_WINDOW = 10


class Progress(NamedTuple):
    """What a callback sees. In a batch, every array has a leading axis of lanes.

    Args:
        step: Evaluations made.
        num_steps: Evaluations to be made at most.
        loss: Loss at the last evaluation.
        terms: Its terms.
        best_loss: Lowest loss so far.
        image: The image of that loss, clipped to [0, 1].
    """

    step: int
    num_steps: int
    loss: np.ndarray
    terms: LossTerms
    best_loss: np.ndarray
    image: Array


class TransferResult(NamedTuple):
    """What a run found. From `stylize_batch`, every field has a leading axis of lanes.

    Args:
        image: The image of the lowest loss, sRGB clipped to [0, 1], (height, width, 3).
        loss: That loss; infinite if no evaluation was finite.
        best_step: The evaluation that saw it, from 1.
        num_steps: Evaluations made, fewer than asked for where `tolerance` stopped the run.
        losses: The loss at each evaluation, (num_steps,); in a batch NaN beyond a lane's own end.
        terms: The terms at each evaluation, likewise.
    """

    image: Array
    loss: np.ndarray
    best_step: np.ndarray
    num_steps: np.ndarray
    losses: np.ndarray
    terms: LossTerms


class History:
    """Collects what a batch's pieces report.

    Args:
        num_lanes: Lanes of the batch.
        config: Says how many steps there are to be, and the tolerance.
    """

    def __init__(self, num_lanes: int, config: TransferConfig) -> None:
        self._config = config
        self._infos: list[StepInfo] = []
        self._step = 0
        self._best = [np.full(num_lanes, np.inf)]  # lowest loss after each multiple of the window
        self._ended: dict[int, tuple[int, tuple[Array, Array, Array]]] = {}
        self._num_lanes = num_lanes

    @property
    def done(self) -> bool:
        """Whether every lane has ended."""
        return self._step >= self._config.num_steps or len(self._ended) == self._num_lanes

    def until_next_stop(self, piece: int, callback_every: int) -> int:
        """A piece of at most that length that ends no later than the next multiple somebody waits for."""
        stops = [self._config.num_steps]
        if callback_every:
            stops.append((self._step // callback_every + 1) * callback_every)
        if self._config.tolerance:
            stops.append((self._step // _TOLERANCE_WINDOW + 1) * _TOLERANCE_WINDOW)
        return min(piece, *(stop - self._step for stop in stops))

    def add(self, info: StepInfo, num_steps: int, states: TransferState) -> None:
        """Takes what a piece of `num_steps` saw, (at least num_steps, lanes), and ends the lanes that no longer gain."""
        self._infos.append(jax.tree.map(lambda rows: np.asarray(rows[:num_steps]), info))
        self._step += num_steps
        if self._config.tolerance and self._step % _TOLERANCE_WINDOW == 0:
            best, before = np.asarray(states.best_loss), self._best[-1]
            self._best.append(best)
            for lane in np.flatnonzero(np.isfinite(before) & (before - best <= self._config.tolerance * before)):
                self._ended.setdefault(int(lane), (self._step, _kept(states, int(lane))))

    def progress(self, states: TransferState) -> Progress:
        """What callbacks see now."""
        loss, terms = jax.tree.map(lambda rows: rows[-1], self._infos[-1])
        best = np.asarray(states.best_loss)
        return Progress(self._step, self._config.num_steps, loss, terms, best, jnp.clip(states.best_image, 0, 1))

    def result(self, states: TransferState) -> TransferResult:
        """What the batch returns; ended lanes as they were then."""
        lanes, steps = [], []
        for lane in range(self._num_lanes):
            end, kept = self._ended.get(lane, (self._step, _kept(states, lane)))
            lanes.append(kept)
            steps.append(end)
        image, loss, best_step = jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes)
        num_steps = np.asarray(steps)
        over = np.arange(self._step) >= num_steps[:, None]
        losses, terms = jax.tree.map(lambda *rows: np.where(over, np.nan, np.concatenate(rows).T)[:, : num_steps.max()], *self._infos)
        return TransferResult(jnp.clip(image, 0, 1), np.asarray(loss), np.asarray(best_step), num_steps, losses, terms)


def _kept(states: TransferState, lane: int) -> tuple[Array, Array, Array]:
    """A lane's best image, loss and step, as copies that survive when the states are given back to the compiled program."""
    return states.best_image[lane], states.best_loss[lane], states.best_step[lane]
