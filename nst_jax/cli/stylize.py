"""`nst-jax stylize`: one picture."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from nst_jax.cli.options import (
    CompilationCache,
    Descent,
    Loss,
    MaxPixels,
    Picture,
    PresetName,
    Resume,
    Styles,
    Talk,
    as_preset,
    of_preset,
)
from nst_jax.cli.progress import ProgressDisplay, say
from nst_jax.files.images import MAX_PIXELS
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.jobs.job import Job
from nst_jax.jobs.presets import PRESETS
from nst_jax.jobs.stylize_job import run_job


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
class Stylize(Talk):
    """Paint a photograph in the style of a painting."""

    content: Positional[Annotated[Path, arg(metavar="CONTENT")]]
    """The photograph, whose content is kept."""
    style: Positional[Annotated[Path, arg(metavar="STYLE")]]
    """The painting, whose style is taken."""
    output: Annotated[
        Path | None,
        arg(aliases=["-o"], metavar="FILE", help_behavior_hint="(default: CONTENT_STYLE.png)"),
    ]
    """Result, .png .jpg .webp or .tif; settings and loss history go to a .json beside it."""
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
    """Replace a result that is there already."""
    compilation_cache: CompilationCache = True

    @classmethod
    def with_defaults(cls, name: PresetName) -> "Stylize":
        groups = {"picture": Picture, "loss": Loss, "styles": Styles, "descent": Descent}
        own = {field: of_preset(group, name) for field, group in groups.items()}
        return cls(tyro.MISSING, tyro.MISSING, output=None, preset=name, areas=Areas(), **own)

    def run(self) -> None:
        if self.compilation_cache:
            keep_programs()
        styles = self.style, *self.others
        stems = [path.stem for path in (self.content, *styles)]
        output = self.output or Path(f"{'_'.join(stems)}.png")
        how = {
            name: getattr(self, name)
            for name in ("resume", "overwrite", "checkpoint_every", "max_pixels")
        }
        groups = self.picture, self.loss, self.styles, self.descent
        settings = as_preset(groups, PRESETS[self.preset])
        run_and_say(
            Job(
                self.content,
                styles,
                output,
                settings,
                initial=self.initial,
                masks=self.areas.mask,
                region_maps=self.areas.regions,
                keep=self.areas.keep,
                fine=self.fine_style,
                seed=self.seed,
                num_devices=self.devices,
                **how,
            )
        )


def run_and_say(job: Job) -> None:
    started = time.perf_counter()
    with ProgressDisplay() as display:
        result = run_job(job, display)
    if result is None:
        say(f"{job.output} is there already, finished, of the same settings", sys.stdout)
    else:
        seconds = time.perf_counter() - started
        loss = f"loss {float(result.loss):.4g} at step {int(result.best_step)}, {seconds:.0f} s"
        say(f"wrote {job.output} and {job.record.name} ({loss})", sys.stdout)
