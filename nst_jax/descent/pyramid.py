"""Coarse to fine: the descent begins on a smaller image, where a step costs less and paints larger
strokes.

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
from jaxtyping import Float

from nst_jax.config import TransferConfig
from nst_jax.descent.chunk import Chunk
from nst_jax.descent.history import History
from nst_jax.descent.lanes import LaneProgram, Lanes, Optimizer, stack_targets
from nst_jax.descent.placement import DEFAULT_DEVICE, Placement
from nst_jax.descent.result import Progress, TransferResult, join
from nst_jax.descent.schedule import LEAST_SIDE, Scale, make_schedule
from nst_jax.descent.snapshot import Arrays, Snapshot, from_arrays
from nst_jax.descent.step import TransferState
from nst_jax.network.vgg import Params, prepare_params
from nst_jax.objective.loss import LossParts
from nst_jax.objective.targets import Targets, check_scales, make_targets, targets_of
from nst_jax.objective.terms import Loss
from nst_jax.pixels import is_grey

_LOG = logging.getLogger(__name__)


class Pyramid:
    """Descents from coarse to fine over batches of lanes that choose from the same images.

    Args:
        params: The network's parameters, from `load_params`.
        contents: Content images, all (height, width, 3).
        styles: Style images of any sizes; each scale shrinks them as it does the contents.
        config: The settings of the descent; of `init`, whether it is noise.
        of_content: From `distinct_losses` of all lanes' losses, which have the same terms, those
            that aim apart at a content image. Lanes choose among the targets of the first content
            image for each of these, then of the second, and so on.
        of_style: Likewise of style images.
        placement: As in `LaneProgram`; a scale whose rows do not go round takes fewer devices.
        optimizer: As in `LaneProgram`.
    """

    def __init__(
        self,
        params: Params,
        contents: Sequence[Array],
        styles: Sequence[Array],
        config: TransferConfig,
        of_content: Sequence[Loss],
        of_style: Sequence[Loss],
        placement: Placement = DEFAULT_DEVICE,
        optimizer: Optimizer | None = None,
    ) -> None:
        # Put on the device by name: what is moved on purpose is no accident to whoever guards
        # against transfers.
        self._params = jax.device_put(dict(params))
        self._contents = contents
        self._styles = styles
        self._config = config
        self._of_content, self._of_style, self._loss = of_content, of_style, of_content[0]
        self._shape = contents[0].shape[0], contents[0].shape[1]
        self._scales = make_schedule(self._shape, config)
        self._programs = [
            LaneProgram(config, placement.for_rows(scale.shape[0]), optimizer)
            for scale in self._scales
        ]
        self._placement = placement
        self._targets: dict[Scale, Targets] = {}

    def compile(self, lanes: Lanes) -> tuple[int, int]:
        """Compiles all scales' programs ahead, as `LaneProgram.compile` does, and returns what that
        returns of the finest, the largest."""
        needed = 0, 0
        for scale, program in zip(self._scales, self._programs, strict=True):
            images = jax.ShapeDtypeStruct((lanes.images.shape[0], *scale.shape, 3), jnp.float32)
            needed = program.compile(
                self._prepared, self._targets_of(scale), dataclasses.replace(lanes, images=images)
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
        """Runs every lane through all scales, and yields where they stand; the last chunk's result
        is the whole run's.

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
        saved = None if start is None else from_arrays(start, self._parts, self._describe_states)
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
                    _start(image, coarsest.shape, keeps)
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
                self._prepared,
                self._targets_of(scale),  # at work while the next programs are compiled
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
            targets, steps_before = self._targets_of(self._scales[last]), found.num_steps
            *_, (states, history) = self._programs[last].pieces(
                self._prepared, targets, lanes, 1, steps_before=steps_before
            )
            found = join(found, history.result(states))
        return found._replace(cut_off=unfinished)

    def _are_grey(self, lanes: Lanes, keeps_detail: Sequence[bool]) -> np.ndarray:
        """Which lanes are made of grey images alone; noise takes their colours."""
        contents = [is_grey(image) for image in self._contents for _ in self._of_content]
        styles = [is_grey(image) for image in self._styles for _ in self._of_style]
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

    @cached_property
    def _prepared(self) -> Params:
        # Winograd's algorithm takes rows in strips of its own, which the compiler does not deal out
        if self._placement.shares_rows:
            return self._params
        return prepare_params(self._params, self._loss.layers)

    @cached_property
    def _parts(self) -> LossParts:
        """Zero for each part of each term."""
        image = jax.ShapeDtypeStruct((*self._scales[0].shape, 3), jnp.float32)
        find = lambda params, image: make_targets(params, image, image, self._config, self._loss)
        targets = jax.eval_shape(find, self._params, image)
        return {  # type: ignore[return-value], zeros for arrays
            name: dict.fromkeys(target.scale, 0) for name, target in targets.items()
        }

    def _describe_states(self, scale: int, num_lanes: int) -> TransferState:
        images = jax.ShapeDtypeStruct((num_lanes, *self._scales[scale].shape, 3), jnp.float32)
        return self._programs[scale].describe_states(images)

    def _targets_of(self, scale: Scale) -> Targets:
        if scale not in self._targets:
            deal = self._programs[self._scales.index(scale)].placement.deal_image
            contents, styles = (
                [deal(self._shrink(image, scale)) for image in images]
                for images in (self._contents, self._styles)
            )
            # With the parameters as they are, for two images of up to 512² pixels sooner compiled
            # by a second than slower by 0.3 s; but in bfloat16, prepared kernels are exacter, and
            # the targets should be what the descent sees.
            params = self._prepared if self._config.precision == "bfloat16" else self._params
            shape = (*scale.shape, 3)
            find = partial(targets_of, config=self._config, shape=shape)
            by_content = [
                find(params, content, "content", loss)
                for content in contents
                for loss in self._of_content
            ]
            by_style = [
                find(params, style, "style", loss) for style in styles for loss in self._of_style
            ]
            for targets in (*by_content, *by_style):
                check_scales(self._loss, targets)
            self._targets[scale] = stack_targets(by_content, by_style)
        return self._targets[scale]

    def _shrink(self, image: Array, scale: Scale) -> Array:
        """A content or style image at a scale."""
        if scale.shape == self._shape:
            return image
        height, width = (
            max(round(side * small / large), LEAST_SIDE)
            for side, small, large in zip(image.shape[:2], scale.shape, self._shape, strict=True)
        )
        return _resize(image, (height, width))

    def _enlarge(
        self, images: Array, details: Sequence[Array | None], shape: tuple[int, int]
    ) -> Array:
        # One at a time: a batch would be rounded otherwise than a run of its own.
        return jnp.stack(
            [
                carry_up(image, detail, shape)
                for image, detail in zip(
                    jax.device_put(list(jax.device_get(images))), details, strict=True
                )
            ]
        )


