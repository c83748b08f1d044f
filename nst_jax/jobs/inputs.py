"""What a job is made of: its images and its network.

They are read, described, and compared with the record of a job that is made again.
"""

import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nst_jax.checks import ConfigError
from nst_jax.files.images import LEAST_SIDE, PixelArray, read_image
from nst_jax.files.masks import read_alpha
from nst_jax.files.metadata import read_origin
from nst_jax.jobs.areas import read_areas
from nst_jax.jobs.describe import describe_files, describe_network
from nst_jax.jobs.presets import Preset
from nst_jax.jobs.record import File, Network
from nst_jax.jobs.study_folder import file_name
from nst_jax.jobs.style_sizes import style_sides
from nst_jax.objective.regions import Region
from nst_jax.weights import LoadedWeights, load_weights

_LOG = logging.getLogger(__name__)


class Sources(NamedTuple):
    """Where the images of a job are.

    Args:
        content: Content images by name; those of a study come to one size.
        style: Style images by name.
        initial: The image to start from.
        masks: For each style, where in the picture it is; none where it is everywhere.
        region_maps: The map of the content's regions, then one for each style.
        keep: A mask of what stays the content's.
        fine: The style image whose fine detail the style takes on.
    """

    content: Mapping[str, Path]
    style: Mapping[str, Path]
    initial: Path | None = None
    masks: Sequence[Path] = ()
    region_maps: Sequence[Path] = ()
    keep: Path | None = None
    fine: Path | None = None

    def labelled(self) -> dict[str, Path]:
        """All of them by kind and name, as messages and `hashes` call them."""
        found = {
            label_of(kind, name): path
            for kind, paths in (("content", self.content), ("style", self.style))
            for name, path in paths.items()
        }
        for kind, paths in (("mask", self.masks), ("region map", self.region_maps)):
            found |= {label_of(kind, str(place)): path for place, path in enumerate(paths, 1)}
        single = {"keep": self.keep, "fine": self.fine, "initial": self.initial}
        return found | {label: path for label, path in single.items() if path}


def describe_areas(sources: Sources, files: Mapping[str, File]) -> dict[str, Any]:
    """What the inputs of a record say of areas, as far as there are any.

    Args:
        sources: Where the images are.
        files: All files by label.
    """
    several = {"mask": ("mask", sources.masks), "region_maps": ("region map", sources.region_maps)}
    found: dict[str, Any] = {
        name: tuple(files[label_of(kind, str(place))] for place in range(1, len(paths) + 1))
        for name, (kind, paths) in several.items()
        if paths
    }
    return found | ({"keep": files["keep"]} if sources.keep else {})


def label_of(kind: str, name: str) -> str:
    """What an image is called among all those of a job."""
    return f"{kind} {name}"


class Inputs(NamedTuple):
    """What a job is made of, read.

    Args:
        sources: Where it was read from.
        contents: Content images by name; none of a texture.
        styles: Style images by name.
        shape: Height and width of the results.
        initial: The image to start from.
        regions: Where the styles are; none where they are everywhere.
        keep: How much of each pixel stays the content's.
        alpha: How opaque the results are; None where all of them is.
        origins: By content image whose it is, as `read_origin` says it.
        loaded: The network's parameters.
        files: The files of the images, by label.
        network: The network as a record says it.
    """

    sources: Sources
    contents: Mapping[str, PixelArray]
    styles: Mapping[str, PixelArray]
    shape: tuple[int, int]
    initial: PixelArray | None
    regions: Sequence[Region]
    keep: np.ndarray | None
    alpha: np.ndarray | None
    origins: Mapping[str, Mapping[str, str]]
    loaded: LoadedWeights
    files: Mapping[str, File]
    network: Network

    @property
    def origin(self) -> Mapping[str, str]:
        """Whose the content of a run is."""
        return next(iter(self.origins.values()), {})


