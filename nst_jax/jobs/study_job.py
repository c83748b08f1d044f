"""A study from files to a folder of results, which a study that was stopped goes on from."""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nst_jax.config import ConfigError
from nst_jax.descent.result import Callback
from nst_jax.descent.snapshot import Arrays
from nst_jax.files.images import ImageError, check_output, write_image
from nst_jax.files.lock import only_one
from nst_jax.host.processes import Processes
from nst_jax.host.stopping import Stopped, StopSignals
from nst_jax.jobs.checkpoint import Checkpoint, Saver
from nst_jax.jobs.inputs import named_images, read_images
from nst_jax.jobs.job import StudyJob
from nst_jax.jobs.record import (
    check_hashes,
    deciding,
    describe_inputs,
    describe_loss,
    describe_machine,
    describe_network,
    describe_result,
    image_metadata,
    write_record,
)
from nst_jax.jobs.study_folder import (
    RECORD,
    check_folder,
    is_finished,
    lane_names,
    lane_settings,
    write_study_record,
)
from nst_jax.objective.default import LossWeights
from nst_jax.report.perceptual import lpips_distance
from nst_jax.report.write import write_report
from nst_jax.study.grid import make_grid
from nst_jax.study.group import Saved
from nst_jax.study.result import FinishedLane, RunningLanes
from nst_jax.study.run import check_study, run_lanes
from nst_jax.weights import load_weights

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
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
                held.enter_context(only_one(job.output_dir / ".study.lock", busy))
            study = _Study(job)
        processes.check_same(
            json.dumps(
                [{name: deciding(value) for name, value in lane.items()} for lane in study.settings]
            ),
            "the lanes",
        )
        if job.overwrite and processes.index == 0:
            # once all processes have read what they need, and before any of them writes
            study.forget()
        missing = processes.as_first_has([not flag for flag in study.finished])
        kept = missing.count(False)
        if kept:
            _LOG.info(f"{kept} of {len(missing)} lanes are there already")
        own = processes.share([index for index, is_missing in enumerate(missing) if is_missing])
        on_start(len(own))
        with processes.together(), StopSignals() as signals:
            checkpoint = Checkpoint(job.output_dir / f".process_{processes.index}.checkpoint")
            saving = _LanesSaving(study, checkpoint)
            for event in study.run(own, saving.read) if own else ():
                if isinstance(event, FinishedLane):
                    study.write_lane(event)
                    on_lane(study.names[event.index], event)
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
            checkpoint.remove()
        with processes.together():
            failed = study.write_report() if processes.index == 0 else {}
        return StudySummary(len(own), kept, failed)


class _LanesSaving:
    """A checkpoint of the lanes that run, with the settings of each."""

    def __init__(self, study: "_Study", checkpoint: Checkpoint) -> None:
        self._checkpoint, self._study = checkpoint, study
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
            settings, every = self._settings(lanes, running.size), self._study.checkpoint_every
            self._savers = {lanes: Saver(self._checkpoint, settings, every)}
        self._savers[lanes].save(running.chunk, is_last)

    def _settings(self, lanes: Sequence[int], size: int) -> dict[str, Any]:
        return {"lanes": [self._study.settings[index] for index in lanes], "size": size}


