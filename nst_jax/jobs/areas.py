"""Where in the picture a job's styles are, and what stays the content's, from files."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nst_jax.checks import ConfigError
from nst_jax.descent.areas import Areas
from nst_jax.files.masks import read_mask
from nst_jax.files.region_maps import MappedRegion, read_regions
from nst_jax.objective.regions import Region

_LOG = logging.getLogger(__name__)

_SOFTNESS = 2.0  # pixels; around what is kept with a hard edge, the style paints a rim


def read_areas(
    masks: Sequence[Path],
    region_maps: Sequence[Path],
    keep: Path | None,
    shape: tuple[int, int],
    style_shapes: Sequence[tuple[int, int]],
    max_pixels: int,
) -> Areas:
    """Reads the areas of a job.

    Args:
        masks: As in `Job`.
        region_maps: As in `Job`.
        keep: As in `Job`.
        shape: Height and width of the content image.
        style_shapes: Those of the style images.
        max_pixels: As in `read_image`.

    Raises:
        ImageError: A file cannot be read, or does not fit its image.
        ConfigError: There are too few or too many files.
    """
    num_styles = len(style_shapes)
    if masks and region_maps:
        raise ConfigError("--mask and --regions are both given; leave one of the two out")
    if masks and len(masks) != num_styles:
        raise ConfigError(
            f"--mask names {len(masks)}, but the style images are {num_styles}; "
            "give one mask for each style"
        )
    if region_maps and len(region_maps) != 1 + num_styles:
        raise ConfigError(
            f"--regions names {len(region_maps)}, but the style images are {num_styles}; "
            "give the content's map, and then one for each style"
        )
    kept = read_mask(keep, shape, max_pixels=max_pixels) if keep else None
    if not region_maps:
        return Areas(_masked(masks, shape, max_pixels), kept)
    # whose import takes a quarter of a second, which only maps are to wait for
    from scipy.ndimage import gaussian_filter

    found = read_regions(
        region_maps[0], region_maps[1:], shape, style_shapes, max_pixels=max_pixels
    )
    _LOG.info(f"{len(found)} regions: {', '.join(map(_said, found))}")
    for region in found:
        if not region.styles:
            soft = gaussian_filter(region.mask, _SOFTNESS)
            kept = soft if kept is None else np.maximum(kept, soft)
    return Areas([_region_of(region) for region in found if region.styles], kept)


def _masked(masks: Sequence[Path], shape: tuple[int, int], max_pixels: int) -> list[Region]:
    stems = [path.stem for path in masks]
    regions = []
    for place, path in enumerate(masks):
        mask = read_mask(path, shape, max_pixels=max_pixels)
        name = path.stem if stems.count(path.stem) == 1 else ""
        regions.append(Region(mask, style=place, name=name))
    return regions


def _region_of(found: MappedRegion) -> Region:
    return Region(found.mask, found.styles, found.style_masks, name=found.name)


def _said(region: MappedRegion) -> str:
    stays = "" if region.styles else " (kept)"
    return f"{region.name} {100 * region.share:.2g} %{stays}"