def read_inputs(
    sources: Sources,
    preset: Preset,
    max_pixels: int,
    hashes: Mapping[str, str],
    shape: tuple[int, int] | None = None,
    loaded: LoadedWeights | None = None,
) -> Inputs:
    """Reads the images and the network of a job.

    Args:
        sources: Where the images are.
        preset: Says how they are read, and the network.
        max_pixels: An image of more is refused.
        hashes: SHA-256 that images, by label, and the `network` must have.
        shape: Height and width of a texture; with content images, the result has theirs.
        loaded: The network, if it was read already.

    Raises:
        ImageError: An image cannot be read.
        WeightsError: The network cannot be had.
        ConfigError: A file is not the one that `hashes` asks for.
    """
    contents, styles, shape, initial = _read_images(sources, preset, max_pixels, shape)
    style_shapes = [style.shape[:2] for style in styles.values()]
    own = sources.masks, sources.region_maps, sources.keep
    areas = read_areas(*own, shape, style_shapes, max_pixels)
    alpha = None
    if preset.keep_alpha:
        if not sources.content:
            raise ConfigError("a texture has no photograph whose transparency it could keep")
        (content, *_) = sources.content.values()
        alpha = read_alpha(content, shape, max_pixels=max_pixels)
    if loaded is None:
        loaded = load_weights(preset.network)
        _LOG.info(f"network: {loaded.why}")
    files, network = describe_files(sources.labelled()), describe_network(loaded)
    _check_hashes({**files, "network": network}, hashes)
    origins = {name: read_origin(path) for name, path in sources.content.items()}
    pictures = contents, styles, shape, initial
    return Inputs(sources, *pictures, *areas, alpha, origins, loaded, files, network)


def _read_images(
    sources: Sources, preset: Preset, max_pixels: int, shape: tuple[int, int] | None
) -> tuple[dict[str, PixelArray], dict[str, PixelArray], tuple[int, int], PixelArray | None]:
    read = partial(read_image, resample=preset.resample, max_pixels=max_pixels)
    sized = partial(read, size=preset.size, rows=preset.rows)
    if sources.fine:  # a run of its own reads it; what is wrong with it is said now
        sized(sources.fine)
    contents = {name: sized(path) for name, path in sources.content.items()}
    if shape and min(shape) < LEAST_SIDE:
        raise ConfigError(
            f"a texture of {shape[1]} × {shape[0]} is too small; each side must be "
            f"at least {LEAST_SIDE} pixels"
        )
    if shape and shape[0] * shape[1] > max_pixels:
        raise ConfigError(
            f"a texture of {shape[1]} × {shape[0]} has more than {max_pixels:,} pixels; take a "
            "smaller size"
        )
    if shape is None:
        height, width, _ = next(iter(contents.values())).shape
        shape = height, width
    styles = read_styles(sources.style, preset, max_pixels, shape)
    initial = read(sources.initial, shape=shape) if sources.initial else None
    return contents, styles, shape, initial


def read_styles(
    paths: Mapping[str, Path], preset: Preset, max_pixels: int, shape: tuple[int, int]
) -> dict[str, PixelArray]:
    """Reads style images.

    Args:
        paths: Where they are, by name.
        preset: Says how, and at which size.
        max_pixels: An image of more is refused.
        shape: Height and width of the results.

    Raises:
        ImageError: One cannot be read.
        ConfigError: They cannot have such sizes.
    """
    read = partial(read_image, resample=preset.resample, max_pixels=max_pixels)
    if preset.style_size:
        sides = style_sides(preset, paths, max_pixels)
        styles = {name: read(path, size=sides[name].wanted) for name, path in paths.items()}
        for name, side in sides.items():
            if side.wanted > side.own:
                _LOG.warning(
                    f"{paths[name]}: has {side.own} pixels on its longest side, and is enlarged to "
                    f"{side.wanted}"
                )
        return styles
    if preset.squash_style:
        return {name: read(path, shape=shape) for name, path in paths.items()}
    sized = partial(read, size=preset.size, rows=preset.rows)
    return {name: sized(path) for name, path in paths.items()}


def _check_hashes(found: Mapping[str, File | Network], wanted: Mapping[str, str]) -> None:
    for label, sha256 in wanted.items():
        if found[label].sha256 != sha256:
            raise ConfigError(
                f"{found[label].path}: is not the {label} that the record is of, whose "
                f"SHA-256 is {sha256}; put that file there"
            )


def styles_by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """The style images of a run by the stems of their names, with a number where that is taken."""
    named: dict[str, Path] = {}
    for place, path in enumerate(paths, 1):
        numbered = (f"{path.stem} {number}" for number in itertools.count(place))
        names = itertools.chain([path.stem], numbered)
        named[next(name for name in names if name not in named)] = path
    return named


def named_images(kind: str, paths: Sequence[Path]) -> dict[str, Path]:
    """Images by the stems of their names.

    Raises:
        ConfigError: Two have the same, or one cannot be printed.
    """
    named: dict[str, Path] = {}
    for path in paths:
        if not path.stem.isprintable():  # a report that names it could not be written
            raise ConfigError(
                f"{os.fsencode(path)!r}: the name holds what cannot be printed; rename the image"
            )
        for stem, other in named.items():
            if file_name(stem).casefold() == file_name(path.stem).casefold():  # so on some disks
                raise ConfigError(
                    f"{other} and {path}: two {kind} images have the same name; rename one"
                )
        named[path.stem] = path
    return named
