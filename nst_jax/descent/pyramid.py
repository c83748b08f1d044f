"""Coarse to fine: the descent begins on a smaller image.

A step costs less there, and paints larger strokes.

Each scale ends with an image whose *change* is carried up: what it differs by from the image that
the descent started from, at that scale, is enlarged and added to that image at the next. So the
start's own fine detail, which enlarging the whole image would lose, stays.

References:
    Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling perceptual factors in neural style
    transfer" (CVPR 2017), section 6, which enlarges the image itself.
"""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.config import TransferConfig
from nst_jax.descent.chunk import Chunk
from nst_jax.descent.history import History
from nst_jax.descent.lanes import LaneProgram, Lanes
from nst_jax.descent.piece import Optimizer
from nst_jax.descent.placement import DEFAULT_DEVICE, Placement
from nst_jax.descent.pulls import Pulls
from nst_jax.descent.resizing import carry_up, coarsest_start
from nst_jax.descent.result import Progress, TransferResult, join
from nst_jax.descent.scaled_targets import ScaledTargets
from nst_jax.descent.schedule import make_schedule
from nst_jax.descent.snapshot import Arrays, Snapshot, from_arrays
from nst_jax.descent.step import TransferState
from nst_jax.network.borders import wraps
from nst_jax.objective.target import Targets
from nst_jax.objective.terms import Loss
from nst_jax.pixels import is_grey

_LOG = logging.getLogger(__name__)


