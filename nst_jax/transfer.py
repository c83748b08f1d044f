"""Whole runs of the descent: `stylize`, and `stylize_batch` over lanes.

The compiled program is one loop over evaluations. Its number of steps is an argument, so that a run of any length, in pieces of any length,
compiles once; Python sees the state between pieces alone.
"""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from nst_jax.config import ConfigError, TransferConfig
from nst_jax.descent import StepInfo, TransferState, init, make_optimizer, step
from nst_jax.objective import LossTerms, LossWeights, Targets, make_targets, total_loss
from nst_jax.vgg import Params

_LONGEST_PIECE = 64
_TOLERANCE_WINDOW = 10
_SECONDS_BETWEEN_CALLBACKS = 0.5


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


Callback = Callable[[Progress], None]


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


def stylize(
    params: Params,
    content: Float[Array, "height width 3"],
    style: Float[Array, "style_height style_width 3"],
    config: TransferConfig | None = None,
    weights: LossWeights | None = None,
    *,
    key: Array | None = None,
    initial: Float[Array, "height width 3"] | None = None,
    callback: Callback | None = None,
    callback_every: int = 0,
) -> TransferResult:
    """Paints `content` in the style of `style`.

    Args:
        params: The network's parameters, from `load_params`.
        content: Content image, sRGB in [0, 1].
        style: Style image, of any size, sRGB in [0, 1].
        config: The run's settings; `TransferConfig()` if left out.
        weights: What each part of the loss counts; `LossWeights()` if left out.
        key: Makes the noise of `init="noise"`; `jax.random.key(0)` if left out.
        initial: Image to start from instead of what `config.init` says, of the content's shape.
        callback: Called with a `Progress` about twice a second, and after the last step.
        callback_every: Also called after every multiple of this many steps; 0 asks for none.

    Returns:
        The best image seen and the history of the loss.

    Raises:
        ConfigError: An image, a weight or a layer is not what it should be.

    References:
        Gatys, Ecker and Bethge (CVPR 2016).
    """
    batch = stylize_batch(
        params,
        content,
        style,
        config,
        jax.tree.map(lambda weight: jnp.asarray(weight, jnp.float32)[None], weights or LossWeights()),
        keys=(jax.random.key(0) if key is None else key)[None],
        initial=initial,
        callback=callback and (lambda progress: callback(_lane(progress))),
        callback_every=callback_every,
    )
    return _lane(batch)


def _lane(batch: Any) -> Any:
    """The only lane of a batch of one; plain numbers stay."""
    return jax.tree.map(lambda leaf: leaf[0] if np.ndim(leaf) else leaf, batch)


def stylize_batch(
    params: Params,
    content: Float[Array, "height width 3"],
    style: Float[Array, "style_height style_width 3"],
    config: TransferConfig | None = None,
    weights: LossWeights | None = None,
    *,
    keys: Array | None = None,
    initial: Float[Array, "height width 3"] | None = None,
    callback: Callback | None = None,
    callback_every: int = 0,
) -> TransferResult:
    """Runs `stylize` for several weightings, seeds or both at once, in one compiled program.

    Args:
        params: As in `stylize`, and so for all arguments that are not named here.
        content: As in `stylize`.
        style: As in `stylize`.
        config: As in `stylize`.
        weights: Fields are numbers that all lanes share, or arrays (lanes,).
        keys: Random keys, (lanes,); without them every lane has `jax.random.key(0)`.
        initial: As in `stylize`; shared by all lanes.
        callback: As in `stylize`; sees all lanes.
        callback_every: As in `stylize`.

    Returns:
        One `TransferResult` with a leading axis of lanes in every field. A lane that `tolerance` stops keeps what it had then.

    Raises:
        ConfigError: As in `stylize`, or `weights` and `keys` have different numbers of lanes.
    """
    config, weights = config or TransferConfig(), weights or LossWeights()
    content, style = _checked("content", content), _checked("style", style)
    num_lanes = _count_lanes(weights, keys)
    lane_weights = jax.tree.map(lambda weight: jnp.broadcast_to(jnp.asarray(weight, jnp.float32), (num_lanes,)), weights)
    if keys is None:
        keys = jnp.broadcast_to(jax.random.key(0), (num_lanes,))
    if initial is None:
        images = _initial_images(content, style, keys, config.init)
    else:
        initial = _checked("initial", initial)
        if initial.shape != content.shape:
            raise ConfigError(f"the initial image has shape {initial.shape}, the content image {content.shape}; they must be the same")
        images = jnp.broadcast_to(initial, (num_lanes, *initial.shape))
    targets = make_targets(params, content, style, config)
    # What does not change the program is left out of what it is compiled for.
    program = dataclasses.replace(config, num_steps=1, init="content", tolerance=0.0)
    states = _init_lanes(images, program)
    record = _Record(num_lanes, config)
    piece = 1
    while not record.done:
        piece = record.until_next_stop(piece, callback_every)
        started = time.perf_counter()
        states, info = _run_piece(params, targets, lane_weights, states, piece, program)
        record.add(jax.tree.map(lambda rows: np.asarray(rows[:piece]), info), states)
        if callback:
            callback(record.progress(states))
        seconds = max(time.perf_counter() - started, 1e-6)
        wanted = _LONGEST_PIECE if not callback else int(piece * _SECONDS_BETWEEN_CALLBACKS / seconds)
        piece = min(max(wanted, 1), 2 * piece, _LONGEST_PIECE)
    return record.result(states)


