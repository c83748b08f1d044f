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
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.config import TransferConfig
from nst_jax.descent.chunk import Chunk
from nst_jax.descent.history import History
from nst_jax.descent.lanes import LaneProgram, Lanes, Optimizer
from nst_jax.descent.placement import DEFAULT_DEVICE, Placement
from nst_jax.descent.resizing import carry_up, coarsest_start
from nst_jax.descent.result import Progress, TransferResult, join
from nst_jax.descent.scaled_targets import ScaledTargets
from nst_jax.descent.schedule import make_schedule
from nst_jax.descent.snapshot import Arrays, Snapshot, from_arrays
from nst_jax.descent.step import TransferState
from nst_jax.network.vgg import Params
from nst_jax.objective.styles import Styles
from nst_jax.objective.targets import Targets
from nst_jax.objective.terms import Loss
from nst_jax.objective.views import layers_shapes
from nst_jax.pixels import is_grey

_LOG = logging.getLogger(__name__)


class Pyramid:
    """Descents from coarse to fine over batches of lanes that choose from the same images.

    Args:
        params: The network's parameters, from `load_params`.
        contents: Content images, all (height, width, 3).
        styles: As in `ScaledTargets`.
        config: The settings of the descent; of `init`, whether it is noise.
        of_content: As in `ScaledTargets`.
        of_style: As in `ScaledTargets`.
        placement: As in `LaneProgram`; a scale whose rows do not go round takes fewer devices.
        optimizer: As in `LaneProgram`.
        masks: As in `ScaledTargets`.

    Raises:
        ConfigError: As `features_shapes`.
    """

    def __init__(
        self,
        params: Params,
        contents: Sequence[Array],
        styles: Sequence[Styles],
        config: TransferConfig,
        of_content: Sequence[Loss],
        of_style: Sequence[Loss],
        placement: Placement = DEFAULT_DEVICE,
        optimizer: Optimizer | None = None,
        masks: Mapping[str, Any] | None = None,
    ) -> None:
        # Put on the device by name: what is moved on purpose is no accident to whoever guards
        # against transfers.
        self._targets = ScaledTargets(
            jax.device_put(dict(params)),
            contents,
            styles,
            config,
            of_content,
            of_style,
            placement.shares_rows,
            masks,
        )
        self._contents = contents
        self._styles = styles
        self._config = config
        self._wraps = config.border == "wrap"
        self._of_content, self._of_style = of_content, of_style
        self._shape = contents[0].shape[0], contents[0].shape[1]
        # The smaller sizes wrap; whether this one does, is to be said before they are painted.
        layers_shapes(params, self._shape, of_content[0].layers, config.border)
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
        coarsest = self._scales[0]
        images = (
            lanes.images
            if coarsest.shape == self._shape
            else jnp.stack(
                [
                    coarsest_start(image, coarsest.shape, keeps, self._wraps)
                    for image, keeps in zip(lanes.images, keeps_detail, strict=True)
                ]
            )
        )
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
        num_steps = seen.num_steps + sum(scale.num_steps for scale in self._scales[index + 1 :])
        work = [scale.num_steps * scale.shape[0] * scale.shape[1] for scale in self._scales]
        done = (sum(work[:index]) + work[index] * seen.done) / sum(work)
        return seen._replace(num_steps=num_steps, done=done, image=images)

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
        result, last = history.result(states), len(self._scales) - 1
        found = result if before is None else join(before, result)
        if index == last:
            return found
        found = found._replace(image=self._enlarge(found.image, details, self._shape))
        unfinished = np.asarray(lanes.active) & (found.failure == "")
        if unfinished.any():  # evaluated once, so that the loss is that of the image
            lanes = dataclasses.replace(lanes, images=found.image, active=unfinished)
            targets, steps_before = self._targets_at(last), found.num_steps
            *_, (states, history) = self._programs[last].pieces(
                self._targets.prepared, targets, lanes, 1, steps_before=steps_before
            )
            found = join(found, history.result(states))
        return found._replace(cut_off=unfinished)

    def _are_grey(self, lanes: Lanes, keeps_detail: Sequence[bool]) -> np.ndarray:
        """Which lanes are made of grey images alone; noise takes their colours."""
        contents = [is_grey(image) for image in self._contents for _ in self._of_content]
        styles = [
            all(is_grey(image) for style in own.values() for image in style.images)
            for own in self._styles
            for _ in self._of_style
        ]
        pairs = [
            contents[content] and styles[style]
            for content, style in zip(lanes.content, lanes.style, strict=True)
        ]
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