class Pyramid:
    """Descents from coarse to fine over batches of lanes that choose from the same images.

    Args:
        targets: Of the images.
        config: The settings of the descent; of `init`, whether it is noise.
        placement: As in `LaneProgram`; a scale whose rows do not go round takes fewer devices.
        optimizer: As in `LaneProgram`.
    """

    def __init__(
        self,
        targets: ScaledTargets,
        config: TransferConfig,
        placement: Placement = DEFAULT_DEVICE,
        optimizer: Optimizer | None = None,
    ) -> None:
        self._targets = targets
        self._config = config
        self._wraps = wraps(config.border)
        self._shape = targets.shape
        self._scales = make_schedule(self._shape, config)
        self._programs = [
            LaneProgram(config, placement.for_rows(scale.shape[0]), optimizer)
            for scale in self._scales
        ]

    def compile(self, lanes: Lanes) -> tuple[int, int]:
        """Compiles all scales' programs ahead, as `LaneProgram.compile` does.

        Returns what that returns of the finest scale, which needs most.
        """
        needed = 0, 0
        for index, (scale, program) in enumerate(zip(self._scales, self._programs, strict=True)):
            images = jax.ShapeDtypeStruct((lanes.images.shape[0], *scale.shape, 3), jnp.float32)
            needed = program.compile(
                self._targets.prepared,
                self._targets_at(index),
                dataclasses.replace(lanes, images=images),
            )
        return needed

    @property
    def state_bytes(self) -> int:
        """What the state of a lane takes at the finest scale."""
        leaves = jax.tree.leaves(self._describe_states(-1, 1))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

    def descend(
        self,
        lanes: Lanes,
        keeps_detail: Sequence[bool],
        every: int = 0,
        start: Arrays | None = None,
        seconds: float = 2.0,
    ) -> Iterator[Chunk]:
        """Runs every lane through all scales, and yields where they stand.

        The last chunk's result is the whole run's.

        Args:
            lanes: What differs from lane to lane; `images` are those of the finest scale.
            keeps_detail: Whether a lane's own image at the finest scale has detail to keep,
                (lanes,); noise has none.
            every: As in `LaneProgram.pieces`, of steps counted from the coarsest scale.
            start: A snapshot of the same run, to go on from.
            seconds: As in `LaneProgram.pieces`.

        Raises:
            ConfigError: `start` is not of such a run.
        """
        lanes = dataclasses.replace(lanes, is_grey=self._are_grey(lanes, keeps_detail))
        saved = (
            None
            if start is None
            else from_arrays(start, self._targets.parts, self._describe_states)
        )
        details = [
            image if keeps else None
            for image, keeps in zip(lanes.images, keeps_detail, strict=True)
        ]
        images = self._first_images(lanes, keeps_detail)
        active, found, chunk = np.asarray(lanes.active), None, None
        for index, (scale, program) in enumerate(zip(self._scales, self._programs, strict=True)):
            if saved is not None and index < saved.scale:
                continue
            going_on = saved if saved is not None and saved.scale == index else None
            if going_on is not None:
                found = going_on.found
                active = active if found is None else active & (found.failure == "")
            elif found is not None:
                images = self._enlarge(found.image, details, scale.shape)
                found, active = found._replace(image=images), active & (found.failure == "")
                if not active.any():
                    return
            if chunk is not None:
                # or whoever holds it would hold the smaller size's state beside the larger one's
                chunk.expire()
            _LOG.debug("%d steps at %d × %d pixels", scale.num_steps, *scale.shape)
            pieces = program.pieces(
                self._targets.prepared,
                self._targets_at(index),  # at work while the next programs are compiled
                # not on the device, where it would wait for the targets
                dataclasses.replace(lanes, images=images, active=active),
                scale.num_steps,
                self._config.tolerance,
                every,
                steps_before=0 if found is None else found.num_steps,
                start=going_on and (going_on.states, going_on.history),
                seconds=seconds,
            )
            reached = None
            for reached in pieces:
                states, history = reached
                chunk = Chunk(
                    partial(_snapshot, index, states, history, found),
                    partial(self._progress, details, index, states, history),
                    partial(self._result, lanes, details, index, found, states, history),
                )
                yield chunk
            assert reached is not None  # there is always a piece
            states, history = reached
            result = history.result(states)
            del states, history, reached
            found = result if found is None else join(found, result)

    def balance(self, lanes: Lanes, keeps_detail: Sequence[bool], loss: Loss) -> Loss:
        """`Pulls.balance` where the lanes begin; the arguments are its and those of `descend`."""
        first = dataclasses.replace(
            lanes,
            images=self._first_images(lanes, keeps_detail),
            is_grey=self._are_grey(lanes, keeps_detail),
        )
        return self._pulls.balance(first, loss)

    @cached_property
    def _pulls(self) -> Pulls:
        params, placement = self._targets.prepared, self._programs[0].placement
        return Pulls(params, self._targets_at(0), self._config, placement)

    def _first_images(self, lanes: Lanes, keeps_detail: Sequence[bool]) -> Array:
        """Where the lanes begin, at the coarsest scale."""
        if len(self._scales) == 1:
            return lanes.images
        own, shape = zip(lanes.images, keeps_detail, strict=True), self._scales[0].shape
        return jnp.stack([coarsest_start(image, shape, keeps, self._wraps) for image, keeps in own])

    def _progress(
        self, details: Sequence[Array | None], index: int, states: TransferState, history: History
    ) -> Progress:
        """What is seen at a scale as seen from the whole run."""
        seen = history.progress(states)
        images = (
            seen.image
            if index == len(self._scales) - 1
            else self._enlarge(seen.image, details, self._shape)
        )
        ahead = *seen.ahead, *self._scales[index + 1 :]
        num_steps = seen.step + sum(scale.num_steps for scale in ahead)
        work = [scale.num_steps * scale.shape[0] * scale.shape[1] for scale in self._scales]
        done = (sum(work[:index]) + work[index] * seen.done) / sum(work)
        return seen._replace(num_steps=num_steps, done=done, image=images, ahead=ahead)

    def _result(
        self,
        lanes: Lanes,
        details: Sequence[Array | None],
        index: int,
        before: TransferResult | None,
        states: TransferState,
        history: History,
    ) -> TransferResult:
        """What the run has found if it ends at a scale, after what the coarser one found."""
        result = history.result(states)
        found = result if before is None else join(before, result)
        if index == len(self._scales) - 1:
            return self._evaluated(lanes, found) if self._config.average else found
        found = found._replace(image=self._enlarge(found.image, details, self._shape))
        unfinished = np.asarray(lanes.active) & (found.failure == "")
        found = self._evaluated(dataclasses.replace(lanes, active=unfinished), found)
        return found._replace(cut_off=unfinished, converged=found.converged & ~unfinished)

    def _evaluated(self, lanes: Lanes, found: TransferResult) -> TransferResult:
        """What was found, each image of an active lane evaluated once, so that the loss is its."""
        if not np.any(lanes.active):
            return found
        lanes, targets = dataclasses.replace(lanes, images=found.image), self._targets_at(-1)
        *_, (states, history) = self._programs[-1].pieces(
            self._targets.prepared, targets, lanes, 1, steps_before=found.num_steps
        )
        seen = join(found, history.result(states))
        failure = np.where(found.failure == "", seen.failure, found.failure)
        return seen._replace(failure=failure, converged=found.converged, cut_off=found.cut_off)

    def _are_grey(self, lanes: Lanes, keeps_detail: Sequence[bool]) -> np.ndarray:
        """Which lanes are made of grey images alone; noise takes their colours."""
        pairs = map(self._targets.are_grey, lanes.content, lanes.style)
        return np.array(
            [
                pair and (not keeps or is_grey(image))
                for pair, keeps, image in zip(pairs, keeps_detail, lanes.images, strict=True)
            ]
        )

    def _describe_states(self, scale: int, num_lanes: int) -> TransferState:
        images = jax.ShapeDtypeStruct((num_lanes, *self._scales[scale].shape, 3), jnp.float32)
        return self._programs[scale].describe_states(images)

    def _targets_at(self, index: int) -> Targets:
        scale, program = self._scales[index], self._programs[index]
        return self._targets.at(scale.shape, program.placement.deal_image)

    def _enlarge(
        self, images: Array, details: Sequence[Array | None], shape: tuple[int, int]
    ) -> Array:
        # One at a time: a batch would be rounded otherwise than a run of its own.
        return jnp.stack(
            [
                carry_up(image, detail, shape, self._wraps)
                for image, detail in zip(
                    jax.device_put(list(jax.device_get(images))), details, strict=True
                )
            ]
        )


def _snapshot(
    scale: int, states: TransferState, history: History, found: TransferResult | None
) -> Snapshot:
    return Snapshot(scale, states, history.state, found)
