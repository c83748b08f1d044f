"""`nst-jax stylize`: one picture."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from nst_jax.cli.options import NETWORK_OPTION, CompilationCache, MaxPixels, PresetName, Resume
from nst_jax.cli.progress import ProgressDisplay, say
from nst_jax.config import Init, Optimizer, Pooling, Precision, Scaling
from nst_jax.files.images import MAX_PIXELS
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.jobs.job import Job
from nst_jax.jobs.presets import PRESETS
from nst_jax.jobs.stylize_job import run_job


@dataclass
class Stylize:
    """Paint a photograph in the style of a painting."""

    content: Positional[Annotated[Path, arg(metavar="CONTENT")]]
    """The photograph, whose content is kept."""
    style: Positional[Annotated[Path, arg(metavar="STYLE")]]
    """The painting, whose style is taken."""
    output: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: CONTENT_STYLE.png)")]
    """Result; the ending (.png .jpg .webp .tif) decides the format. The settings and the loss history go to a .json beside it."""
    preset: PresetName
    """Settings that belong together; --help after it shows its values. paper: the publication's; notebook: the Keras notebook's."""
    size: Annotated[int | None, arg(metavar="PIXELS")]
    """Longest side of the result."""
    style_weight: float
    """What the style counts."""
    content_weight: float
    """What the content counts; only the ratio of the two matters."""
    tv_weight: float
    """What smoothness (total variation) counts."""
    init: Annotated[str, arg(metavar="content|style|noise|FILE")]
    """Image that the descent starts from."""
    optimizer: Optimizer
    """Method of descent."""
    learning_rate: float
    """Step of adam and sgd, where 1 is from black to white."""
    num_steps: int
    """Evaluations of the network."""
    tolerance: float
    """Stop once the loss falls by less than this fraction in 10 steps; 0: never."""
    seed: int
    """Seed of the noise of --init noise."""
    save_every: Annotated[int, arg(metavar="STEPS")]
    """Also write OUTPUT_at_iteration_<n>.png every so many steps; 0: never."""
    network: Annotated[str | None, NETWORK_OPTION]
    """Network, or a file with its weights in any known format."""
    pooling: Pooling
    """How the network pools."""
    scaling: Scaling
    """What distances are measured in; relative suits all sizes."""
    content_layers: Annotated[tuple[str, ...], arg(metavar="LAYER …")]
    """Layers whose features keep the content."""
    style_layers: Annotated[tuple[str, ...], arg(metavar="LAYER …")]
    """Layers whose Gram matrices carry the style."""
    precision: Precision
    """How a GPU or TPU convolves; bfloat16 is the fastest."""
    coarse_to_fine: bool
    """Descend at half the size first, from 384 pixels up; from noise, at several sizes."""
    tile: Annotated[int, arg(metavar="PIXELS")] = 0
    """Evaluate in tiles of that side, to save memory; 0: only where the memory would not do."""
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
        preset = PRESETS[name]
        config = preset.config
        return cls(
            content=tyro.MISSING,
            style=tyro.MISSING,
            output=None,
            preset=name,
            size=preset.size,
            style_weight=preset.style_weight,
            content_weight=preset.content_weight,
            tv_weight=preset.tv_weight,
            init=config.init,
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            num_steps=config.num_steps,
            tolerance=config.tolerance,
            seed=0,
            save_every=preset.save_every,
            network=preset.network,
            pooling=config.pooling,
            scaling=config.scaling,
            content_layers=config.content_layers,
            style_layers=config.style_layers,
            precision=config.precision,
            coarse_to_fine=config.coarse_to_fine,
        )

    def run(self) -> None:
        if self.compilation_cache:
            keep_programs()
        init, initial = parse_init(self.init)
        preset = PRESETS[self.preset]
        preset = preset.replace(
            init=init or preset.config.init,
            rows=None if self.size is not None else preset.rows,
            **{name: getattr(self, name) for name in _PRESET_FIELDS},
        )
        output = self.output or Path(f"{self.content.stem}_{self.style.stem}.png")
        how = {name: getattr(self, name) for name in ("resume", "overwrite", "checkpoint_every", "max_pixels")}
        run_and_say(Job(self.content, self.style, output, preset, initial, self.seed, self.devices, **how))


_PRESET_FIELDS = (
    *("size", "style_weight", "content_weight", "tv_weight", "optimizer", "learning_rate", "num_steps", "tolerance", "save_every"),
    *("network", "pooling", "scaling", "content_layers", "style_layers", "tile", "precision", "coarse_to_fine"),
)


def run_and_say(job: Job) -> None:
    started = time.perf_counter()
    with ProgressDisplay() as display:
        result = run_job(job, say, display)
    if result is None:
        say(f"{job.output} is there already, finished, of the same settings", sys.stdout)
    else:
        seconds = time.perf_counter() - started
        loss = f"loss {float(result.loss):.4g} at step {int(result.best_step)}, {seconds:.0f} s"
        say(f"wrote {job.output} and {job.record.name} ({loss})", sys.stdout)


def parse_init(text: str) -> tuple[Init | None, Path | None]:
    """What `--init` means: one of the kinds, or the path of an image to start from."""
    for kind in get_args(Init):
        if text == kind:
            return kind, None
    return None, Path(text)
