"""Whether a run fits the device's memory, and how to make it fit.

In tiles, or with a shorter memory of L-BFGS.
"""

import dataclasses
import logging
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.checks import ConfigError
from nst_jax.config import Border, TransferConfig
from nst_jax.descent.arguments import chosen_optimizer, precision_here, spelt_out
from nst_jax.descent.lanes import LaneProgram, Lanes
from nst_jax.descent.piece import Optimizer
from nst_jax.descent.placement import Placement
from nst_jax.descent.run_arguments import RunArguments
from nst_jax.descent.scaled_targets import stack_targets
from nst_jax.descent.schedule import LEAST_SIDE
from nst_jax.host.memory import FreeBytes, free_bytes, lanes_that_fit
from nst_jax.network.vgg import Params, direct_params, prepare_params
from nst_jax.objective.regions import checked_regions, with_regions
from nst_jax.objective.styles import as_images
from nst_jax.objective.target import Targets
from nst_jax.objective.targets import targets_of_one
from nst_jax.objective.terms import Loss
from nst_jax.objective.tiles import IMAGE
from nst_jax.objective.views import layers_shapes
from nst_jax.pixels import shape_of

_LOG = logging.getLogger(__name__)

_TILES = (1024, 512, 256)
# Copies of the images, the compiler's own memory, buffers of threads (docs/benchmarks).
_OVERHEAD = 1.1
_LEAST_MEMORY = 3  # pairs; with fewer, L-BFGS is little better than gradient descent
# More than any network needs: where that fits, the compiler is not asked.
_BYTES_A_PIXEL = 8000