def _snapshot(
    scale: int, states: TransferState, history: History, found: TransferResult | None
) -> Snapshot:
    return Snapshot(scale, states, history.state, found)


@partial(jax.jit, static_argnames="shape")
def carry_up(
    image: Float[Array | np.ndarray, "small_height small_width 3"],
    detail: Float[Array, "large_height large_width 3"] | None,
    shape: tuple[int, int],
) -> Float[Array, "height width 3"]:
    """The image at a larger size: detail + enlarge(image − shrink(detail)), clipped to [0, 1].

    Args:
        image: The coarse image.
        detail: The image at any larger size that `image` is a change of; None only enlarges.
        shape: Height and width of the result.
    """
    if detail is None:
        return _resize(image, shape)
    return jnp.clip(
        _resize(detail, shape) + _plain_resize(image - _resize(detail, image.shape[:2]), shape),
        0,
        1,
    )


@partial(jax.jit, static_argnums=1)
def _resize(image: Array, shape: tuple[int, ...]) -> Array:
    return jnp.clip(_plain_resize(image, shape), 0, 1)


@partial(jax.jit, static_argnums=(1, 2))
def _start(image: Array, shape: tuple[int, ...], keeps_detail: bool) -> Array:
    """What the coarsest scale starts from: noise is cut, since shrinking would average it to
    grey."""
    return _resize(image, shape) if keeps_detail else image[: shape[0], : shape[1]]


def _plain_resize(image: Array, shape: tuple[int, ...]) -> Array:
    return (
        image
        if image.shape[:2] == shape
        else jax.image.resize(image, (*shape, image.shape[2]), "lanczos3")
    )
