"""Whole runs of the descent: `stylize`, and `stylize_batch` over lanes."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from nst_jax.config import TransferConfig
from nst_jax.descent.chunk import Chunk
from nst_jax.descent.descend import chunks_of
from nst_jax.descent.fit import fitting_run
from nst_jax.descent.problem import make_problem
from nst_jax.descent.result import Callback, Progress, TransferResult
from nst_jax.descent.run_arguments import Image, Mask, RunArguments
from nst_jax.host.bars import Bar
from nst_jax.host.stopping import HeldInterrupt
from nst_jax.network.vgg import Params
from nst_jax.objective.regions import Region
from nst_jax.objective.terms import Loss, Term
from nst_jax.objective.weights import LossWeights

_LOG = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 10.0  # for Ctrl-C, where nobody else looks


def stylize(
    params: Params,
    content: Image,
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
    callback: Callback | None = None,
    progress: bool | None = None,
) -> TransferResult:
    """Paints `content` in the style of `style`.

    Where the memory would not do, in tiles, or with fewer pairs of L-BFGS, which a line says.

    Ctrl-C after the first step ends the run with the best image so far, marked as cut off; a second
    one is raised.

    Args:
        params: The network's parameters, from `load_params`.
        content: Content image, sRGB in [0, 1].
        style: Style image, of any size, sRGB in [0, 1]; or several, which `config.style_mix` mixes.
            Its size in pixels is that of its strokes in the result, so that one of twice the size
            paints strokes of twice the size.
        config: The run's settings; `TransferConfig()` if left out.
        weights: What each part of the default loss counts; `LossWeights()` if left out.
        loss: A loss of one's own, such as `nst.content() + 20 * nst.style() + 0.1 * my_term`,
            instead of the default one, which `weights` and `config`'s layers and scaling describe.
        optimizer: A name, as in `TransferConfig`, or any of optax's that needs no line search, such
            as `optax.adamw(0.02)`, instead of the one that `config` names. Make it once for several
            runs: another object of the same settings is compiled anew.
        key: Makes the noise of `init="noise"`, or its seed; `jax.random.key(0)` if left out.
        initial: Image to start from instead of what `config.init` says, of the content's shape. Its
            own fine detail stays where nothing paints over it, as the content's does where that is
            the start; see `nst_jax.descent.pyramid`.
        devices: Devices that share the image, each some of its rows, where it is beyond the memory
            of one; one device if left out.
        regions: Parts of the picture that have styles of their own; each term that aims at a style
            is then there once for each, as `style_NAME`.
        keep: How much of each pixel stays the content's, (height, width) in [0, 1]. The loss is
            that of y = keep · content + (1 − keep) · x, which is also the result, so that the style
            at the edge goes with the pixels that are kept.
        callback: Called with a `Progress` about every two seconds, and after the last step.
            `descend` can do more.
        progress: Whether to show a bar; if left out, in a terminal or a notebook where there is no
            callback, and nowhere else.

    Returns:
        The best image seen and the history of the loss.

    Raises:
        ConfigError: An image, a weight or a layer is not what it should be.

    Example:
        >>> params = load_params()
        >>> content, style = (read_image(path, size=512) for path in ("photo.jpg", "painting.jpg"))
        >>> write_image("result.png", stylize(params, content, style).image)

    References:
        Gatys, Ecker and Bethge (CVPR 2016).
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
    return painted(run.single(key), callback, progress)


def stylize_batch(
    params: Params,
    content: Image,
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
    callback: Callback | None = None,
    progress: bool | None = None,
) -> TransferResult:
    """Runs `stylize` for several weightings, seeds or both at once, in one compiled program.

    Args:
        params: As in `stylize`, and so for all arguments that are not named here.
        content: As in `stylize`.
        style: As in `stylize`.
        config: As in `stylize`.
        weights: Fields are numbers that all lanes share, or arrays (lanes,).
        loss: Likewise the weights and other numbers of its terms.
        optimizer: As in `stylize`.
        keys: Random keys or seeds, (lanes,); without them every lane has `jax.random.key(0)`.
        initial: As in `stylize`; shared by all lanes.
        devices: As in `stylize`.
        regions: As in `stylize`; shared by all lanes.
        keep: As in `stylize`; shared by all lanes.
        callback: As in `stylize`; sees all lanes.
        progress: As in `stylize`.

    Returns:
        One `TransferResult` with a leading axis of lanes in every field. A lane that `tolerance`
        stops keeps what it had then.

    Raises:
        ConfigError: As in `stylize`, or `weights`, `loss` and `keys` have different numbers of
            lanes.

    Example:
        >>> weights = LossWeights(style=[5.0, 20.0, 80.0])
        >>> batch = stylize_batch(params, content, style, config, weights)
        >>> batch.image.shape[0]
        3
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
    return painted(run, callback, progress)


def painted(run: RunArguments, callback: Callback | None, progress: bool | None) -> TransferResult:
    """What a run ends with, as the memory allows it; the other arguments are `stylize`'s."""
    bar = Bar(progress, callback is not None)
    config, said = fitting_run(run)
    if said:
        level = logging.WARNING if config.memory < run.config.memory else logging.INFO
        _LOG.log(level, said)
    problem = make_problem(dataclasses.replace(run, config=config))
    return to_the_end(chunks_of(problem, seconds=seconds_between(callback or bar)), callback, bar)


def seconds_between(watcher: Callback | Bar | None) -> float:
    """How long a piece of a run takes that somebody looks at, or nobody."""
    return 2.0 if watcher else _SECONDS_BETWEEN_LOOKS


def lasting(progress: Progress) -> Progress:
    """A progress whose image may be kept; the next piece takes the memory of the run's own."""
    return progress._replace(image=jnp.copy(progress.image))


def to_the_end(chunks: Iterator[Chunk], callback: Callback | None, bar: Bar) -> TransferResult:
    """What a run ends with; Ctrl-C ends it sooner."""
    chunk = next(chunks)
    with bar, HeldInterrupt() as interrupt:
        while True:
            progress = chunk.progress
            if callback:
                callback(lasting(progress))
            if bar:
                least = float(np.min(progress.best_loss))
                bar.show(
                    progress.done, f"step {progress.step}/{progress.num_steps}, loss {least:.4g}"
                )
            following = None if interrupt.received else next(chunks, None)
            if following is None:
                return chunk.result()
            chunk = following