@partial(jax.jit, static_argnums=3)
def _initial_images(content: Array, style: Array, keys: Array, kind: str) -> Array:
    if kind == "noise":
        return jax.vmap(lambda key: jax.random.uniform(key, content.shape))(keys)
    image = content if kind == "content" else jnp.clip(jax.image.resize(style, content.shape, "lanczos3"), 0, 1)
    return jnp.broadcast_to(image, (keys.shape[0], *content.shape))


@partial(jax.jit, static_argnums=1)
def _init_lanes(images: Array, program: TransferConfig) -> TransferState:
    return jax.vmap(lambda image: init(image, make_optimizer(program)))(images)


@partial(jax.jit, static_argnums=5, donate_argnums=3)
def _run_piece(
    params: Params, targets: Targets, weights: LossWeights, states: TransferState, num_steps: Array, program: TransferConfig
) -> tuple[TransferState, StepInfo]:
    """`num_steps` evaluations of every lane; the first `num_steps` rows of the infos are theirs."""
    optimizer = make_optimizer(program)

    def lane_step(state: TransferState, weights: LossWeights) -> tuple[TransferState, StepInfo]:
        return step(state, lambda image: total_loss(params, image, targets, weights, program), optimizer)

    def body(index: Array, carry: tuple[TransferState, StepInfo]) -> tuple[TransferState, StepInfo]:
        states, info = jax.vmap(lane_step)(carry[0], weights)
        return states, jax.tree.map(lambda rows, row: rows.at[index].set(row), carry[1], info)

    blank = jnp.zeros((_LONGEST_PIECE, states.step.size), jnp.float32)
    info = StepInfo(
        loss=blank,
        terms=LossTerms(
            content=dict.fromkeys(program.content_layers, blank),
            style=dict.fromkeys(program.style_layers, blank),
            total_variation=blank,
        ),
    )
    return lax.fori_loop(0, num_steps, body, (states, info))


class _Record:
    """The history of a batch on the host, and which of its lanes have ended."""

    def __init__(self, num_lanes: int, config: TransferConfig) -> None:
        self._config = config
        self._infos: list[StepInfo] = []
        self._step = 0
        self._best = [np.full(num_lanes, np.inf)]  # lowest loss after each multiple of the window
        self._ended: dict[int, tuple[int, TransferState]] = {}
        self._num_lanes = num_lanes

    @property
    def done(self) -> bool:
        return self._step >= self._config.num_steps or len(self._ended) == self._num_lanes

    def until_next_stop(self, piece: int, callback_every: int) -> int:
        stops = [self._config.num_steps]
        if callback_every:
            stops.append((self._step // callback_every + 1) * callback_every)
        if self._config.tolerance:
            stops.append((self._step // _TOLERANCE_WINDOW + 1) * _TOLERANCE_WINDOW)
        return min(piece, *(stop - self._step for stop in stops))

    def add(self, info: StepInfo, states: TransferState) -> None:
        self._infos.append(info)
        self._step += len(info.loss)
        if self._config.tolerance and self._step % _TOLERANCE_WINDOW == 0:
            best, before = np.asarray(states.best_loss), self._best[-1]
            self._best.append(best)
            for lane in np.flatnonzero(np.isfinite(before) & (before - best < self._config.tolerance * before)):
                # A copy, since the running state is about to be given back to the compiled program.
                self._ended.setdefault(int(lane), (self._step, jax.tree.map(lambda leaf: jnp.array(leaf[lane]), _kept(states))))

    def progress(self, states: TransferState) -> Progress:
        loss, terms = jax.tree.map(lambda rows: rows[-1], self._infos[-1])
        best = np.asarray(states.best_loss)
        return Progress(self._step, self._config.num_steps, loss, terms, best, jnp.clip(states.best_image, 0, 1))

    def result(self, states: TransferState) -> TransferResult:
        lanes, steps = [], []
        for lane in range(self._num_lanes):
            end, kept = self._ended.get(lane, (self._step, jax.tree.map(lambda leaf: leaf[lane], _kept(states))))
            lanes.append(kept)
            steps.append(end)
        image, loss, best_step = jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes)
        num_steps = np.asarray(steps)
        over = np.arange(self._step) >= num_steps[:, None]
        losses, terms = jax.tree.map(
            lambda *rows: np.where(over, np.nan, np.concatenate(rows).T)[:, : num_steps.max()], *self._infos
        )
        return TransferResult(jnp.clip(image, 0, 1), np.asarray(loss), np.asarray(best_step), num_steps, losses, terms)


def _kept(states: TransferState) -> tuple[Array, Array, Array]:
    return states.best_image, states.best_loss, states.best_step


def _checked(name: str, image: Any) -> Array:
    image = jnp.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ConfigError(f"the {name} image has shape {image.shape}; it must be (height, width, 3)")
    if not jnp.issubdtype(image.dtype, jnp.floating) or not bool(jnp.all((image >= 0) & (image <= 1))):
        raise ConfigError(f"the {name} image must hold floating-point sRGB in [0, 1]; divide 0–255 pixels by 255")
    return image.astype(jnp.float32)


def _count_lanes(weights: LossWeights, keys: Array | None) -> int:
    sizes: dict[str, int] = {} if keys is None else {"keys": keys.shape[0]}
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        name = f"weights{jax.tree_util.keystr(path)}"
        values = np.asarray(leaf, np.float32)
        if values.ndim > 1 or not np.all(np.isfinite(values) & (values >= 0)):
            raise ConfigError(f"{name} is {leaf}; it must be a finite number, at least 0, or one a lane")
        if values.ndim:
            sizes[name] = values.size
    if len(set(sizes.values())) > 1:
        raise ConfigError(f"the numbers of lanes differ: {', '.join(f'{name} has {size}' for name, size in sizes.items())}")
    return next(iter(sizes.values()), 1)
