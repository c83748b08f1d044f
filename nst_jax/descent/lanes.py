"""Several descents, run in pieces by one compiled program.

A lane is one descent, with weights, targets and an image of its own. The number of steps is an
argument of the compiled program, so that runs of any length, in pieces of any length, compile once;
Python sees the states between pieces alone.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.config import TransferConfig
from nst_jax.descent.history import History, HistoryState
from nst_jax.descent.piece import (
    LONGEST_PIECE,
    Optimizer,
    init_lanes,
    kept_piece,
    piece_program,
    state_axes,
)
from nst_jax.descent.placement import DEFAULT_DEVICE, Placement
from nst_jax.descent.step import TransferState
from nst_jax.network.vgg import Params
from nst_jax.objective.target import Targets
from nst_jax.objective.terms import Loss
from nst_jax.pytrees import pytree

_LOG = logging.getLogger(__name__)


@pytree
class Lanes:
    """What differs from lane to lane, as arrays with a leading axis of lanes.

    JAX puts shapes in their place when it describes a program.

    Args:
        content: Which of the targets of content images each lane has.
        style: Which of those of style images.
        loss: Its terms, whose leaves have the axis of lanes.
        hyperparams: What its optimiser's state holds of numbers, by name; see `traced_hyperparams`.
        images: Where it starts, (lanes, height, width, 3).
        active: Whether it is to run at all; padding is not.
        is_grey: Whether its picture is grey, because all that it is made of is.
    """

    content: Any
    style: Any
    loss: Loss
    hyperparams: Mapping[str, Any]
    images: Any
    active: Any
    is_grey: Any


class LaneProgram:
    """The compiled program for batches of lanes of one shape.

    Args:
        config: What of it decides the program is `TransferConfig.program`.
        placement: Where the lanes, whose number that of the devices must divide, or the rows of
            their images lie. The compiler exchanges what the convolutions see of the neighbouring
            rows.
        optimizer: Moves the pixels instead of the one that `config` names.
    """

    def __init__(
        self,
        config: TransferConfig,
        placement: Placement = DEFAULT_DEVICE,
        optimizer: Optimizer | None = None,
    ) -> None:
        self._config = config.program(optimizer is not None)
        self.placement, self._optimizer = placement, optimizer
        self._static: dict[str, Any] = {
            "program": self._config,
            "placement": placement,
            "optimizer": optimizer,
        }
        self._compiled: Callable[..., Any] | None = None

    def describe_states(self, images: Any) -> TransferState:
        """Shapes and types of the states of lanes with such images, or shapes in their place."""
        is_grey = jax.ShapeDtypeStruct(images.shape[:1], jnp.bool_)
        return jax.eval_shape(
            partial(init_lanes, program=self._config, optimizer=self._optimizer),
            images,
            is_grey,
            {},
        )

    def compile(self, params: Params, targets: Targets, lanes: Lanes) -> tuple[int, int]:
        """Compiles the program ahead, for lanes of this number and shape alone.

        Shapes will do for the arrays.

        Returns:
            The bytes that each device needs to run it: for what the lanes share, and for the lanes.
            Zeros where the backend cannot tell.
        """
        arguments = self._place(params, targets, lanes)
        states = self._deal(self.describe_states(lanes.images))
        active = self.placement.deal(lanes.active)
        lowered = piece_program().lower(*arguments, states, active, np.int32(1), **self._static)
        self._compiled = compiled = lowered.compile()
        needed = compiled.memory_analysis()
        if needed is None:
            return 0, 0
        # The states are arguments and outputs in the same place.
        return (
            needed.argument_size_in_bytes - needed.alias_size_in_bytes,
            needed.output_size_in_bytes + needed.temp_size_in_bytes,
        )

    def pieces(
        self,
        params: Params,
        targets: Targets,
        lanes: Lanes,
        num_steps: int,
        tolerance: float = 0.0,
        every: int = 0,
        steps_before: Any = 0,
        start: tuple[TransferState, HistoryState] | None = None,
        seconds: float = 2.0,
    ) -> Iterator[tuple[TransferState, History]]:
        """Runs every lane to its end, and yields between pieces of the work.

        What was yielded before is then no longer valid.

        Args:
            params: The network's parameters.
            targets: From `ScaledTargets`, or such.
            lanes: What differs from lane to lane.
            num_steps: Evaluations of each lane at most.
            tolerance: A lane ends once its best loss falls by less than this fraction over ten
                steps; 0 never ends one.
            every: A piece ends at every multiple of this many steps; 0 asks for none.
            steps_before: Steps that each lane has made already, (lanes,), at other sizes.
            start: States and history to go on from; the images of `lanes` then have no effect.
            seconds: About how long a piece takes. Each begins with fresh memory, which costs about
                a tenth of a step.
        """
        history = History(lanes.active, num_steps, tolerance, steps_before, start and start[1])
        states = self._start(lanes) if start is None else self._deal(start[0])
        active = self.placement.deal(history.active)
        arguments = self._place(params, targets, lanes)
        if history.done:  # it was saved at its end
            yield states, history
        piece, is_first = 1, True
        run = self._compiled
        while not history.done:
            piece = history.until_next_stop(piece, every)
            started = time.perf_counter()
            called = *arguments, states, active, jax.device_put(np.int32(piece))
            run = run or kept_piece(called, self._static)
            states, info = run(*called)
            history.add(info, piece, states)
            active = self.placement.deal(history.active)
            if is_first:  # compilation included, where there was one
                _LOG.debug("the first step took %.1f s", time.perf_counter() - started)
                is_first = False
            took = max(time.perf_counter() - started, 1e-6)
            yield states, history
            piece = max(int(min(piece * seconds / took, 2 * piece, LONGEST_PIECE)), 1)

    def _place(self, params: Params, targets: Targets, lanes: Lanes) -> tuple[Any, ...]:
        """The arguments that stay the same from piece to piece, on the devices that need them."""
        own = lanes.content, lanes.style, lanes.loss, lanes.is_grey
        return (
            self.placement.put_everywhere(params),
            self.placement.deal_targets(targets),
            self.placement.deal(own),
        )

    def _start(self, lanes: Lanes) -> TransferState:
        # Dealt out first, so that no device holds the states of all.
        images, is_grey = self.placement.deal((lanes.images, lanes.is_grey), (0, -1))
        hyperparams = self.placement.deal(lanes.hyperparams)
        return self._deal(init_lanes(images, is_grey, hyperparams, **self._static))

    def _deal(self, states: TransferState) -> TransferState:
        return self.placement.deal(states, state_axes(states.image.shape[1:], **self._static))
