"""What a study writes: a lane when it has ended, and what compares the lanes once all are there."""

import time
from collections.abc import Mapping

import msgspec
import numpy as np
from msgspec import UNSET

from nst_jax.checks import ConfigError
from nst_jax.files.images import ImageError, read_result, write_image
from nst_jax.jobs.describe import (
    describe_device,
    describe_history,
    describe_loss,
    describe_preset,
    describe_versions,
    finite_or_none,
)
from nst_jax.jobs.inputs import describe_areas, label_of
from nst_jax.jobs.outputs import write_picture
from nst_jax.jobs.parts import values_of
from nst_jax.jobs.presets import Preset
from nst_jax.jobs.ran import describe_ran
from nst_jax.jobs.record import (
    IN_COMMON,
    Axis,
    LaneRecord,
    LaneValues,
    StudyDescription,
    StudyInputs,
    StudyRecord,
    StudySettings,
)
from nst_jax.jobs.record_files import plain, read_record, write_record
from nst_jax.jobs.study_plan import StudyPlan
from nst_jax.report.perceptual import lpips_distance
from nst_jax.report.write import write_report
from nst_jax.study.result import FinishedLane, status_of


def write_lane(plan: StudyPlan, lane: FinishedLane) -> None:
    """Writes a lane's image, then its record, which says that it is finished.

    Raises:
        ImageError: One of them cannot be written.
    """
    index, result = lane.index, lane.result
    name, values = plan.names[index], plan.grid.lanes[index]
    settings = plan.settings[index]
    if values.config.balance and values.loss is None and "style" in lane.loss:
        found = lane.loss["style"].part_weights or {}
        by_layer = {layer: float(weight) for layer, weight in found.items()}
        settings = msgspec.structs.replace(settings, weights_by_layer=by_layer)
    versions, device, lpips = describe_versions(), describe_device(), None
    if np.isfinite(result.loss):
        of_machine = {"versions": versions, "device": device}
        write_picture(
            plan.folder.lane_image(name),
            result.image,
            plain(settings) | of_machine,
            plan.inputs.alpha,
            origin=plan.inputs.origins[values.content],
        )
        content = plan.inputs.contents[values.content]
        lpips = lpips_distance(content, read_result(plan.folder.lane_image(name)))
    record = LaneRecord(
        output=plan.folder.lane_image(name).name,
        coordinates=dict(plan.grid.coordinates[index]),
        lane=LaneValues(**values.settings()),
        status=status_of(str(result.failure), bool(result.converged)),
        reason=str(result.failure) or None,
        steps=int(result.num_steps),
        seconds=lane.seconds,
        lpips=lpips,
        best_loss=finite_or_none(result.loss),
        best_step=int(result.best_step),
        history=describe_history(result),
        settings=settings,
        versions=versions,
        device=device,
        ran=describe_ran(lane.seconds),
    )
    write_record(plan.folder.lane_record(name), record)


def write_study(plan: StudyPlan) -> dict[str, str]:
    """Writes the record of a study and the images as they were read, then the report.

    Returns:
        The lanes that failed, and why.

    Raises:
        ConfigError: A lane is not there.
        ImageError: Something cannot be written.
    """
    folder = plan.folder
    records = {name: folder.lane_record(name) for name in plan.names}
    absent = [name for name, path in records.items() if not path.is_file()]
    if absent:
        raise ConfigError(
            f"{folder.path / 'lanes'}: {absent[0]} is not there; do all processes share "
            "this folder? Give the command again"
        )
    for path in folder.leftovers():
        path.unlink(missing_ok=True)
    write_copies(plan)
    write_record(folder.record, describe_study(plan))
    try:
        write_report(folder.path)
    except OSError as error:
        raise ImageError(
            f"{folder.path}: the report cannot be written ({error.strerror or error}); make room "
            "and give the command again"
        ) from error
    lanes = {
        name: read_record(path, LaneRecord, "give the command again with --overwrite")
        for name, path in records.items()
    }
    return {name: lane.reason or "" for name, lane in lanes.items() if lane.status == "failed"}


def write_copies(plan: StudyPlan) -> None:
    """Writes the images as they were read, which the page shows.

    Raises:
        ImageError: One cannot be written.
    """
    for kind, images in (("content", plan.inputs.contents), ("style", plan.inputs.styles)):
        for name, image in images.items():
            write_image(plan.folder.copy(kind, name), image)


def describe_study(plan: StudyPlan) -> StudyRecord:
    """The record of a study."""
    job, grid, inputs = plan.job, plan.grid, plan.inputs
    contents = {name: plan.folder.copy("content", name).name for name in inputs.contents}
    styles = {name: plan.folder.copy("style", name).name for name in inputs.styles}
    height, width = inputs.shape
    varied = {"content", "style", *grid.axes}
    fixed = {key: value for key, value in grid.lanes[0].settings().items() if key not in varied}
    axes: dict[str, Axis] = {
        name: dict(values) if isinstance(values, Mapping) else list(values)
        for name, values in job.axes.items()
    }
    if grid.losses:
        axes["loss"] = {name: describe_loss(loss) for name, loss in grid.losses.items()}
    return StudyRecord(
        title=job.title or f"{', '.join(contents)} × {', '.join(styles)}",
        axes={name: list(labels) for name, labels in grid.axes.items()},
        zipped=grid.zipped,
        lanes=list(plan.names),
        contents=contents,
        styles=styles,
        settings=StudySettings(
            network=inputs.network,
            height=height,
            width=width,
            inputs=StudyInputs(
                content={name: inputs.files[label_of("content", name)] for name in contents},
                style={name: inputs.files[label_of("style", name)] for name in styles},
                **describe_areas(inputs.sources, inputs.files),
            ),
            versions=describe_versions(),
            device=describe_device(),
            **values_of(job.preset, Preset, names=IN_COMMON),
            **fixed,
        ),
        job=StudyDescription(
            preset=describe_preset(job.preset),
            axes=axes,
            zipped=job.zipped,
            evaluate=job.evaluate or UNSET,
        ),
        ran=describe_ran(time.monotonic() - plan.started),
    )
