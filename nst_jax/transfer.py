"""Whole runs of the descent: `stylize`, and `stylize_batch` over lanes.

The compiled program is one loop over evaluations. Its number of steps is an argument, so that a run of any length, in pieces of any length,
compiles once; Python sees the state between pieces alone.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from nst_jax.config import ConfigError, TransferConfig
from nst_jax.descent import StepInfo, TransferState, init, make_optimizer, step
from nst_jax.history import History, Progress, TransferResult
from nst_jax.objective import LossTerms, LossWeights, Targets, make_targets, total_loss
from nst_jax.vgg import Params

Callback = Callable[[Progress], None]

_LONGEST_PIECE = 64
_SECONDS_BETWEEN_CALLBACKS = 0.5


def stylize(
    params: Params,
    content: Float[Array | np.ndarray, "height width 3"],
    style: Float[Array | np.ndarray, "style_height style_width 3"],
    config: TransferConfig | None = None,
    weights: LossWeights | None = None,
    *,
    key: Array | None = None,
    initial: Float[Array | np.ndarray, "height width 3"] | None = None,
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
    content: Float[Array | np.ndarray, "height width 3"],
    style: Float[Array | np.ndarray, "style_height style_width 3"],
    config: TransferConfig | None = None,
    weights: LossWeights | None = None,
    *,
    keys: Array | None = None,
    initial: Float[Array | np.ndarray, "height width 3"] | None = None,
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
    weights = _as_arrays(weights)
    num_lanes = _count_lanes(weights, keys)
    lane_weights = jax.tree.map(lambda weight: jnp.broadcast_to(weight, (num_lanes,)), weights)
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
    history = History(num_lanes, config)
    piece = 1
    while not history.done:
        piece = history.until_next_stop(piece, callback_every)
        started = time.perf_counter()
        states, info = _run_piece(params, targets, lane_weights, states, piece, program)
        history.add(info, piece, states)
        if callback:
            callback(history.progress(states))
        seconds = max(time.perf_counter() - started, 1e-6)
        wanted = _LONGEST_PIECE if not callback else int(piece * _SECONDS_BETWEEN_CALLBACKS / seconds)
        piece = min(max(wanted, 1), 2 * piece, _LONGEST_PIECE)
    return history.result(states)


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
        objective = jax.value_and_grad(lambda image: total_loss(params, image, targets, weights, program), has_aux=True)
        return step(state, objective, optimizer)

    # One lane keeps a CPU's cores busy. Lane after lane needs the activations of one at a time, and rounds each as a run of its own does:
    # L-BFGS multiplies a difference in the last digit by ten a step.
    sequential = jax.default_backend() == "cpu"

    def body(index: Array, carry: tuple[TransferState, StepInfo]) -> tuple[TransferState, StepInfo]:
        lanes = carry[0], weights
        states, info = lax.map(lambda lane: lane_step(*lane), lanes) if sequential else jax.vmap(lane_step)(*lanes)
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


def _checked(name: str, image: Any) -> Array:
    image = jnp.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ConfigError(f"the {name} image has shape {image.shape}; it must be (height, width, 3)")
    if not jnp.issubdtype(image.dtype, jnp.floating) or not bool(jnp.all((image >= 0) & (image <= 1))):
        raise ConfigError(f"the {name} image must hold floating-point sRGB in [0, 1]; divide 0–255 pixels by 255")
    return image.astype(jnp.float32)


def _as_arrays(weights: LossWeights) -> LossWeights:
    """The weights with lists and tuples of lanes made arrays, which else would count as branches of the tree."""

    def layers(given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return given and {layer: np.asarray(weight, np.float32) for layer, weight in given.items()}

    return LossWeights(
        content=np.asarray(weights.content, np.float32),
        style=np.asarray(weights.style, np.float32),
        total_variation=np.asarray(weights.total_variation, np.float32),
        content_layers=layers(weights.content_layers),
        style_layers=layers(weights.style_layers),
    )


def _count_lanes(weights: LossWeights, keys: Array | None) -> int:
    if keys is not None and keys.ndim != 1:
        raise ConfigError(f"keys has shape {keys.shape}; give one key a lane, such as jax.vmap(jax.random.key)(jnp.arange(4))")
    sizes: dict[str, int] = {} if keys is None else {"keys": keys.shape[0]}
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        name = f"weights{jax.tree_util.keystr(path)}"
        if leaf.ndim > 1 or not np.all(np.isfinite(leaf) & (leaf >= 0)):
            raise ConfigError(f"{name} is {leaf}; it must be a finite number, at least 0, or one a lane")
        if leaf.ndim:
            sizes[name] = leaf.size
    if len(set(sizes.values())) > 1:
        raise ConfigError(f"the numbers of lanes differ: {', '.join(f'{name} has {size}' for name, size in sizes.items())}")
    return next(iter(sizes.values()), 1)
