"""Regions: parts of the picture that have styles of their own.

A region is another weight of positions: its Gram matrix is Σ m f fᵀ / Σ m, its mask m averaged as
the network pools. So soft edges lose no pull, and a partition of the image adds up to the whole.

References:
    Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling perceptual factors in neural style
    transfer" (CVPR 2017), section 4, with masks as weights instead of factors of the features.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.checks import ConfigError, check_weight, is_whole
from nst_jax.config import Border
from nst_jax.network.borders import pad_to_even
from nst_jax.objective.terms import Loss, Term
from nst_jax.objective.tiles import stride

LEAST_POSITIONS = 16
"""A layer that has fewer positions in a region, at the full size, is left out there."""


@dataclasses.dataclass(frozen=True)
class Region:
    """A part of the picture, and its style.

    Args:
        mask: How much of each pixel belongs to it, (height, width) in [0, 1], of the content's
            size. Where masks of several regions come to more than 1, they share the pixel; where
            they come to less, the rest has no style.
        style: Which of the style images it has, from 0; or several, which are blended alike.
        style_mask: Which part of that image counts, (style_height, style_width) in [0, 1]; None for
            all of it. Of several styles, one for each.
        weight: What it counts among the regions; its share of the picture's area if left out, so
            that each pixel is pulled alike.
        name: What its terms are called by in records; its number from 1 if left out.

    Example:
        >>> left = np.linspace(1, 0, 512)[None].repeat(384, axis=0)
        >>> regions = [Region(left, style=0, name="left"), Region(1 - left, style=1, name="right")]
    """

    mask: Any
    style: int | Sequence[int] = 0
    style_mask: Any = None
    weight: float | None = None
    name: str = ""

    @property
    def styles(self) -> tuple[int, ...]:
        """The style images, also where there is one."""
        return tuple(self.style) if isinstance(self.style, Sequence) else (self.style,)

    @property
    def style_masks(self) -> tuple[Any, ...]:
        """A mask, or None, for each of them."""
        if not isinstance(self.style, Sequence):
            return (self.style_mask,)
        return (None,) * len(self.style) if self.style_mask is None else tuple(self.style_mask)


def checked_regions(
    regions: Any, shape: Sequence[int], style_shapes: Sequence[Sequence[int]]
) -> tuple[Region, ...]:
    """Regions that are those of such a content image and such style images.

    Raises:
        ConfigError: They are not.
    """
    if isinstance(regions, Region) or not isinstance(regions, Iterable):
        raise ConfigError(f"regions is {regions!r}; give a list of nst.Region")
    regions = tuple(regions)
    for region in regions:
        if not isinstance(region, Region):
            raise ConfigError(f"regions holds {region!r}; give a list of nst.Region")
    names = names_of(regions)
    for name, region in zip(names, regions, strict=True):
        if names.count(name) > 1:
            raise ConfigError(f"two regions are called {name}; give them other names")
        numbers: tuple[Any, ...] = region.styles or (None,)
        for style in numbers:
            if not is_whole(style) or not 0 <= style < len(style_shapes):
                raise ConfigError(
                    f"region {name} has style {style}, but the style images are numbered from 0 to "
                    f"{len(style_shapes) - 1}"
                )
        if len(region.style_masks) != len(region.styles):
            raise ConfigError(
                f"region {name} has {len(region.styles)} styles, but {len(region.style_masks)} "
                "style masks; give one for each, which may be None"
            )
        if region.weight is not None:
            check_weight(f"the weight of region {name}", region.weight)
        _check_region(f"the mask of region {name}", region.mask, shape)
        for style, mask in zip(region.styles, region.style_masks, strict=True):
            if mask is not None:
                _check_region(f"the style mask of region {name}", mask, style_shapes[style])
    return regions


def _check_region(name: str, mask: Any, shape: Sequence[int]) -> None:
    check_mask(name, mask, shape)
    if not np.asarray(jax.device_get(mask)).any():
        raise ConfigError(f"{name} is empty; leave the region out")


def check_mask(name: str, mask: Any, shape: Sequence[int]) -> None:
    """Makes sure that a mask is (height, width) of floating-point numbers in [0, 1].

    Args:
        name: What the message calls it.
        mask: The mask.
        shape: Of its image.

    Raises:
        ConfigError: It is not.
    """
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


def names_of(regions: Sequence[Region]) -> list[str]:
    return [region.name or str(place) for place, region in enumerate(regions, 1)]


def shared_masks(regions: Sequence[Region]) -> dict[str, np.ndarray]:
    """The masks by name, which share a pixel where they come to more than 1."""
    masks = [np.asarray(jax.device_get(region.mask), np.float32) for region in regions]
    total = np.maximum(np.sum(masks, axis=0), 1)
    return {name: mask / total for name, mask in zip(names_of(regions), masks, strict=True)}


def with_regions(loss: Loss, regions: Sequence[Region]) -> Loss:
    """The loss with each term that aims at a style once for each region.

    Layers that have too few positions in the region, or in its style mask, at the full size are
    left out; the weights of the term's others grow so that their sum stays. A term that has none
    left is left out there, if the region has another. `small_regions` says which.

    Args:
        loss: The loss of a picture without regions.
        regions: The regions, as `checked_regions` found them right.

    Raises:
        ConfigError: A region is too small for all the layers of all terms, or two terms would have
            one name.
    """
    terms: dict[str, Term] = {name: part for name, part in loss.items() if part.source != "style"}
    masks = shared_masks(regions)
    for name, term in loss.of("style").items():
        for region, (own, mask) in zip(regions, masks.items(), strict=True):
            if f"{name}_{own}" in {*terms, *(other for other in loss if other != name)}:
                raise ConfigError(
                    f"two terms would be called {name}_{own}; give the region {own} another name"
                )
            layers = tuple(
                layer
                for layer in term.layers
                if all(has_positions(part, layer) for part in (mask, *region.style_masks))
            )
            if not layers:
                continue
            share = float(mask.mean()) if region.weight is None else region.weight
            terms[f"{name}_{own}"] = dataclasses.replace(
                term,
                weight=term.weight * share,
                part_weights=_without(term.part_weights, set(term.layers) - set(layers)),
                layers=layers,
                region=own,
            )
    for own in masks:
        if loss.of("style") and not any(term.region == own for term in terms.values()):
            raise ConfigError(
                f"region {own} is too small for the layers of {', '.join(loss.of('style'))}; "
                "leave it out, or make it larger"
            )
    return Loss(terms)


def small_regions(loss: Loss, parted: Loss) -> list[str]:
    """Notes of the layers that a loss leaves out in regions, of the loss without regions."""
    notes = []
    for region in dict.fromkeys(term.region for term in parted.values() if term.region):
        lacking: dict[str, None] = {}
        for name, term in loss.of("style").items():
            own = parted.get(f"{name}_{region}")
            kept = own.layers if own else ()
            lacking |= dict.fromkeys(layer for layer in term.layers if layer not in kept)
        if lacking:
            notes.append(f"region {region} is too small for {', '.join(lacking)}, left out there")
    return notes


def copies_of(name: str, loss: Loss) -> Loss:
    """Of a loss, the term of a name, or those that regions have in its place."""
    called = lambda term: f"{name}_{term.region}" if term.region else name
    return Loss({own: term for own, term in loss.items() if own == called(term)})


def with_part_weights(copies: Loss, term: Term) -> Loss:
    """The copies of a term with its part weights, less the layers that they leave out."""
    return Loss(
        {
            name: dataclasses.replace(
                own, part_weights=_without(term.part_weights, set(term.layers) - set(own.layers))
            )
            for name, own in copies.items()
        }
    )


def with_weights_of(loss: Loss, plain: Loss) -> Loss:
    """A loss, in regions or not, with the part weights of the same where it has no regions."""
    terms = dict(loss)
    for name, term in plain.of("style").items():
        terms |= with_part_weights(copies_of(name, loss), term)
    return Loss(terms)


def has_positions(mask: Any, layer: str, pixels: float | None = None) -> bool:
    """Whether a mask leaves a layer enough positions; one of the whole picture always does.

    Args:
        mask: The mask; None for the whole picture.
        layer: The layer.
        pixels: Of the image at the size that is asked for; those of the mask if left out.
    """
    values = None if mask is None else np.asarray(jax.device_get(mask))
    if values is None or (values == 1).all():
        return True
    size = values.size if pixels is None else pixels
    return float(values.mean()) * size / stride(layer) ** 2 >= LEAST_POSITIONS


def _without(weights: Mapping[str, Any] | None, left_out: set[str]) -> Mapping[str, Any] | None:
    """Weights of parts without those of some layers, and with the same sum."""
    if weights is None or not left_out & set(weights):
        return weights
    kept = {part: np.asarray(one) for part, one in weights.items() if part not in left_out}
    total, rest = np.asarray(sum(weights.values())), np.asarray(sum(kept.values()))
    growth = np.divide(total, rest, out=np.ones_like(total, np.float32), where=rest > 0)
    return {part: one * growth for part, one in kept.items()}


@partial(jax.jit, static_argnames=("layers", "shape", "border"))
def shares_of(
    mask: Array, layers: tuple[str, ...], shape: tuple[int, ...], border: Border
) -> Mapping[str, Array]:
    """What each position of each layer stands for in a region; (height, width, 1), 1 in all.

    Args:
        mask: The region's, of any size.
        layers: The layers; the pixels are `"image"`.
        shape: Height and width of the image there.
        border: As in `TransferConfig`.
    """
    pooled = {1: jnp.clip(jax.image.resize(mask, tuple(shape[:2]), "linear"), 0, 1)}
    found = {}
    for layer in layers:
        wanted = stride(layer)
        while max(pooled) < wanted:
            pooled[2 * max(pooled)] = _half(pooled[max(pooled)], border)
        own = pooled[wanted]
        found[layer] = (own / jnp.maximum(jnp.sum(own), jnp.finfo(own.dtype).tiny))[..., None]
    return found


def _half(mask: Array, border: Border) -> Array:
    """The mask averaged as the network pools: by twos, an odd row or column as `features` does.

    Where that is left out, and the mask has nothing else, its neighbour stands for it."""
    if border != "zero":
        mask = pad_to_even(mask, border)
    found = _by_twos(mask)
    if mask.shape[0] % 2:
        mask = mask.at[-2].max(mask[-1])
    if mask.shape[1] % 2:
        mask = mask.at[:, -2].max(mask[:, -1])
    return jnp.where(jnp.any(found > 0), found, _by_twos(mask))


def _by_twos(mask: Array) -> Array:
    height, width = (side // 2 for side in mask.shape)
    return mask[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))
