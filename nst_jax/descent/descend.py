"""Runs of the descent as iterators: `descend`, and `descend_batch` over lanes."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax import Array

from nst_jax.checks import check_at_least
from nst_jax.config import TransferConfig
from nst_jax.descent.chunk import Chunk
from nst_jax.descent.problem import Problem, make_problem
from nst_jax.descent.run_arguments import Image, Mask, RunArguments
from nst_jax.descent.snapshot import Arrays
from nst_jax.network.vgg import Params
from nst_jax.objective.regions import Region, small_regions
from nst_jax.objective.terms import Loss, Term
from nst_jax.objective.weights import LossWeights

_LOG = logging.getLogger(__name__)


def descend(
    params: Params,
    content: Image | tuple[int, int],
    style: Image | Sequence[Image],
    config: TransferConfig | None = None,
    weights: LossWeights | None = None,
    *,
    loss: Loss | Term | None = None,
    optimizer: str | optax.GradientTransformation | None = None,
    key: Array | int | None = None,
    initial: Image | None = None,
    devices: Sequence[jax.Device] | None = None,
    regions: Sequence[Region] = (),
    keep: Mask | None = None,
    start: Arrays | None = None,
    every: int = 0,
    seconds: float = 2.0,
) -> Iterator[Chunk]:
    """`stylize` in pieces: between two of them the caller may show, save, or stop.

    The memory is not looked at: where it would not do, give `config.tile`.

    Args:
        params: As in `stylize`, and so for all arguments that are not named here.
        content: As in `stylize`; or the height and width of a texture, which takes a config with
            `init="noise"` and without content layers.
        style: As in `stylize`.
        config: As in `stylize`.
        weights: As in `stylize`.
        loss: As in `stylize`.
        optimizer: As in `stylize`.
        key: As in `stylize`.
        initial: As in `stylize`.
        devices: As in `stylize`.
        regions: As in `stylize`.
        keep: As in `stylize`.
        start: A chunk's snapshot of the same run, to go on from; the rest is then bit for bit what
            it would have been.
        every: A piece ends at every multiple of this many steps; 0 asks for none.
        seconds: About how long a piece takes, of at most 64 steps.

    Returns:
        Where the run stands, piece by piece, each valid until the next is asked for. The last one's
        `result()` is the whole run's.

    Raises:
        ConfigError: As `stylize`; or, when the first chunk is asked for, `start` is not of such a
            run.

    Example:
        >>> for chunk in descend(params, content, style, config):
        ...     print(chunk.progress.step, chunk.progress.loss)
        ...     if chunk.progress.step >= 100:
        ...         break
        >>> picture = chunk.result().image
    """
    run = RunArguments(
        params,
        content,
        style,
        config or TransferConfig(),
        weights,
        loss=loss,
        optimizer=optimizer,
        initial=initial,
        devices=devices,
        regions=regions,
        keep=keep,
    )
    return chunks_of(make_problem(run.single(key)), start, every, seconds)


def descend_batch(
    params: Params,
    content: Image | tuple[int, int],
    style: Image | Sequence[Image],
    config: TransferConfig | None = None,
    weights: LossWeights | None = None,
    *,
    loss: Loss | Term | None = None,
    optimizer: str | optax.GradientTransformation | None = None,
    keys: Array | Sequence[int] | None = None,
    initial: Image | None = None,
    devices: Sequence[jax.Device] | None = None,
    regions: Sequence[Region] = (),
    keep: Mask | None = None,
    start: Arrays | None = None,
    every: int = 0,
    seconds: float = 2.0,
) -> Iterator[Chunk]:
    """`stylize_batch` in pieces, as `descend` is `stylize`; the arguments are those of both.

    Raises:
        ConfigError: As `stylize_batch`, or `start` is not of such a run.

    Example:
        >>> weights = LossWeights(style=[5.0, 20.0])
        >>> for chunk in descend_batch(params, content, style, config, weights):
        ...     print(chunk.progress.step, chunk.progress.loss)  # of both lanes
    """
    run = RunArguments(
        params,
        content,
        style,
        config or TransferConfig(),
        weights,
        loss=loss,
        optimizer=optimizer,
        keys=keys,
        initial=initial,
        devices=devices,
        regions=regions,
        keep=keep,
    )
    return chunks_of(make_problem(run), start, every, seconds)


def chunks_of(
    problem: Problem, start: Arrays | None = None, every: int = 0, seconds: float = 2.0
) -> Iterator[Chunk]:
    """The pieces of a run that is ready to begin; the other arguments are those of `descend`."""
    check_at_least("every", every, 0)
    for note in small_regions(problem.loss, problem.lanes.loss):
        _LOG.warning(note)
    chunks = problem.pyramid.descend(problem.lanes, problem.keeps_detail, every, start, seconds)
    if problem.finish is not None:
        finish = jax.vmap(problem.finish)
        with_pictures = lambda seen: seen._replace(image=finish(seen.image))
        chunks = (chunk.picking(with_pictures) for chunk in chunks)
    return (chunk.picking(only_lane) for chunk in chunks) if problem.is_single else chunks


def only_lane(batch: Any) -> Any:
    """The only lane of a batch of one; plain numbers stay."""
    return jax.tree.map(
        lambda leaf: (
            leaf.squeeze(0) if isinstance(leaf, Array) else leaf[0] if np.ndim(leaf) else leaf
        ),
        batch,
    )
