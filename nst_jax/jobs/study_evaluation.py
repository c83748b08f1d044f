"""The lanes of a study measured against their content and their style."""

import logging

import msgspec

from nst_jax.checks import ConfigError
from nst_jax.files.images import read_result
from nst_jax.host.stopping import Stopped, StopSignals
from nst_jax.jobs.describe import finite_or_none
from nst_jax.jobs.outputs import OVERWRITE_FOLDER
from nst_jax.jobs.record import LaneRecord
from nst_jax.jobs.record_files import read_record, write_record
from nst_jax.jobs.study_plan import StudyPlan
from nst_jax.network.vgg import prepare_params
from nst_jax.report.evaluate import CONTENT_LAYER, LAYERS, LEAST_SIDE, Evaluation, evaluate
from nst_jax.weights import load_embedded

_LOG = logging.getLogger(__name__)


def check_measurable(plan: StudyPlan) -> None:
    """Makes sure, before any lane is painted, that those of one style can be measured.

    Raises:
        ConfigError: The content or a style image is too small.
        WeightsError: The network is not installed.
    """
    measurable = _measurable(plan)
    if len(measurable) < len(plan.names):
        _LOG.warning(
            f"{len(plan.names) - len(measurable)} of {len(plan.names)} lanes have several styles, "
            "not one to be measured against; they are painted, and not measured"
        )
    lanes = [plan.grid.lanes[index] for index in measurable.values()]
    shapes = {f"content {lane.content}": plan.inputs.shape for lane in lanes}
    for lane in lanes:
        (style,) = plan.styles[lane.style_key]
        shapes[f"style {lane.style_key}"] = style.shape[:2]
    for name, (height, width) in shapes.items():
        if min(height, width) < LEAST_SIDE:
            raise ConfigError(
                f"the {name} image would be measured at {width} × {height} pixels; each side must "
                f"be at least {LEAST_SIDE}, so take a larger size, or leave --evaluate out"
            )
    if lanes:
        load_embedded()


def measure_lanes(plan: StudyPlan) -> None:
    """Measures the lanes that have no numbers yet, each as soon as written into its record.

    Left alone are those that failed, and those of several styles. The picture is read as it was
    written; content and style are as they were read.

    Raises:
        ConfigError: A record is not there.
        ImageError: A picture cannot be read, or a record not be written.
        WeightsError: The network is not installed.
        Stopped: Ctrl-C or SIGTERM came.
    """
    records = {
        name: read_record(plan.folder.lane_record(name), LaneRecord, OVERWRITE_FOLDER)
        for name in _measurable(plan)
    }
    missing = {
        name: record
        for name, record in records.items()
        if record.status != "failed" and record.evaluation is msgspec.UNSET
    }
    if not missing:
        return
    loaded = load_embedded()
    _LOG.info(f"measuring {len(missing)} of {len(plan.names)} lanes by {loaded.why}")
    params = prepare_params(loaded.params, (CONTENT_LAYER, *LAYERS))
    with StopSignals() as signals:
        for name, record in missing.items():
            lane = plan.grid.lanes[plan.names.index(name)]
            (style,) = plan.styles[lane.style_key]
            content = plan.inputs.contents[lane.content]
            picture = read_result(plan.folder.lane_image(name))
            found = evaluate(params, content, style, picture)
            measured = msgspec.structs.replace(record, evaluation=_numbers(found))
            write_record(plan.folder.lane_record(name), measured)
            if signals.received:
                raise Stopped("stopped; the same command goes on measuring", signals.received)


def _measurable(plan: StudyPlan) -> dict[str, int]:
    """The lanes of one style: their places in the grid by their names."""
    return {
        name: index
        for index, (name, lane) in enumerate(zip(plan.names, plan.grid.lanes, strict=True))
        if len(plan.styles[lane.style_key]) == 1
    }


def _numbers(found: Evaluation) -> dict[str, float | None]:
    return {
        name: None if value is None else finite_or_none(value)
        for name, value in found.numbers().items()
    }
