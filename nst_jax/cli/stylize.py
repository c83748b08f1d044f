"""`nst-jax stylize`: one picture."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from nst_jax.checks import ConfigError
from nst_jax.cli.config_file import ConfigFile, PrintConfig, print_config
from nst_jax.cli.durations import duration
from nst_jax.cli.events import event, outcome
from nst_jax.cli.lines import say, tell
from nst_jax.cli.live import live_page
from nst_jax.cli.options import (
    CompilationCache,
    Descent,
    Files,
    Follow,
    Loss,
    MaxPixels,
    MemoryLimit,
    Picture,
    PresetName,
    Resume,
    Styles,
    as_preset,
    of_preset,
)
from nst_jax.cli.progress import ProgressDisplay
from nst_jax.descent.result import Callback
from nst_jax.files.folders import images_in
from nst_jax.files.images import MAX_PIXELS, read_image
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.jobs.job import Job
from nst_jax.jobs.many_jobs import Place, jobs_of_folder, run_jobs
from nst_jax.jobs.outputs import why_early
from nst_jax.jobs.presets import PRESETS, Preset
from nst_jax.jobs.run_plan import RunPlan
from nst_jax.jobs.stylize_job import run_job

_LOG = logging.getLogger(__name__)


@dataclass
class Areas:
    """Where in the picture what goes."""

    mask: Annotated[
        tuple[Path, ...], arg(metavar="FILE ...", help_behavior_hint="(default: everywhere)")
    ] = ()
    """For each style an image that is white, or opaque, where it goes; soft edges blend."""
    regions: Annotated[
        tuple[Path, ...], arg(metavar="CONTENT_MAP STYLE_MAP ...", help_behavior_hint="")
    ] = ()
    """Images of flat colours: where they are the same, the photograph takes from the style."""
    keep: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Image that is white, or opaque, where the photograph stays as it is; soft edges blend."""


