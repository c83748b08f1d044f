"""The commands of `nst-jax`: parsing and printing only."""

import contextlib
import gc
import io
import itertools
import re
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Union

import jax
import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand

from nst_jax import demo
from nst_jax.compilation_cache import keep_programs
from nst_jax.config import PRESETS, ConfigError, Optimizer, Pooling, Precision, Scaling
from nst_jax.devices import why_no_devices
from nst_jax.images import MAX_PIXELS, ImageError, make_sheet, read_image, write_image
from nst_jax.job import Job, parse_init, run_job
from nst_jax.processes import Processes
from nst_jax.progress import ProgressDisplay, say
from nst_jax.rerun import job_of_record
from nst_jax.stopping import Stopped
from nst_jax.study_commands import CompilationCache, MaxPixels, PresetName, Reconstruct, Study, run_and_report
from nst_jax.weights import WeightsError
from nst_jax.weights_commands import NETWORK_OPTION, WEIGHTS_COMMANDS

_OBJECTS_BETWEEN_COLLECTIONS = 100_000
_DESCRIPTION = "Neural style transfer after Gatys, Ecker and Bethge (CVPR 2016)."


Resume = Annotated[bool, FlagCreatePairsOff, arg(help="Go on with the run of the same command that was cut off, if there is one.")]


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
        _run(Job(self.content, self.style, output, preset, initial, self.seed, self.devices, **how))


_PRESET_FIELDS = (
    *("size", "style_weight", "content_weight", "tv_weight", "optimizer", "learning_rate", "num_steps", "tolerance", "save_every"),
    *("network", "pooling", "scaling", "content_layers", "style_layers", "tile", "precision", "coarse_to_fine"),
)


@dataclass
class Rerun:
    """Make a result again from the .json beside it."""

    record: Positional[Annotated[Path, arg(metavar="FILE")]]
    """The .json beside the result, or a study's study.json; its images and weights must be where they were, or the images beside it."""
    output: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: the first result's name with _rerun)")] = None
    """Result; a folder for a study."""
    resume: Resume = False
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Replace a result that is there already."""
    max_pixels: MaxPixels = MAX_PIXELS
    compilation_cache: CompilationCache = True

    def run(self) -> None:
        if self.compilation_cache:
            keep_programs()
        job = job_of_record(self.record, self.output)
        if isinstance(job, Job):
            _run(replace(job, resume=self.resume, overwrite=self.overwrite, max_pixels=self.max_pixels))
        else:
            run_and_report(replace(job, overwrite=self.overwrite, max_pixels=self.max_pixels), Processes())


@dataclass
class Demo:
    """Paint a photograph that comes with a package, in under three minutes."""

    output: Annotated[Path, arg(metavar="FILE")] = Path("nst_demo.png")
    """Result; content, style and result go side by side to a second file."""
    resume: Resume = False
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Replace a result that is there already."""

    def run(self) -> None:
        keep_programs()
        preset = PRESETS["default"].replace(size=demo.SIZE, num_steps=demo.NUM_STEPS)
        content, style = demo.content_path(), demo.style_path()
        sheet = self.output.with_stem(f"{self.output.stem}_sheet")
        if sheet.exists() and not self.overwrite and not self.resume:
            raise ImageError(f"{sheet}: is there already; pass --overwrite, or choose another --output")
        _run(Job(content, style, self.output, preset, resume=self.resume, overwrite=self.overwrite))
        write_image(sheet, make_sheet([read_image(path) for path in (content, style, self.output)]))
        say(f"wrote {sheet}", sys.stdout)


def _run(job: Job) -> None:
    started = time.perf_counter()
    with ProgressDisplay() as display:
        result = run_job(job, say, display)
    if result is None:
        say(f"{job.output} is there already, finished, of the same settings", sys.stdout)
    else:
        seconds = time.perf_counter() - started
        loss = f"loss {float(result.loss):.4g} at step {int(result.best_step)}, {seconds:.0f} s"
        say(f"wrote {job.output} and {job.record.name} ({loss})", sys.stdout)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Words after the program's name; those of the process if left out.

    Returns:
        The exit status: 0, 2 with one line on standard error for input that is wrong, or 128 and the signal's number when stopped.
    """
    if argv is None:  # the process is this program's own
        # What was imported, and what JAX makes while it traces, lives on; to look through it for garbage again and again takes a tenth of the
        # time to the first step.
        gc.freeze()
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        argv = sys.argv[1:]
    argv = list(argv)
    warnings.showwarning = lambda message, *rest, **more: say(f"note: {message}")
    command: Any = Union[  # noqa: UP007, a type made at run time
        Annotated[Demo, subcommand("demo")],
        Annotated[Stylize, subcommand("stylize", default=Stylize.with_defaults(_preset_in(argv)))],
        Annotated[Rerun, subcommand("rerun")],
        Annotated[Study, subcommand("study")],
        Annotated[Reconstruct, subcommand("reconstruct")],
        Annotated[WEIGHTS_COMMANDS, subcommand("weights", description="List, fetch, convert or normalise the networks' weights.")],
    ]
    try:
        _parse(command, argv).run()
    except (ConfigError, ImageError, WeightsError) as error:
        say(f"nst-jax: error: {error}")
        return 2
    except (MemoryError, RuntimeError, AssertionError) as error:
        if isinstance(error, MemoryError) or (isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)):
            say("nst-jax: error: out of memory; pass a smaller --size")
            return 2
        if (reason := why_no_devices(error)) is None:
            raise
        say(f"nst-jax: error: {reason}")
        return 2
    except OSError as error:  # a folder in a file's place, a name too long, a disk that fails: wherever no better line is to be had
        say(f"nst-jax: error: {error.filename or 'a file'}: {error.strerror or error}; choose another place")
        return 2
    except Stopped as stopped:
        say(f"nst-jax: {stopped}")
        return 128 + stopped.number
    except KeyboardInterrupt:
        say("nst-jax: interrupted")
        return 128 + signal.SIGINT
    return 0


def _parse(command: Any, argv: list[str]) -> Any:
    """The command that the words ask for.

    Raises:
        ConfigError: The words are wrong; the parser draws a box around what it says of it, of which the first part is taken.
    """
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(command, prog="nst-jax", args=argv, description=_DESCRIPTION)
    except SystemExit as ended:
        if not ended.code:  # after --help
            raise
        lines = [line.strip("│ ") for line in box.getvalue().splitlines()[1:]]
        said = " ".join(itertools.takewhile(lambda line: not line.startswith(("───", "Got errors")), lines)).strip()
        helping = re.search(r"nst-jax[a-z ]* --help", " ".join(lines))
        dashed = next((f"; if {word} is a file, give it as ./{word}" for word in argv if _is_dashed_file(word)), "")
        raise ConfigError(f"{said.rstrip('.')}{dashed}; see {helping[0] if helping else 'nst-jax --help'}") from None


def _is_dashed_file(word: str) -> bool:
    """Whether a word that the parser takes for an option is, or looks like, the name of a file."""
    return word.startswith("-") and (Path(word).exists() or Path(word).suffix[1:2].isalpha())


def _preset_in(argv: Sequence[str]) -> PresetName:
    """The preset that the command line names, since it decides the defaults that --help shows; the parser says it if there is no such one."""
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        name = following if word == "--preset" else word.removeprefix("--preset=") if word.startswith("--preset=") else ""
        if name in PRESETS:
            return name  # type: ignore[return-value]
    return "default"
