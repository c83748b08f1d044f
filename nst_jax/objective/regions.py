"""Regions: parts of the picture that have styles of their own.

A region is another weight of positions: its Gram matrix is Σ m f fᵀ / Σ m, its mask m averaged as
the network pools. So soft edges lose no pull, and a partition of the image adds up to the whole.

References:
    Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling perceptual factors in neural style
    transfer" (CVPR 2017), section 4, with masks as weights instead of factors of the features.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.config import ConfigError
from nst_jax.objective.terms import Loss
from nst_jax.objective.tiles import stride

LEAST_POSITIONS = 16
"""A layer that has fewer positions in a region is left out there."""


@dataclasses.dataclass(frozen=True)
class Region:
    """A part of the picture, and its style.

    Args:
        mask: How much of each pixel belongs to it, (height, width) in [0, 1], of the content's
            size. Where masks of several regions come to more than 1, they share the pixel; where
            they come to less, the rest has no style.
        style: Which of the style images it has, from 0.
        style_mask: Which part of that image counts, (style_height, style_width) in [0, 1]; None for
            all of it.
        weight: What it counts among the regions; its share of the picture's area if left out, so
            that each pixel is pulled alike.
        name: What its terms are called by in records; its number from 1 if left out.

    Example:
        >>> left = np.linspace(1, 0, 512)[None].repeat(384, axis=0)
        >>> regions = [Region(left, style=0, name="left"), Region(1 - left, style=1, name="right")]
    """

    mask: Any
    style: int = 0
    style_mask: Any = None
    weight: float | None = None
    name: str = ""


def check_regions(
    regions: Sequence[Region], shape: Sequence[int], style_shapes: Sequence[Sequence[int]]
) -> None:
    """Makes sure that regions are those of such a content image and such style images.

    Raises:
        ConfigError: They are not.
    """
    names = names_of(regions)
    for name, region in zip(names, regions, strict=True):
        if names.count(name) > 1:
            raise ConfigError(f"two regions are called {name}; give them other names")
        if not 0 <= region.style < len(style_shapes):
            raise ConfigError(
                f"region {name} has style {region.style}, but the style images are numbered from 0 "
                f"to {len(style_shapes) - 1}"
            )
        _check_mask(f"the mask of region {name}", region.mask, shape)
        if region.style_mask is not None:
            own = style_shapes[region.style]
            _check_mask(f"the style mask of region {name}", region.style_mask, own)


def _check_mask(name: str, mask: Any, shape: Sequence[int]) -> None:
    if np.shape(mask) != tuple(shape[:2]):
        raise ConfigError(
            f"{name} has shape {np.shape(mask)}, its image {tuple(shape[:2])}; "
            "bring it to the size of the image"
        )
    values = np.asarray(jax.device_get(mask))
    if not np.issubdtype(values.dtype, np.floating):
        raise ConfigError(f"{name} is of {values.dtype}; give floating-point numbers from 0 to 1")
    if not (values >= 0).all() or not (values <= 1).all():
        raise ConfigError(f"{name} holds values outside [0, 1]; give the share of each pixel")
    if not values.any():
        raise ConfigError(f"{name} is empty; leave the region out")


def names_of(regions: Sequence[Region]) -> list[str]:
    return [region.name or str(place) for place, region in enumerate(regions, 1)]


def shared_masks(regions: Sequence[Region]) -> list[np.ndarray]:
    """The masks, which share a pixel where they come to more than 1."""
    masks = [np.asarray(jax.device_get(region.mask), np.float32) for region in regions]
    total = np.maximum(np.sum(masks, axis=0), 1)
    return [mask / total for mask in masks]


def with_regions(loss: Loss, regions: Sequence[Region], masks: Sequence[np.ndarray]) -> Loss:
    """The loss with each term that aims at a style once for each region.

    Args:
        loss: The loss of a picture without regions.
        regions: The regions.
        masks: From `shared_masks`.

    Raises:
        ConfigError: A region is too small for all the layers of a term.
    """
    terms = {}
    for name, term in loss.items():
        if term.source != "style":
            terms[name] = term
            continue
        for own, region, mask in zip(names_of(regions), regions, masks, strict=True):
            layers = tuple(layer for layer in term.layers if _num_positions(mask, layer))
            if not layers:
                raise ConfigError(
                    f"region {own} is too small for the layers of the term {name}; "
                    "leave it out, or make it larger"
                )
            weights = term.part_weights
            if weights is not None and layers != term.layers:
                left_out = set(term.layers) - set(layers)
                weights = {part: one for part, one in weights.items() if part not in left_out}
            share = float(mask.mean()) if region.weight is None else region.weight
            terms[f"{name}_{own}"] = dataclasses.replace(
                term, weight=term.weight * share, part_weights=weights, layers=layers, region=own
            )
    return Loss(terms)


def _num_positions(mask: np.ndarray, layer: str) -> bool:
    """Whether a region has enough positions at a layer."""
    return float(mask.sum()) / stride(layer) ** 2 >= LEAST_POSITIONS


def shares_of(mask: Array, layers: Sequence[str], shape: Sequence[int]) -> Mapping[str, Array]:
    """What each position of each layer stands for in a region; (height, width, 1), 1 in all.

    Args:
        mask: The region's, of any size.
        layers: The layers; the pixels are `"image"`.
        shape: Height and width of the image there.
    """
    pooled = {1: jnp.clip(jax.image.resize(mask, tuple(shape[:2]), "linear"), 0, 1)}
    found = {}
    for layer in layers:
        wanted = stride(layer)
        while max(pooled) < wanted:
            pooled[2 * max(pooled)] = _half(pooled[max(pooled)])
        own = pooled[wanted]
        found[layer] = (own / jnp.maximum(jnp.sum(own), jnp.finfo(own.dtype).tiny))[..., None]
    return found


def _half(mask: Array) -> Array:
    """The mask averaged as the network pools: by twos, an odd row or column left out."""
    height, width = (side // 2 for side in mask.shape)
    return mask[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))