def fitting_config(
    params: Params,
    content: Any,
    style: Any,
    loss: Loss,
    config: TransferConfig,
    devices: Sequence[jax.Device] = (),
    fewer_pairs: bool = True,
    optimizer: Optimizer | None = None,
    free_of: FreeBytes = free_bytes,
    lanes: int = 1,
) -> tuple[TransferConfig, str]:
    """The settings that the free memory allows: as they are, or in the largest tiles that fit.

    Args:
        params: The network's parameters.
        content: Content image, (height, width, 3).
        style: Style image.
        loss: The terms of the run.
        config: The run's settings; a `tile` in it stays.
        devices: Those that share the image by rows; left out, one has it whole.
        fewer_pairs: Whether L-BFGS may keep fewer pairs than `config` says, which changes the
            result.
        optimizer: As in `LaneProgram`.
        free_of: Tells a device's free memory.
        lanes: How many are evaluated at once.

    Returns:
        The settings to run with, and a line that says what they need; empty where there is plenty.

    Raises:
        ConfigError: Not even small tiles fit; the message names a size that would.
    """
    free = free_of((devices or jax.local_devices())[0])
    pixels = max(content.shape[0] * content.shape[1], style.shape[0] * style.shape[1])
    if free is None or lanes * pixels * (_BYTES_A_PIXEL + 24 * config.memory) < free / 2:
        return config, ""
    # bytes of two images
    pair = int(_OVERHEAD * 24 * content.shape[0] * content.shape[1] * lanes / max(len(devices), 1))
    choices = (
        [config]
        if config.tile or len(devices) > 1
        else [config, *(dataclasses.replace(config, tile=tile) for tile in _TILES)]
    )
    may_shrink = fewer_pairs and config.optimizer == "lbfgs" and optimizer is None
    room, needed = lanes_that_fit(free, 0, 1), 0
    for choice in choices:
        how = f"in tiles of {choice.tile} pixels" if choice.tile else "whole"
        size = f"{content.shape[1]} × {content.shape[0]} pixels"
        _LOG.info(f"compiling to see what memory {size} need, {how} …")
        preparation, descent = _bytes_needed(
            params, content, style, loss, choice, devices, optimizer, lanes
        )
        needed = max(preparation, descent)
        if not needed:
            return config, ""
        fewer = max(-(-(descent - room) // pair), 0)
        if preparation <= room and (
            not fewer or (may_shrink and config.memory - fewer >= _LEAST_MEMORY)
        ):
            needed = max(preparation, descent - fewer * pair)
            pairs = (
                f", L-BFGS keeps {config.memory - fewer} pairs instead of {config.memory}"
                if fewer
                else ""
            )
            return dataclasses.replace(
                choice, memory=config.memory - fewer
            ), f"memory: {needed / 1e9:.1f} GB of {free / 1e9:.1f} GB free, {how}{pairs}"
    size = int(max(content.shape[:2]) * (0.8 * free / needed) ** 0.5)
    advice = f"take a size of {size} or less" if size >= LEAST_SIDE else "make room"
    if lanes > 1:
        advice += ", or run_study, which takes as many lanes at once as fit"
    raise ConfigError(
        f"this needs {needed / 1e9:.1f} GB, of which {free / 1e9:.1f} GB are free; {advice}"
    )


def fitting_run(run: RunArguments) -> tuple[TransferConfig, str]:
    """`fitting_config` of a run. Of a batch, as many lanes count as are evaluated at once.

    Arguments that are wrong are left for the run to find.

    Raises:
        ConfigError: As `fitting_config`.
    """
    config, own = chosen_optimizer(run.optimizer, run.config)
    found = [shape_of(image) for image in (run.content, *as_images(run.style))]
    if run.texture_shape:
        found[0] = (*run.texture_shape, 3)
    shapes = [shape for shape in found if shape is not None and len(shape) == 3]
    if len(found) < 2 or len(shapes) < len(found):
        return config, ""
    images = shapes[0], max(shapes[1:], key=math.prod)
    content, style = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in images)
    terms = spelt_out(run.loss, run.weights, config)
    if run.regions:
        terms = with_regions(terms, checked_regions(run.regions, shapes[0], shapes[1:]))
    sizes = [np.size(numbers) for numbers in jax.tree.leaves(terms)]
    listed = (len(run.keys),) if isinstance(run.keys, Sequence) else ()
    sizes += getattr(run.keys, "shape", listed)[:1]
    if 0 in sizes:
        return config, ""
    terms = jax.tree.map(lambda numbers: numbers.flat[0], terms)
    devices = tuple(run.devices or ())
    in_turn = Placement(devices, by_rows=True).runs_in_turn
    return fitting_config(
        run.params,
        content,
        style,
        terms,
        config,
        devices,
        optimizer=own,
        lanes=1 if in_turn else max(sizes, default=1),
    )


def _bytes_needed(
    params: Params,
    content: Any,
    style: Any,
    loss: Loss,
    config: TransferConfig,
    devices: Sequence[jax.Device] = (),
    optimizer: Optimizer | None = None,
    num_lanes: int = 1,
) -> tuple[int, int]:
    """The bytes that preparing the targets, and the descent, need of each device.

    Zeros where the compiler does not tell. Nothing is run.
    """
    config, _ = precision_here(config)
    loaded = jax.eval_shape(direct_params, params)
    prepare = lambda params: prepare_params(params, loss.layers, config.precision)
    placement = Placement(tuple(devices), by_rows=True)
    program = LaneProgram(config, placement, optimizer)
    content, style = (
        placement.deal_image(jax.ShapeDtypeStruct(image.shape, jnp.float32))
        for image in (content, style)
    )

    # The largest style image stands for all, which are measured one after another.
    def targets_of(params: Params, content: Any, style: Any) -> Targets:
        return targets_of_one(params, content, style, config, loss)

    params = loaded if placement.shares_rows else jax.eval_shape(prepare, params)
    seen = loaded if config.precision == "highest" else params
    preparation = jax.jit(targets_of).lower(seen, content, style).compile().memory_analysis()
    targets = jax.eval_shape(
        lambda *arrays: stack_targets(loss, [targets_of(*arrays)]), seen, content, style
    )
    targets = _with_shares(params, targets, loss, content.shape, config.border)
    image, number, flag = (
        jax.ShapeDtypeStruct((1, *shape), kind)
        for shape, kind in ((content.shape, jnp.float32), ((), jnp.int32), ((), jnp.bool_))
    )
    lanes = Lanes(
        number,
        number,
        jax.tree.map(lambda _: jax.ShapeDtypeStruct((1,), jnp.float32), loss),
        {},
        image,
        flag,
        flag,
    )
    shared, own = program.compile(params, targets, lanes)
    descent = shared + num_lanes * own
    before = (
        0
        if preparation is None
        else preparation.temp_size_in_bytes
        + preparation.argument_size_in_bytes
        + preparation.output_size_in_bytes
    )
    return int(_OVERHEAD * before), int(_OVERHEAD * descent)


def _with_shares(
    params: Params, targets: Targets, loss: Loss, shape: Sequence[int], border: Border
) -> Targets:
    """Shapes of targets with those of the shares that regions have."""
    shapes = layers_shapes(params, shape, (*loss.layers, IMAGE), border)
    share = lambda layer: jax.ShapeDtypeStruct((1, *shapes[layer][:2], 1), jnp.float32)
    return {
        name: target._replace(shares={layer: share(layer) for layer in loss[name].layers})
        if loss[name].region
        else target
        for name, target in targets.items()
    }
