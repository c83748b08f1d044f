"""Studies: many runs, compiled once, over all devices of this process.

Axes that change numbers alone (weights, learning rates, seeds, images) become lanes of one compiled
program. Axes of other settings split the lanes into groups, each compiled once; on accelerators
once more before, for a single lane, to learn how many fit the memory.
"""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nst_jax.checks import ConfigError
from nst_jax.config import NAMED_OPTIMIZERS_OWN, TransferConfig
from nst_jax.descent.areas import NO_AREAS, Areas, checked_areas
from nst_jax.descent.arguments import check_average, chosen_optimizer
from nst_jax.descent.piece import Optimizer
from nst_jax.descent.result import Callback
from nst_jax.descent.schedule import make_schedule
from nst_jax.descent.start import checked_image
from nst_jax.descent.stylize import lasting, seconds_between
from nst_jax.host.bars import Bar
from nst_jax.network.vgg import Params
from nst_jax.objective.regions import Region, small_regions, with_regions
from nst_jax.objective.styles import as_images, check_mix, check_no_mix
from nst_jax.objective.targets import targets_of_one
from nst_jax.objective.terms import Loss, Term
from nst_jax.objective.weights import LossWeights, check_weights
from nst_jax.study.grid import Grid, loss_of, make_grid
from nst_jax.study.group import Group, Saved
from nst_jax.study.result import FinishedLane, Images, RunningLanes, StudyResult, collect

_LOG = logging.getLogger(__name__)


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
    regions: Sequence[Region] = (),
    keep: Any = None,
    lanes_at_once: int | None = None,
    callback: Callback | None = None,
    progress: bool | None = None,
) -> StudyResult:
    """Runs `stylize` over a grid of settings.

    Ctrl-C ends it without a result; `nst-jax study` writes each lane as it ends, and goes on.

    Args:
        params: The network's parameters, from `load_params`.
        content: Content image, sRGB in [0, 1], or several of one size by name.
        style: Style image, or several of any sizes by name; for each a list of several that are
            blended, if wanted.
        axes: What varies, by name, for instance `{"style_weight": [5, 20, 80]}`; see `make_grid`.
        config: What all runs have in common; `TransferConfig()` if left out.
        weights: Likewise, plain numbers; `LossWeights()` if left out.
        loss: What all runs have in common where it is not the default loss; an axis `loss` takes
            several by name.
        optimizer: As in `stylize`.
        zipped: Take the axes in step instead of every value with every other.
        regions: As in `stylize`, and so `keep`; shared by all lanes, which have one content image.
            The styles that a region names are those of a lane's list.
        keep: As in `stylize`.
        lanes_at_once: Lanes of one batch; by default what the memory holds, or on a CPU, where
            lanes run one after another, one a device.
        callback: Called with the `Progress` of the lanes that run.
        progress: As in `stylize`.

    Returns:
        The lanes in the order of the grid, the last axis varying fastest.

    Raises:
        ConfigError: An image, a setting or an axis is not what it should be, or not even one lane
            fits the memory.

    Example:
        >>> axes = {"style_weight": [5, 20], "seed": [0, 1]}
        >>> run_study(params, content, style, axes, config).image.shape[0]
        4
    """
    contents = dict(content) if isinstance(content, Mapping) else {"content": content}
    styles = dict(style) if isinstance(style, Mapping) else {"style": style}
    for kind, images in (("content", contents), ("style", styles)):
        if not images:
            raise ConfigError(f"there is no {kind} image; give at least one")
    check_weights(weights)
    config, kept = chosen_optimizer(optimizer, config or TransferConfig())
    if not isinstance(axes, Mapping):
        raise ConfigError(f"axes is {axes!r}; map names to values, as {{'style_weight': [5, 20]}}")
    if loss is not None:
        if "loss" in axes or weights is not None:
            raise ConfigError(
                "a loss is given beside weights or an axis loss; leave one of the two out"
            )
        axes = {**axes, "loss": {"loss": loss}}
    if "style_size" in axes:
        raise ConfigError(
            "style_size says at which size files are read, but arrays are given; give the style in "
            "several sizes by name, such as style={'fine': small, 'coarse': large}"
        )
    for name in NAMED_OPTIMIZERS_OWN if kept else ():
        if name in axes:
            raise ConfigError(
                f"axis {name} varies the optimisers that go by a name, but one is given; "
                "leave one of the two out"
            )
    grid = make_grid(axes, list(contents), list(styles), config, weights or LossWeights(), zipped)
    contents, styles, areas = check_study(
        params, contents, styles, grid, lanes_at_once, kept, Areas(regions, keep)
    )
    found = []
    with Bar(progress, callback is not None) as bar:
        for event in run_lanes(
            params,
            contents,
            styles,
            grid,
            range(len(grid.lanes)),
            lanes_at_once,
            optimizer=kept,
            seconds=seconds_between(callback or bar),
            areas=areas,
        ):
            under_way = 0.0
            if isinstance(event, FinishedLane):
                found.append(event)
            else:
                under_way = event.chunk.progress.done * len(event.lanes)
                if callback:
                    callback(lasting(event.chunk.progress))
            done = (len(found) + under_way) / len(grid.lanes)
            bar.show(done, f"{len(found)} of {len(grid.lanes)} lanes")
    return collect(grid, sorted(found, key=lambda lane: lane.index), contents, styles)


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
    areas: Areas = NO_AREAS,
) -> Iterator[RunningLanes | FinishedLane]:
    """Runs lanes of a grid: yields where they stand, and each when it has ended.

    Args:
        params: As in `run_study`, and so for all arguments that are not named here.
        contents: Content images by name, as `check_study` returns them.
        styles: Style images, likewise.
        grid: From `make_grid`.
        wanted: The lanes to run, as places in the grid.
        lanes_at_once: As in `run_study`.
        saved: Asked, before a batch of lanes, for what to go on from.
        optimizer: As in `LaneProgram`.
        seconds: As in `descend`.
        areas: As `check_study` returns them.

    Raises:
        ConfigError: As in `run_study`.
    """
    groups: dict[Any, list[int]] = {}
    for index in wanted:
        lane = grid.lanes[index]
        program = lane.config.group(), jax.tree.structure(loss_of(lane, grid))
        groups.setdefault(program, []).append(index)
    for (program, _), indices in groups.items():
        group = Group(params, contents, styles, grid, program, indices, optimizer, areas)
        yield from group.run(lanes_at_once, saved, seconds)