class _Study:
    """What is read of a study before it runs, and its folder.

    Everything that can be wrong with the user's input is found here, in every process.
    """

    def __init__(self, job: StudyJob) -> None:
        contents, styles = named_images("content", job.contents), named_images("style", job.styles)
        preset = job.preset
        weights = LossWeights(
            content=preset.content_weight,
            style=preset.style_weight,
            total_variation=preset.tv_weight,
        )
        self._job = job
        self.grid = make_grid(
            job.axes, list(contents), list(styles), preset.config, weights, job.zipped
        )
        self.names = lane_names(self.grid)
        self._losses = (
            {"loss": {name: describe_loss(loss) for name, loss in self.grid.losses.items()}}
            if self.grid.losses
            else {}
        )
        self._lanes_dir = job.output_dir / "lanes"
        for name in self.names:
            check_output(self._lanes_dir / f"{name}.png")
        for path in (
            job.output_dir / RECORD,
            *(self._lanes_dir / f"{name}.json" for name in self.names),
        ):
            if path.is_dir():
                raise ConfigError(
                    f"{path}: is a folder, where a record would go; choose another --output-dir"
                )
        check_folder(
            job.output_dir, self.grid, {"content": contents, "style": styles}, job.overwrite
        )
        self._contents, self._styles = read_images(contents, styles, preset, job.max_pixels)
        loaded = load_weights(preset.network)
        _LOG.info(f"network: {loaded.why}")
        self._params = loaded.params
        check_study(self._params, self._contents, self._styles, self.grid, job.lanes_at_once)
        first = next(iter(self._contents.values()))
        self._common = {
            "network": describe_network(loaded),
            "height": first.shape[0],
            "width": first.shape[1],
            **{
                name: value
                for name, value in dataclasses.asdict(preset).items()
                if name in ("size", "rows", "resample", "squash_style")
            },
        }
        self._inputs = {
            kind: describe_inputs(paths)
            for kind, paths in (("content", contents), ("style", styles))
        }
        files = {
            f"{kind} {name}": file
            for kind, images in self._inputs.items()
            for name, file in images.items()
        }
        check_hashes({**files, "network": self._common["network"]}, job.hashes)
        self._machine = describe_machine()
        self.settings = [
            lane_settings(self.grid, index, self._common, self._inputs)
            for index in range(len(self.grid.lanes))
        ]
        named = zip(self.names, self.settings, strict=True)
        self.finished = [
            not job.overwrite and is_finished(self._lanes_dir / name, settings)
            for name, settings in named
        ]

    @property
    def checkpoint_every(self) -> float:
        """Seconds between two checkpoints."""
        return self._job.checkpoint_every

    def forget(self) -> None:
        """Removes what would pass for a part of this study, and is to be made anew."""
        for record in (
            self._job.output_dir / RECORD,
            *(self._lanes_dir / f"{name}.json" for name in self.names),
        ):
            record.unlink(missing_ok=True)
        for checkpoint in self._job.output_dir.glob(".process_*.checkpoint*"):
            checkpoint.unlink(missing_ok=True)

    def run(self, wanted: Sequence[int], saved: Saved) -> Iterator[RunningLanes | FinishedLane]:
        """The wanted lanes under way, and each when it has ended."""
        return run_lanes(
            self._params,
            self._contents,
            self._styles,
            self.grid,
            wanted,
            self._job.lanes_at_once,
            saved,
        )

    def write_lane(self, lane: FinishedLane) -> None:
        """Writes a lane's image, then its record, which says that it is finished."""
        name, result, settings = self.names[lane.index], lane.result, self.settings[lane.index]
        content = self._contents[self.grid.lanes[lane.index].content]
        is_good = bool(np.isfinite(result.loss))
        if is_good:
            write_image(
                self._lanes_dir / f"{name}.png",
                np.asarray(result.image),
                image_metadata(settings | self._machine),
            )
        record = {
            "output": f"{name}.png",
            "coordinates": dict(self.grid.coordinates[lane.index]),
            "lane": self.grid.lanes[lane.index].settings(),
            "status": "failed"
            if result.failure
            else "converged"
            if result.converged
            else "finished",
            "reason": str(result.failure) or None,
            "num_steps": int(result.num_steps),
            "seconds": lane.seconds,
            "lpips": lpips_distance(content, np.asarray(result.image)) if is_good else None,
            **describe_result(result),
            "settings": settings,
            **self._machine,
        }
        write_record(self._lanes_dir / f"{name}.json", record)

    def write_report(self) -> dict[str, str]:
        """Writes what compares the lanes, once all are there, and returns the reasons of those that
        failed."""
        folder, names = self._job.output_dir, self.names
        absent = [name for name in names if not (self._lanes_dir / f"{name}.json").is_file()]
        if absent:
            raise ConfigError(
                f"{self._lanes_dir}: {absent[0]} is not there; do all processes share "
                "this folder? Give the command again"
            )
        # of a process that was killed
        for leftover in (*folder.glob(".*.partial"), *self._lanes_dir.glob(".*.partial")):
            leftover.unlink(missing_ok=True)
        records = {
            name: json.loads((self._lanes_dir / f"{name}.json").read_text()) for name in names
        }
        varied = ("content", "style", *self.grid.axes)
        common = {
            name: value
            for name, value in self.grid.lanes[0].settings().items()
            if name not in varied
        }
        settings = self._common | common | {"inputs": self._inputs, **self._machine}
        again = {
            "preset": dataclasses.asdict(self._job.preset),
            "axes": {**self._job.axes, **self._losses},
            "zipped": self._job.zipped,
        }
        write_study_record(
            folder, self._job.title, self.grid, self._contents, self._styles, settings, again
        )
        try:
            write_report(folder)
        except OSError as error:
            reason = error.strerror or error
            raise ImageError(
                f"{folder}: the report cannot be written ({reason}); make room and give "
                "the command again"
            ) from error
        return {
            name: record["reason"]
            for name, record in records.items()
            if record["status"] == "failed"
        }
