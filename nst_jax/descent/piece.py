"""The compiled loop over lanes and evaluations."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.stages import Wrapped

from nst_jax.config import TransferConfig
from nst_jax.descent.keep import keeping
from nst_jax.descent.placement import DEFAULT_DEVICE, Placement, height_axes
from nst_jax.descent.step import StepInfo, TransferState, init, step
from nst_jax.host.operation_order import in_least_memory
from nst_jax.host.traced_programs import kept
from nst_jax.network.vgg import Params
from nst_jax.objective.loss import LossParts, loss_and_gradient
from nst_jax.objective.target import Targets
from nst_jax.objective.terms import Loss
from nst_jax.optim.optimizers import make_optimizer
from nst_jax.pixels import in_grey

Optimizer = optax.GradientTransformationExtraArgs

_STATES = 3  # their place among the arguments of a piece

LONGEST_PIECE = 64
"""The most evaluations of a lane in one call."""


def chosen_targets(targets: Targets, loss: Loss, content: Array, style: Array) -> Targets:
    """Those of a lane, whose numbers are in `Lanes`, out of the targets of all."""
    image_of = {"content": content, "style": style}
    return {
        name: jax.tree.map(lambda rows, place=image_of[term.source]: rows[place], targets[name])
        for name, term in loss.items()
    }


@partial(jax.jit, static_argnames=("program", "placement", "optimizer"))
def init_lanes(
    images: Array,
    is_grey: Array,
    hyperparams: Mapping[str, Array],
    program: TransferConfig,
    placement: Placement = DEFAULT_DEVICE,
    optimizer: Optimizer | None = None,
) -> TransferState:
    """The states of lanes that begin with such images."""
    axes = state_axes(images.shape[1:], program, placement, optimizer)

    def start(image: Array, is_grey: Array, hyperparams: Mapping[str, Array]) -> TransferState:
        state = init(in_grey(image, is_grey), optimizer or make_optimizer(program))
        own = optax.tree.set(state.opt_state, **hyperparams)
        return placement.keep_dealt(dataclasses.replace(state, opt_state=own), axes)

    return jax.vmap(start)(images, is_grey, hyperparams)


def state_axes(
    shape: Sequence[int], program: TransferConfig, placement: Placement, optimizer: Optimizer | None
) -> Any:
    """Which axis of each array of a state is the image's height; None where nobody asks."""
    if not placement.shares_rows:
        return None
    return height_axes(lambda image: init(image, optimizer or make_optimizer(program)), shape)


@cache
def piece_program() -> Wrapped:
    """`_run_piece`, to be compiled.

    Made when it is first needed, since asking for the backend starts it.
    """
    return jax.jit(
        _run_piece,
        static_argnames=("program", "placement", "optimizer"),
        donate_argnums=_STATES,
        compiler_options=in_least_memory(),
    )


def kept_piece(arguments: Sequence[Any], static: Mapping[str, Any]) -> Callable[..., Any]:
    """`piece_program` for such arguments, as `kept` has it."""
    program = piece_program()
    if static["optimizer"] is not None:  # somebody else's, whose code may change
        return partial(program, **static)
    return kept(program, arguments, static, donated=_STATES, compiler_options=in_least_memory())


def _run_piece(
    params: Params,
    targets: Targets,
    own: tuple[Array, Array, Loss, Array],
    states: TransferState,
    active: Array,
    num_steps: Array,
    program: TransferConfig,
    placement: Placement,
    optimizer: Optimizer | None,
) -> tuple[TransferState, StepInfo]:
    """`num_steps` evaluations of every active lane.

    The first `num_steps` rows of the infos are theirs.
    """
    run = partial(
        _run_piece_on_one_device, program=program, placement=placement, optimizer=optimizer
    )
    run = placement.run_on_each(
        run, takes=(False, False, True, True, True, False), gives=(True, False)
    )
    return run(params, targets, own, states, active, num_steps)


def _run_piece_on_one_device(
    params, targets, own, states, active, num_steps, program, placement, optimizer
) -> tuple[TransferState, StepInfo]:
    axes = state_axes(states.image.shape[1:], program, placement, optimizer)
    optimizer = optimizer or make_optimizer(program)

    def run_lane(lane: tuple[Any, ...]) -> tuple[TransferState, StepInfo]:
        (content, style, loss, is_grey), state, is_active = lane
        own_targets = chosen_targets(targets, loss, content, style)

        def evaluate(image: Array) -> tuple[tuple[Array, LossParts], Array]:
            found, gradient = loss_and_gradient(params, image, own_targets, loss, program)
            return found, in_grey(gradient, is_grey)

        of_free = keeping(evaluate, targets, content)

        def body(
            index: Array, carry: tuple[TransferState, StepInfo]
        ) -> tuple[TransferState, StepInfo]:
            state, info = step(carry[0], of_free, optimizer, program.average)
            # exactly, where the optimiser has rounded
            state = dataclasses.replace(state, image=in_grey(state.image, is_grey))
            return placement.keep_dealt(state, axes), jax.tree.map(
                lambda rows, row: rows.at[index].set(row), carry[1], info
            )

        # the history knows who has not run; NaN would stop whoever looks for it
        gap = jnp.zeros(LONGEST_PIECE)
        terms = {name: dict.fromkeys(target.scale, gap) for name, target in own_targets.items()}
        blank = StepInfo(gap, terms, jnp.zeros(LONGEST_PIECE, bool))
        return lax.fori_loop(0, jnp.where(is_active, num_steps, 0), body, (state, blank))

    lanes = own, states, active
    if active.shape[0] == 1:  # as the only turn of a loop, it would hold its state twice
        states, infos = jax.tree.map(
            lambda rows: rows[None], run_lane(jax.tree.map(lambda rows: rows[0], lanes))
        )
    else:
        states, infos = (
            lax.map(run_lane, lanes) if placement.runs_in_turn else jax.vmap(run_lane)(lanes)
        )
    return states, jax.tree.map(jnp.transpose, infos)
