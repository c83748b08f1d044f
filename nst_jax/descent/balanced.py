"""A loss whose style layers pull alike where a run begins: `balanced`."""

import dataclasses
from collections.abc import Sequence

import jax
from jax import Array

from nst_jax.config import TransferConfig
from nst_jax.descent.descend import only_lane
from nst_jax.descent.problem import make_problem
from nst_jax.descent.run_arguments import Image, Mask, RunArguments
from nst_jax.network.vgg import Params
from nst_jax.objective.regions import Region
from nst_jax.objective.terms import Loss, Term
from nst_jax.objective.weights import LossWeights


def balanced(
    params: Params,
    content: Image,
    style: Image | Sequence[Image],
    config: TransferConfig | None = None,
    weights: LossWeights | None = None,
    *,
    loss: Loss | Term | None = None,
    key: Array | int | None = None,
    initial: Image | None = None,
    devices: Sequence[jax.Device] | None = None,
    regions: Sequence[Region] = (),
    keep: Mask | None = None,
) -> Loss:
    """The loss of `stylize` with style layers that pull alike where the run begins.

    w_l ∝ 1 / ‖∂L_l/∂x‖₂, where L_l is what layer l of a style term comes to before it is weighed,
    and x the first image that is evaluated: the start at the smallest size that `config` goes
    through. The sum of each term's weights stays, and the weights are plain numbers: what `stylize`
    itself uses where `config.balance` is set, to be kept, changed, or used on other pictures.

    Where a run begins makes a difference: from noise, fine layers are farther off than from the
    content.

    Args:
        params: As in `stylize`, and so for all arguments.
        content: As in `stylize`.
        style: As in `stylize`.
        config: As in `stylize`; `balance` and `average` have no effect.
        weights: As in `stylize`, without weights of style layers.
        loss: As in `stylize`; part weights of terms that aim at the style are replaced.
        key: As in `stylize`.
        initial: As in `stylize`; with `coarse_to_fine=False`, the very image to measure at.
        devices: As in `stylize`.
        regions: As in `stylize`. A layer has one weight in all of them, measured over all.
        keep: As in `stylize`.

    Returns:
        The loss, for `stylize` with the same regions. A term keeps its weights, with a warning,
        where one of its layers is met already, as at the style itself.

    Raises:
        ConfigError: As `stylize`, or `weights` has weights of style layers.

    Example:
        >>> loss = balanced(params, content, style, config)
        >>> loss["style"].part_weights["conv2_1"]
        >>> stylize(params, content, style, config, loss=loss)
    """
    config = dataclasses.replace(config or TransferConfig(), balance=True, average=0.0)
    run = RunArguments(
        params,
        content,
        style,
        config,
        weights,
        loss=loss,
        initial=initial,
        devices=devices,
        regions=regions,
        keep=keep,
    )
    return only_lane(make_problem(run.single(key)).loss)
