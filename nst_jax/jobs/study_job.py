"""A study from files to a folder of results, which a study that was stopped goes on from."""

import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nst_jax.checks import ConfigError
from nst_jax.descent.result import Callback
from nst_jax.descent.snapshot import Arrays, SnapshotError
from nst_jax.files.lock import only_one
from nst_jax.host.processes import Processes
from nst_jax.host.stopping import Stopped, StopSignals
from nst_jax.jobs.checkpoint import Checkpoint, Saver
from nst_jax.jobs.job import StudyJob
from nst_jax.jobs.record_files import deciding, plain
from nst_jax.jobs.study_evaluation import check_measurable, measure_lanes
from nst_jax.jobs.study_folder import StudyFolder
from nst_jax.jobs.study_lanes import rename_lane
from nst_jax.jobs.study_page import StudyPage
from nst_jax.jobs.study_plan import StudyPlan, plan_study
from nst_jax.jobs.study_results import write_lane, write_study
from nst_jax.study.result import FinishedLane, RunningLanes
from nst_jax.study.run import run_lanes

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudySummary:
    """How a study ended.

    Args:
        computed: Lanes that were run now, by this process.
        kept: Lanes that had been there already.
        failed: Failed lanes and their reasons, of the whole study; only process 0 knows them all.
    """

    computed: int
    kept: int
    failed: Mapping[str, str]


def run_study_job(
    job: StudyJob,
    processes: Processes,
    on_start: Callable[[int], None],
    show: Callback,
    on_lane: Callable[[str, FinishedLane], None],
) -> StudySummary:
    """Runs what is missing of a study, and writes each lane when it has ended, then the report.

    Where the job asks for it, lanes are measured before the report is written.

    Args:
        job: What to do.
        processes: This process's place among those that share the work and the folder.
        on_start: Called with the number of lanes that this process will run.
        show: Called with the progress of the lanes that run.
        on_lane: Called with each lane's name and result, once it is written.

    Raises:
        ConfigError, ImageError, WeightsError: The user's input is wrong, or the folder holds
            another study, or another command is writing it.
        Stopped: Ctrl-C or SIGTERM came; the lanes that ran are saved as far as they were.
    """
    busy = (
        f"{job.output_dir}: another study is being written there; wait until that has ended, "
        "or choose another --output-dir"
    )
    with contextlib.ExitStack() as held:
        with processes.together():
            if processes.index == 0:  # for all that share the work
                held.enter_context(only_one(StudyFolder(job.output_dir).lock, busy))
            plan = plan_study(job)
            if job.evaluate and processes.index == 0:
                check_measurable(plan)
        deciding_lanes = json.dumps([deciding(plain(lane)) for lane in plan.settings])
        processes.check_same(deciding_lanes, "the lanes")
        if processes.index == 0:
            # once all processes have read what they need, and before any of them writes
            if job.overwrite:
                _forget(plan)
            for old, new in plan.renamed.items():
                coordinates = plan.grid.coordinates[plan.names.index(new)]
                rename_lane(plan.folder, old, new, coordinates)
        missing = processes.as_first_has([not flag for flag in plan.finished])
        kept = missing.count(False)
        if kept:
            _LOG.info(f"{kept} of {len(missing)} lanes are there already")
        own = processes.share([index for index, is_missing in enumerate(missing) if is_missing])
        on_start(len(own))
        with processes.together(), StopSignals() as signals:
            checkpoint = Checkpoint(plan.folder.checkpoint(processes.index))
            if own:
                page = StudyPage(plan, 15.0 if processes.index == 0 else 0.0)
                try:
                    _run(plan, own, checkpoint, signals, show, on_lane, page)
                except SnapshotError as error:
                    raise ConfigError(
                        f"{checkpoint.path}: {error}; remove it, and that of before "
                        f"({checkpoint.previous.name}) if there is one, to begin the lanes anew "
                        "that ran; those that had ended stay"
                    ) from error
            checkpoint.remove()
        failed: Mapping[str, str] = {}
        with processes.together():
            if processes.index == 0:
                try:
                    if job.evaluate:
                        measure_lanes(plan)
                finally:  # with what was measured so far
                    failed = write_study(plan)
        return StudySummary(len(own), kept, failed)


def _forget(plan: StudyPlan) -> None:
    """Removes what would pass for a part of this study, and is to be made anew."""
    records = (plan.folder.record, *map(plan.folder.lane_record, plan.names))
    for path in (*records, *plan.folder.checkpoints()):
        path.unlink(missing_ok=True)


def _run(
    plan: StudyPlan,
    own: Sequence[int],
    checkpoint: Checkpoint,
    signals: StopSignals,
    show: Callback,
    on_lane: Callable[[str, FinishedLane], None],
    page: StudyPage,
) -> None:
    """Runs lanes, and writes each when it has ended.

    Raises:
        Stopped: A signal came.
    """
    saving = _LanesSaving(plan, checkpoint)
    for event in run_lanes(
        plan.inputs.loaded.params,
        plan.contents,
        plan.styles,
        plan.grid,
        own,
        plan.job.lanes_at_once,
        saving.read,
        areas=plan.areas,
    ):
        if isinstance(event, FinishedLane):
            write_lane(plan, event)
            on_lane(plan.names[event.index], event)
            page.update()
            continue
        show(event.chunk.progress)
        saving.save(event, is_last=signals.received is not None)
        if signals.received:
            saved = (
                ""
                if checkpoint.exists
                else ", from the last lanes that were written, for nothing could be saved"
            )
            raise Stopped(f"stopped; the same command goes on{saved}", signals.received)


class _LanesSaving:
    """A checkpoint of the lanes that run, with the settings of each."""

    def __init__(self, plan: StudyPlan, checkpoint: Checkpoint) -> None:
        self._checkpoint, self._plan = checkpoint, plan
        self._savers: dict[tuple[int, ...], Saver] = {}

    def read(self, lanes: Sequence[int], size: int) -> Arrays | None:
        saved = self._checkpoint.read()
        return (
            saved.arrays
            if saved and deciding(saved.settings) == deciding(self._settings(lanes, size))
            else None
        )

    def save(self, running: RunningLanes, is_last: bool) -> None:
        lanes = tuple(running.lanes)
        if lanes not in self._savers:
            settings, every = self._settings(lanes, running.size), self._plan.job.checkpoint_every
            self._savers = {lanes: Saver(self._checkpoint, settings, every)}
        self._savers[lanes].save(running.chunk, is_last)

    def _settings(self, lanes: Sequence[int], size: int) -> dict[str, Any]:
        return {"lanes": [plain(self._plan.settings[index]) for index in lanes], "size": size}