def check_study(
    params: Params,
    contents: Images,
    styles: Images,
    grid: Grid,
    lanes_at_once: int | None = None,
    optimizer: Optimizer | None = None,
    areas: Areas = NO_AREAS,
) -> tuple[Images, Images, Areas]:
    """Finds what is wrong with any group before the first one runs.

    Args:
        params: As in `run_study`, and so for all arguments that are not named here.
        contents: Content images by name.
        styles: Style images by name, or lists of them.
        grid: From `make_grid`.
        areas: Parts of the picture that all lanes have.

    Returns:
        The content and the style images as `run_lanes` takes them: float32, on the device; and the
        areas.

    Raises:
        ConfigError: As in `run_study`, but for the memory.
    """
    if lanes_at_once is not None and lanes_at_once < 1:
        raise ConfigError(f"the number of lanes at once is {lanes_at_once}; it must be at least 1")
    contents = {name: checked_image(f"content {name}", image) for name, image in contents.items()}
    style_images = {
        name: [checked_image(f"style {name}", image) for image in as_images(style)]
        for name, style in styles.items()
    }
    shapes = {name: np.shape(image)[:2] for name, image in contents.items()}
    if len(set(shapes.values())) > 1:
        sizes = ", ".join(
            f"{name} is {height} × {width}" for name, (height, width) in shapes.items()
        )
        raise ConfigError(f"the content images of a study must have one size, but {sizes}")
    shape = np.shape(next(iter(contents.values())))
    for images in style_images.values():
        areas = checked_areas(areas, shape, [image.shape for image in images])
    if len(contents) > 1 and (areas.regions or areas.keep is not None):
        raise ConfigError(
            f"regions and keep are parts of one content image, but there are {len(contents)}; "
            "give a study of each"
        )
    losses, notes = {}, []
    for lane in grid.lanes:
        check_mix(len(style_images[lane.style_key]), lane.config.style_mix)
        make_schedule((shape[0], shape[1]), lane.config)
        if optimizer is None:
            check_average(lane.config)
        loss = loss_of(lane, grid)
        for term in loss.values():
            check_mix(len(style_images[lane.style_key]), term.style_mix)
        if areas.regions:
            check_no_mix(lane.config, loss)
            notes += small_regions(loss, with_regions(loss, areas.regions))
        losses.setdefault((lane.config.group(), jax.tree.structure(loss)), loss)
    for note in dict.fromkeys(notes):
        _LOG.warning(note)
    described = lambda image: jax.ShapeDtypeStruct(np.shape(image), jnp.float32)
    content = described(next(iter(contents.values())))
    for style in map(described, itertools.chain(*style_images.values())):
        for (program, _), loss in losses.items():
            find = partial(targets_of_one, config=program, loss=loss)
            jax.eval_shape(find, params, content, style)
    return contents, style_images, areas
