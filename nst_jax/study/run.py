"""Studies: many runs, compiled once, over all devices of this process.

Axes that change numbers alone (weights, seeds, images) become lanes of one compiled program. Axes
of other settings split the lanes into groups, each compiled once; on accelerators once more before,
for a single lane, to learn how many fit the memory.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nst_jax.config import NAMED_OPTIMIZERS_OWN, ConfigError, TransferConfig
from nst_jax.descent.fit import fitting_config
from nst_jax.descent.lanes import Lanes, Optimizer, lanes_run_in_turn
from nst_jax.descent.placement import Placement
from nst_jax.descent.problem import chosen_optimizer
from nst_jax.descent.pyramid import Pyramid
from nst_jax.descent.result import Callback, TransferResult
from nst_jax.descent.snapshot import Arrays
from nst_jax.descent.start import checked_image, initial_image, make_key
from nst_jax.host.memory import free_bytes, lanes_that_fit
from nst_jax.network.vgg import Params
from nst_jax.objective.default import LossWeights
from nst_jax.objective.targets import make_targets
from nst_jax.objective.terms import Loss, Term, distinct_losses
from nst_jax.pixels import check_image
from nst_jax.study.grid import Grid, Lane, loss_of, make_grid
from nst_jax.study.result import FinishedLane, RunningLanes, StudyResult, collect

_LOG = logging.getLogger(__name__)

Images = Mapping[str, Any]
"""Images by name, each (height, width, 3), sRGB in [0, 1]."""


Saved = Callable[[Sequence[int], int], Arrays | None]
"""Maps the lanes of a batch, as places in the grid, and how many it runs as with padding, to a
snapshot of it, or None."""


def run_study(
    params: Params,
    content: Any,
    style: Any,
    axes: Mapping[str, Sequence[Any] | Mapping[str, Any]],
    config: TransferConfig | None = None,
    weights: LossWeights | None = None,
    *,
    loss: Loss | Term | None = None,
    optimizer: str | optax.GradientTransformation | None = None,
    zipped: bool = False,
    lanes_at_once: int | None = None,
    callback: Callback | None = None,
) -> StudyResult:
    """Runs `stylize` over a grid of settings.

    Args:
        params: The network's parameters, from `load_params`.
        content: Content image, sRGB in [0, 1], or several of one size by name.
        style: Style image, or several of any sizes by name.
        axes: What varies, by name, for instance `{"style_weight": [5, 20, 80], "seed": [0, 1]}`;
            see `make_grid`.
        config: What all runs have in common; `TransferConfig()` if left out.
        weights: Likewise, plain numbers; `LossWeights()` if left out.
        loss: What all runs have in common where it is not the default loss; an axis `loss` takes
            several by name.
        optimizer: As in `stylize`.
        zipped: Take the axes in step instead of every value with every other.
        lanes_at_once: Lanes of one chunk; by default what the memory holds, or on a CPU, where
            lanes run one after another, one a device.
        callback: Called with the `Progress` of the lanes that run.

    Returns:
        The lanes in the order of the grid, the last axis varying fastest.

    Raises:
        ConfigError: An image, a setting or an axis is not what it should be, or not even one lane
            fits the memory.
    """
    contents = dict(content) if isinstance(content, Mapping) else {"content": content}
    styles = dict(style) if isinstance(style, Mapping) else {"style": style}
    for kind, images in (("content", contents), ("style", styles)):
        if not images:
            raise ConfigError(f"there is no {kind} image; give at least one")
    config, kept = chosen_optimizer(optimizer, config or TransferConfig())
    if loss is not None:
        if "loss" in axes or weights is not None:
            raise ConfigError(
                "a loss is given beside weights or an axis loss; leave one of the two out"
            )
        axes = {**axes, "loss": {"loss": loss}}
    for name in NAMED_OPTIMIZERS_OWN if kept else ():
        if name in axes:
            raise ConfigError(
                f"axis {name} varies the optimisers that go by a name, but one is given; "
                "leave one of the two out"
            )
    grid = make_grid(axes, list(contents), list(styles), config, weights or LossWeights(), zipped)
    check_study(params, contents, styles, grid, lanes_at_once)
    found = []
    for event in run_lanes(
        params,
        contents,
        styles,
        grid,
        range(len(grid.lanes)),
        lanes_at_once,
        optimizer=kept,
        seconds=2.0 if callback else 10.0,
    ):
        if isinstance(event, FinishedLane):
            found.append(event)
        elif callback:
            callback(event.chunk.progress)
    return collect(grid.lanes, sorted(found, key=lambda lane: lane.index))


def run_lanes(
    params: Params,
    contents: Images,
    styles: Images,
    grid: Grid,
    wanted: Sequence[int],
    lanes_at_once: int | None = None,
    saved: Saved = lambda lanes, size: None,
    optimizer: Optimizer | None = None,
    seconds: float = 2.0,
) -> Iterator[RunningLanes | FinishedLane]:
    """Runs the wanted lanes of a grid, which `check_study` found right: yields where they stand,
    and each when it has ended.

    Args:
        params: As in `run_study`, and so for all arguments that are not named here.
        contents: Content images of one size by name.
        styles: Style images by name.
        grid: From `make_grid`.
        wanted: The lanes to run, as places in the grid.
        lanes_at_once: As in `run_study`.
        saved: Asked, before a batch of lanes, for what to go on from.
        optimizer: As in `LaneProgram`.
        seconds: As in `descend`.

    Raises:
        ConfigError: As in `run_study`.
    """
    contents = {name: checked_image(f"content {name}", image) for name, image in contents.items()}
    styles = {name: checked_image(f"style {name}", image) for name, image in styles.items()}
    groups: dict[Any, list[int]] = {}
    for index in wanted:
        lane = grid.lanes[index]
        groups.setdefault((_program_of(lane), jax.tree.structure(loss_of(lane, grid))), []).append(
            index
        )
    for (program, _), indices in groups.items():
        yield from _run_group(
            params,
            contents,
            styles,
            grid,
            program,
            indices,
            lanes_at_once,
            saved,
            optimizer,
            seconds,
        )


def check_study(
    params: Params, contents: Images, styles: Images, grid: Grid, lanes_at_once: int | None = None
) -> None:
    """Finds what is wrong with any group before the first one runs; the arguments are those of
    `run_lanes`.

    Raises:
        ConfigError: As in `run_study`, but for the memory.
    """
    if lanes_at_once is not None and lanes_at_once < 1:
        raise ConfigError(f"the number of lanes at once is {lanes_at_once}; it must be at least 1")
    for kind, images in (("content", contents), ("style", styles)):
        for name, image in images.items():
            check_image(f"{kind} {name}", image)
    shapes = {name: np.shape(image)[:2] for name, image in contents.items()}
    if len(set(shapes.values())) > 1:
        sizes = ", ".join(
            f"{name} is {height} × {width}" for name, (height, width) in shapes.items()
        )
        raise ConfigError(f"the content images of a study must have one size, but {sizes}")
    losses = {}
    for lane in grid.lanes:
        loss = loss_of(lane, grid)
        losses.setdefault((_program_of(lane), jax.tree.structure(loss)), loss)
    described = lambda image: jax.ShapeDtypeStruct(np.shape(image), jnp.float32)
    content = described(next(iter(contents.values())))
    for style in map(described, styles.values()):
        for (program, _), loss in losses.items():
            jax.eval_shape(partial(make_targets, config=program, loss=loss), params, content, style)


def _program_of(lane: Lane) -> TransferConfig:
    """What a lane runs with beside its images and numbers; lanes that share it are a group."""
    # Noise goes through sizes of its own.
    return (
        lane.config
        if lane.config.init == "noise"
        else dataclasses.replace(lane.config, init="content")
    )


def _run_group(
    params: Params,
    contents: Images,
    styles: Images,
    grid: Grid,
    config: TransferConfig,
    indices: list[int],
    lanes_at_once: int | None,
    saved: Saved,
    optimizer: Optimizer | None,
    seconds: float,
) -> Iterator[RunningLanes | FinishedLane]:
    # Only the images that the group has.
    contents, styles = (
        {
            name: images[name]
            for name in dict.fromkeys(getattr(grid.lanes[index], kind) for index in indices)
        }
        for kind, images in (("content", contents), ("style", styles))
    )
    devices = jax.local_devices()[: len(indices)]
    largest_style = max(styles.values(), key=lambda image: image.size)
    # In tiles the result is the same, with fewer pairs it would depend on what else the machine
    # does.
    losses = [loss_of(grid.lanes[index], grid) for index in indices]
    of_content, of_style = distinct_losses(losses, "content"), distinct_losses(losses, "style")
    first = next(iter(contents.values()))
    config, memory = fitting_config(
        params, first, largest_style, losses[0], config, fewer_pairs=False, optimizer=optimizer
    )
    if memory:
        _LOG.info(memory)
    own = of_content[0], of_style[0]
    pyramid = Pyramid(
        params,
        list(contents.values()),
        list(styles.values()),
        config,
        *own,
        Placement(tuple(devices)),
        optimizer,
    )

    def target_of(
        images: Images, kind: str, distinct: tuple[Sequence[Loss], np.ndarray], filled: list[int]
    ) -> np.ndarray:
        """Which of the targets of these images the lanes have."""
        own, place_of = distinct[0], dict(zip(indices, distinct[1], strict=True))
        names = list(images)
        return np.asarray(
            [
                names.index(getattr(grid.lanes[index], kind)) * len(own) + place_of[index]
                for index in filled
            ],
            np.int32,
        )

    def lanes_of(chunk: list[int], size: int) -> Lanes:
        """The lanes of a chunk, filled up with lanes that do not run."""
        filled = chunk + chunk[:1] * (size - len(chunk))
        settings = [grid.lanes[index] for index in filled]
        return Lanes(
            content=target_of(contents, "content", of_content, filled),
            style=target_of(styles, "style", of_style, filled),
            loss=jax.tree.map(
                lambda *leaves: np.asarray(leaves, np.float32),
                *(loss_of(lane, grid) for lane in settings),
            ),
            images=jnp.stack(
                [
                    initial_image(
                        contents[lane.content],
                        styles[lane.style],
                        make_key(lane.seed) if lane.config.init == "noise" else None,
                        lane.config.init,
                    )
                    for lane in settings
                ]
            ),
            active=np.arange(size) < len(chunk),
            is_grey=np.zeros(size, bool),  # the pyramid finds out
        )

    def compile_for(lanes_per_device: int) -> tuple[int, int]:
        size = lanes_per_device * len(devices)
        return pyramid.compile(lanes_of(indices[:size], size))

    # In turn, more lanes at once are no faster, need more memory for their states, and are written
    # later.
    wanted = (
        -(-len(indices) // len(devices))
        if lanes_at_once is None
        else -(-min(lanes_at_once, len(indices)) // len(devices))
    )
    per_device = 1 if lanes_at_once is None else wanted
    free = free_bytes(devices[0])
    shared, own = compile_for(per_device)
    fitting = per_device if free is None else lanes_that_fit(free, shared, own // per_device)
    if free is not None and not fitting:
        raise ConfigError(
            f"one lane needs {(shared + own) / 1e9:.1f} GB, of which {free / 1e9:.1f} GB "
            "are free; take smaller images"
        )
    if fitting < per_device or (lanes_at_once is None and not lanes_run_in_turn()):
        num_chunks = -(-wanted // fitting)
        # chunks of like size: what the last lacks would cost as much
        measured, per_device = per_device, -(-wanted // num_chunks)
        if per_device != measured:
            shared, own = compile_for(per_device)
    size = per_device * len(devices)
    _LOG.info(
        f"{len(indices)} lanes, {size} at once "
        f"on {len(devices)} {devices[0].platform} device{'s' * (len(devices) > 1)}, "
        f"{(shared + own) / 1e9:.2f} GB on each"
    )
    for start in range(0, len(indices), size):
        chunk = indices[start : start + size]
        started = time.perf_counter()
        without_padding = partial(_first_lanes, len(chunk))
        keeps_detail = [grid.lanes[index].config.init != "noise" for index in chunk] + [False] * (
            size - len(chunk)
        )
        reached = None
        for reached in pyramid.descend(
            lanes_of(chunk, size), keeps_detail, start=saved(chunk, size), seconds=seconds
        ):
            yield RunningLanes(chunk, size, reached.picking(without_padding))
        assert reached is not None  # there is always a piece
        result = reached.result()
        result = result._replace(image=jax.device_get(result.image))
        seconds = (time.perf_counter() - started) / len(chunk)
        for place, index in enumerate(chunk):
            steps = int(result.num_steps[place])
            lane: TransferResult = jax.tree.map(lambda leaf, place=place: leaf[place], result)
            histories = {"losses": lane.losses, "terms": lane.terms, "sizes": lane.sizes}
            yield FinishedLane(
                index,
                lane._replace(**jax.tree.map(lambda rows, steps=steps: rows[:steps], histories)),
                seconds,
            )


def _first_lanes(num_lanes: int, batch: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[:num_lanes] if np.ndim(leaf) else leaf, batch)
