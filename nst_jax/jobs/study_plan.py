"""What a study is to do: its lanes, what they are made of, and which of them are there already."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from nst_jax.checks import ConfigError
from nst_jax.descent.areas import Areas
from nst_jax.jobs.describe import describe_loss
from nst_jax.jobs.inputs import (
    Inputs,
    Sources,
    describe_areas,
    label_of,
    named_images,
    read_inputs,
    read_styles,
)
from nst_jax.jobs.job import StudyJob
from nst_jax.jobs.outputs import check_study_outputs
from nst_jax.jobs.parts import values_of
from nst_jax.jobs.presets import Preset
from nst_jax.jobs.record import IN_COMMON, LaneSettings, RunInputs
from nst_jax.jobs.record_files import plain
from nst_jax.jobs.study_folder import StudyFolder, lane_names
from nst_jax.jobs.study_lanes import is_lane_finished, lanes_by_new_names
from nst_jax.jobs.style_sizes import style_sizes_of
from nst_jax.study.grid import Grid, make_grid
from nst_jax.study.result import Images
from nst_jax.study.run import check_study


@dataclass(frozen=True)
class StudyPlan:
    """What a study is to do.

    Args:
        job: What was asked for.
        folder: Where its results go.
        grid: Its lanes.
        names: Their names.
        inputs: What it is made of.
        contents: The content images by name, as `run_lanes` takes them.
        styles: The style images, likewise.
        areas: Parts of the picture, likewise.
        settings: Of each lane, everything that decides its result.
        finished: Of each lane, whether it is there already.
        renamed: Lanes that are there by another name: their names now, by those.
        started: When the command began, by the monotonic clock.
    """

    job: StudyJob
    folder: StudyFolder
    grid: Grid
    names: Sequence[str]
    inputs: Inputs
    contents: Images
    styles: Images
    areas: Areas
    settings: Sequence[LaneSettings]
    finished: Sequence[bool]
    renamed: Mapping[str, str]
    started: float


def plan_study(job: StudyJob) -> StudyPlan:
    """Reads what a study is made of, and finds all that can be wrong with the user's input.

    Raises:
        ConfigError, ImageError, WeightsError: The input is wrong, or the folder holds another
            study.
    """
    started = time.monotonic()
    preset, folder = job.preset, StudyFolder(job.output_dir)
    named = named_images("content", job.contents), named_images("style", job.styles)
    sources = Sources(*named, None, job.masks, job.region_maps, job.keep)
    weights = preset.loss_weights()
    mixed = _mixed_styles(job, list(sources.style))
    axes = {"style_size": [preset.style_size], **job.axes} if preset.style_size else job.axes
    grid = make_grid(axes, list(sources.content), list(mixed), preset.config, weights, job.zipped)
    sizes = list(dict.fromkeys(lane.style_size for lane in grid.lanes))
    presets = {size: dataclasses.replace(preset, style_size=size) for size in sizes}
    if job.region_maps and len(sizes) > 1:
        raise ConfigError(
            "--regions has a map of each style at one size, but --style-size has several; give one"
        )
    names = lane_names(grid)
    check_study_outputs(folder, names, sources, preset.network, job.overwrite)
    inputs = read_inputs(sources, presets[sizes[0]], job.max_pixels, job.hashes)
    read = {
        size: read_styles(sources.style, presets[size], job.max_pixels, inputs.shape)
        for size in sizes[1:]
    }
    read[sizes[0]] = dict(inputs.styles)
    images = {
        lane.style_key: [read[lane.style_size][own] for own in mixed[lane.style]]
        for lane in grid.lanes
    }
    contents, styles, areas = check_study(
        inputs.loaded.params,
        inputs.contents,
        images,
        grid,
        job.lanes_at_once,
        areas=Areas(inputs.regions, inputs.keep),
    )
    settings = [
        _describe_lane(grid, index, inputs, preset, mixed) for index in range(len(grid.lanes))
    ]
    plain_settings = [plain(own) for own in settings]
    renamed = {} if job.overwrite else lanes_by_new_names(folder, names, plain_settings)
    old_names = {new: old for old, new in renamed.items()}
    finished = [
        not job.overwrite and is_lane_finished(folder, old_names.get(name, name), own)
        for name, own in zip(names, plain_settings, strict=True)
    ]
    images = contents, styles, areas
    return StudyPlan(
        job, folder, grid, names, inputs, *images, settings, finished, renamed, started
    )


def _mixed_styles(job: StudyJob, names: list[str]) -> dict[str, list[str]]:
    """The styles that lanes may have, and the images of each.

    All go together where they are mixed, or where each has a part of the picture.
    """
    mixed = "style_mix" in job.axes or job.preset.config.style_mix
    if mixed or job.masks or job.region_maps:
        return {" and ".join(names): names}
    return {name: [name] for name in names}


def _describe_lane(
    grid: Grid, index: int, inputs: Inputs, preset: Preset, mixed: Mapping[str, list[str]]
) -> LaneSettings:
    lane, by_layer, terms = grid.lanes[index], UNSET, UNSET
    if lane.layer_weights is not None:
        by_layer = dict(grid.layer_weights[lane.layer_weights])
    if lane.loss is not None:
        terms = describe_loss(grid.losses[lane.loss])
    height, width = inputs.shape
    styles = tuple(inputs.files[label_of("style", name)] for name in mixed[lane.style])
    own: dict[str, Any] = values_of(preset, Preset, names=IN_COMMON) | lane.settings()
    own["style_size"] = style_sizes_of(lane.style_size, list(inputs.styles), mixed[lane.style])
    return LaneSettings(
        network=inputs.network,
        height=height,
        width=width,
        inputs=RunInputs(
            content=inputs.files[label_of("content", lane.content)],
            style=styles[0] if len(styles) == 1 else styles,
            **describe_areas(inputs.sources, inputs.files),
        ),
        weights_by_layer=by_layer,
        terms=terms,
        **own,
    )
