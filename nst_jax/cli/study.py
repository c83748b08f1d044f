"""The commands that make many pictures: `nst-jax study` and `nst-jax reconstruct`.

Parsing and printing only.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from nst_jax.checks import ConfigError
from nst_jax.cli.config_file import ConfigFile, PrintConfig, print_config
from nst_jax.cli.durations import duration
from nst_jax.cli.events import outcome
from nst_jax.cli.live import live_page
from nst_jax.cli.options import (
    NETWORK_OPTION,
    Axes,
    CompilationCache,
    Follow,
    MaxPixels,
    MemoryLimit,
    PresetName,
    Side,
    axes_of,
)
from nst_jax.cli.progress import StudyDisplay
from nst_jax.cli.stylize import Areas
from nst_jax.files.folders import images_in
from nst_jax.files.images import MAX_PIXELS
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.host.processes import Processes, join_processes
from nst_jax.jobs.grid_file import read_grid_file
from nst_jax.jobs.job import StudyJob
from nst_jax.jobs.presets import PRESETS
from nst_jax.jobs.study_job import run_study_job


@dataclass
class Study(Follow):
    """Paint a grid of settings, compiled once, and write a report that compares them.

    The options of axes take one value or several. Several make an axis: every value is combined
    with every other, unless --zip takes them in step. A study that was stopped goes on when the
    same command is given again."""

    content: Annotated[Path | None, Positional, arg(metavar="CONTENT", help_behavior_hint="")] = (
        None
    )
    """The photograph, or a folder of such that come to one size."""
    style: Annotated[Path | None, Positional, arg(metavar="STYLE", help_behavior_hint="")] = None
    """The painting, or a folder of such."""
    others: Positional[
        Annotated[tuple[Path, ...], arg(metavar="[STYLE ...]", help_behavior_hint="")]
    ] = ()
    """More styles: each paints pictures of its own, unless --style-mix, --mask or --regions is."""
    output_dir: Annotated[Path, arg(metavar="DIR")] = Path("study")
    """Folder of the results: index.html, lanes.csv, sheets, and an image and a record a lane."""
    grid: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """TOML or JSON file that says what varies; options given beside it win."""
    axes: Axes = field(default_factory=Axes)
    """What varies, if several values are given."""
    areas: Areas = field(default_factory=Areas)
    """Where in all pictures styles go, and what is kept; of one photograph."""
    keep_alpha: Annotated[bool, FlagCreatePairsOff] = False
    """Leave transparent what is transparent in the content image."""
    zip: FlagCreatePairsOff[bool] = False
    """Take the values of the axes in step."""
    preset: PresetName = "default"
    """What is not given."""
    size: Annotated[
        Side, arg(metavar="PIXELS|original", help_behavior_hint="(default: the preset's)")
    ] = None
    """Longest side of the results; original is the photograph's."""
    network: Annotated[str | None, NETWORK_OPTION] = None
    """Network, or a file with its weights."""
    lanes: Annotated[
        int | None,
        arg(
            metavar="NUMBER",
            help_behavior_hint="(default: what the memory holds; on a CPU one a device)",
        ),
    ] = None
    """Lanes that run at once, rounded up to a multiple of the devices."""
    max_pixels: MaxPixels = MAX_PIXELS
    checkpoint_every: Annotated[float, arg(metavar="SECONDS")] = 60.0
    """Save the lanes that run so often, to go on within them; 0: only at Ctrl-C or SIGTERM."""
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Run all lanes anew, and replace what is in the folder."""
    evaluate: Annotated[bool, FlagCreatePairsOff] = False
    """Also measure each lane against its content and its style, as nst-jax evaluate does."""
    memory_limit: MemoryLimit = None
    compilation_cache: CompilationCache = True
    config: ConfigFile = None
    print_config: PrintConfig = False
    distributed: bool = False
    """Share the lanes with the other processes of a TPU pod, Slurm or Open MPI job."""
    coordinator: Annotated[str | None, arg(metavar="HOST:PORT", help_behavior_hint="")] = None
    """Where process 0 is, if that is not found out by itself."""
    num_processes: Annotated[int | None, arg(metavar="NUMBER", help_behavior_hint="")] = None
    """How many processes there are, likewise."""
    process_id: Annotated[int | None, arg(metavar="NUMBER", help_behavior_hint="")] = None
    """Which of them this is, from 0, likewise."""

    def run(self) -> int:
        if self.print_config:
            print_config(self)
            return 0
        if self.compilation_cache:
            keep_programs()
        processes = Processes()
        where = (self.coordinator, self.num_processes, self.process_id)
        if self.distributed or any(value is not None for value in where):
            processes = join_processes(*where)
        with processes.together():
            job = self._job()
        return run_and_report(job, processes, self.show)

    def _job(self) -> StudyJob:
        contents = images_in(self.content) if self.content else ()
        given = (self.style, *self.others) if self.style else ()
        styles = tuple(image for path in given for image in images_in(path))
        axes: dict[str, Any] = {}
        zipped = self.zip
        if self.grid:
            given = read_grid_file(self.grid)
            contents = contents or tuple(
                image for path in given.contents for image in images_in(path)
            )
            styles = styles or tuple(image for path in given.styles for image in images_in(path))
            axes, zipped = dict(given.axes), zipped or given.zipped
        if not contents or not styles:
            missing = "content" if not contents else "style"
            raise ConfigError(
                f"there is no {missing} image; give CONTENT and STYLE, or name them in "
                "the file of --grid"
            )
        axes |= axes_of(self.axes)
        preset = PRESETS[self.preset]
        own: dict[str, Any] = {"keep_alpha": self.keep_alpha}
        if self.size is not None:
            own |= {"size": None if self.size == "original" else self.size, "rows": None}
        preset = preset.replace(network=self.network or preset.network, **own)
        how: dict[str, Any] = {
            "max_pixels": self.max_pixels,
            "checkpoint_every": self.checkpoint_every,
            "overwrite": self.overwrite,
            "evaluate": self.evaluate,
        }
        return StudyJob(
            contents,
            styles,
            self.output_dir,
            preset,
            axes,
            masks=self.areas.mask,
            region_maps=self.areas.regions,
            keep=self.areas.keep,
            zipped=zipped,
            lanes_at_once=self.lanes,
            **how,
        )


def run_and_report(job: StudyJob, processes: Processes, show: bool) -> int:
    """Runs a study, shows how it comes along, and prints how it ended; 1 if a lane failed."""
    started = time.perf_counter()
    shows = show and processes.index == 0
    with live_page(job.output_dir.name, shows) as page, StudyDisplay(page) as display:
        summary = run_study_job(job, processes, display.start, display, display.finish)
    if processes.index == 0:
        lanes = f"{summary.computed} lane{'s' * (summary.computed != 1)}"
        were = "was" if summary.kept == 1 else "were"
        there = f", {summary.kept} {were} there" if summary.kept else ""
        failed = f", {len(summary.failed)} FAILED" if summary.failed else ""
        seconds = time.perf_counter() - started
        outcome(
            f"wrote {job.output_dir / 'index.html'} ({lanes} run here{there}{failed}, "
            f"{duration(seconds)})",
            output=str(job.output_dir),
            computed=summary.computed,
            kept=summary.kept,
            failed=dict(summary.failed),
            seconds=seconds,
            status=1 if summary.failed else 0,
        )
    return 1 if summary.failed else 0