@dataclass
class Stylize(Follow):
    """Paint a photograph in the style of a painting."""

    content: Positional[Annotated[Path, arg(metavar="CONTENT")]]
    """The photograph, whose content is kept, or a folder of such, of any sizes."""
    style: Positional[Annotated[Path, arg(metavar="STYLE")]]
    """The painting, whose style is taken, or a folder of such, which are blended."""
    output: Annotated[
        Path | None,
        arg(aliases=["-o"], metavar="FILE", help_behavior_hint="(default: CONTENT_STYLE.png)"),
    ]
    """Result, .png .jpg .webp or .tif; settings and loss history go to a .json beside it."""
    output_dir: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")]
    """Folder of the results, needed where CONTENT is one; what is there already is skipped."""
    preset: PresetName
    """Settings that belong together; --help after it shows them. notebook: the Keras notebook's."""
    picture: Picture
    """How large it is, what it starts from, what lies beyond it."""
    loss: Loss
    """What the picture is to be like, and how much each part of that counts."""
    styles: Styles
    """How styles are taken."""
    descent: Descent
    """How the picture is found, and by which network."""
    files: Files
    """How the result is written."""
    areas: Areas
    """Where in the picture styles go, and what is kept."""
    others: Positional[
        Annotated[tuple[Path, ...], arg(metavar="[STYLE ...]", help_behavior_hint="")]
    ] = ()
    """More styles, which are blended with the first, or go each where --mask says."""
    fine_style: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Another style whose fine detail the style takes on first, in half the steps more."""
    initial: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Image to start from, instead of what --init says."""
    seed: int = 0
    """Seed of the noise of --init noise."""
    devices: int = 1
    """Devices that share the image, each some of its rows, where one has too little memory."""
    max_pixels: MaxPixels = MAX_PIXELS
    checkpoint_every: Annotated[float, arg(metavar="SECONDS")] = 60.0
    """Save all that it takes to go on so often; 0: only at Ctrl-C or SIGTERM."""
    resume: Resume = False
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Replace a result that is there already, and remove its images of --save-every."""
    memory_limit: MemoryLimit = None
    compilation_cache: CompilationCache = True
    config: ConfigFile = None
    print_config: PrintConfig = False

    @classmethod
    def with_defaults(cls, name: PresetName) -> "Stylize":
        groups = {
            "picture": Picture,
            "loss": Loss,
            "styles": Styles,
            "descent": Descent,
            "files": Files,
        }
        own = {field: of_preset(group, PRESETS[name]) for field, group in groups.items()}
        return cls(
            tyro.MISSING,
            tyro.MISSING,
            output=None,
            output_dir=None,
            preset=name,
            areas=Areas(),
            **own,
        )

    def run(self) -> int:
        if self.print_config:
            settings = self._settings()
            side = settings.size or (None if settings.rows else "original")
            picture = replace(self.picture, size=side, rows=settings.rows)
            print_config(replace(self, picture=picture))
            return 0
        if self.compilation_cache:
            keep_programs()
        given = self.style, *self.others
        self._styles = tuple(image for path in given for image in images_in(path))
        name = "_".join(path.resolve().stem if os.path.isdir(path) else path.stem for path in given)
        if self.output and self.output_dir:
            raise ConfigError("--output and --output-dir are both given; leave one of the two out")
        if os.path.isdir(self.content):
            return self._run_folder(name)
        is_sorted = self.styles.style_mix or self.areas.mask or self.areas.regions
        if self.output_dir and self.others and not is_sorted:  # as a shell names photos/*
            _LOG.warning(
                f"one picture of {self.content}, by {len(self._styles)} styles blended; to paint "
                "several photographs, name their folder"
            )
        output = self.output or (self.output_dir or Path()) / f"{self.content.stem}_{name}.png"
        return run_and_say(self._job(self.content, output), self.show)

    def _settings(self) -> Preset:
        groups = self.picture, self.loss, self.styles, self.descent, self.files
        return as_preset(groups, PRESETS[self.preset])

    def _job(self, content: Path, output: Path) -> Job:
        """What to make of a photograph."""
        return Job(
            content,
            self._styles,
            output,
            self._settings(),
            initial=self.initial,
            masks=self.areas.mask,
            region_maps=self.areas.regions,
            keep=self.areas.keep,
            fine=self.fine_style,
            seed=self.seed,
            num_devices=self.devices,
            resume=self.resume,
            overwrite=self.overwrite,
            checkpoint_every=self.checkpoint_every,
            max_pixels=self.max_pixels,
        )

    def _run_folder(self, name: str) -> int:
        """Paints all photographs of a folder; the status is 1 if one failed.

        Raises:
            ConfigError, ImageError: None can be painted so.
        """
        folder = self.output_dir
        if folder is None:
            raise ConfigError(
                f"{self.content}: is a folder; give --output-dir, the folder of the results"
            )
        if folder.resolve() == self.content.resolve():
            raise ConfigError(
                f"{folder}: is the folder of the photographs, which the results would be the next "
                "time; choose another --output-dir"
            )
        of_one = {f"--{field}": value for field, value in vars(self.areas).items()}
        of_one |= {"--initial": self.initial, "--fine-style": self.fine_style}
        for option, value in of_one.items():
            if value:
                raise ConfigError(
                    f"{option} is of one photograph, but {self.content} is a folder; leave it out, "
                    "or name a photograph"
                )
        for style in self._styles:
            read_image(style, max_pixels=self.max_pixels)  # once, instead of in each run
        jobs = jobs_of_folder(images_in(self.content), folder, f"_{name}.png", self._job)
        return run_all_and_say(jobs, folder, self.show)


def run_and_say(job: Job, show: bool = False) -> int:
    """Runs a job, shows how it comes along, and prints how it ended; the status is 1 if early."""
    started = time.perf_counter()
    with live_page(job.output.name, show) as page, ProgressDisplay(page) as display:
        result = run_job(job, display, display.start)
    if result is None:
        reason = why_early(job)
        outcome(
            f"{job.output} is there already, finished, of the same settings"
            + (f", but it failed: {reason}" if reason else ""),
            output=str(job.output),
            record=str(job.record),
            reason=reason,
            status=1 if reason else 0,
        )
        return 1 if reason else 0
    seconds = time.perf_counter() - started
    loss = f"loss {float(result.loss):.4g} at step {int(result.best_step)}, {duration(seconds)}"
    status = 1 if result.failure else 0
    outcome(
        f"wrote {job.output} and {job.record.name} ({loss})",
        output=str(job.output),
        record=str(job.record),
        loss=float(result.loss),
        best_step=int(result.best_step),
        seconds=seconds,
        reason=str(result.failure) or None,
        status=status,
    )
    return status


def run_all_and_say(jobs: Sequence[Job], folder: Path, show: bool) -> int:
    """`run_and_say` of many photographs; those that failed are listed at the end."""
    started = time.perf_counter()
    with live_page(folder.name, show) as page, contextlib.ExitStack() as displays:

        def on_job(place: Place) -> tuple[Callback, Callable[[RunPlan], None]]:
            displays.close()
            left = place.seconds_left
            event(
                "photograph",
                name=str(place.job.content),
                number=place.number,
                count=place.count,
                seconds_left=left,
            )
            tell(
                f"{place.number}/{place.count}  {place.job.content}"
                + (f", {duration(left)} left" if left is not None else "")
            )
            if page is not None:
                page.begin("reading …", f"{place.number}/{place.count}  {place.job.output.name}")
            display = displays.enter_context(ProgressDisplay(page))
            return display, display.start

        summary = run_jobs(jobs, on_job)
    for photograph, reason in summary.failed.items():
        say(f"FAILED {photograph}: {reason}")
    painted = f"{summary.computed} picture{'s' * (summary.computed != 1)}"
    there = (
        f", {summary.kept} {'was' if summary.kept == 1 else 'were'} there" if summary.kept else ""
    )
    failed = f", {len(summary.failed)} FAILED" if summary.failed else ""
    seconds, status = time.perf_counter() - started, 1 if summary.failed else 0
    outcome(
        f"wrote {painted} to {folder}{there}{failed} ({duration(seconds)})",
        output=str(folder),
        computed=summary.computed,
        kept=summary.kept,
        failed={str(path): reason for path, reason in summary.failed.items()},
        seconds=seconds,
        status=status,
    )
    return status
