"""A style: one image, or several with a share each.

Several styles are blended by what is measured of them, which is then compared once: a weighted mean
of Gram matrices costs a step nothing, and has the gradient of the weighted sum of losses.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.checks import ConfigError, checked_mix
from nst_jax.config import TransferConfig
from nst_jax.objective.regions import Region, names_of
from nst_jax.objective.terms import Loss
from nst_jax.pixels import shape_of


class Style(NamedTuple):
    """Images that make one style.

    Args:
        images: Style images of any sizes, no two alike with their masks.
        shares: What each counts; more than 0, and 1 in all.
        masks: Which part of each image counts; None for all of it.
    """

    images: tuple[Array, ...]
    shares: tuple[float, ...]
    masks: tuple[Any, ...]


Styles = Mapping[tuple[str | None, tuple[float, ...]], Style]
"""The style of each region by name, or that of the whole picture by None, and in each mixture that
terms have of their own."""


def as_images(style: Any) -> list[Any]:
    """The images that a style is given as: a list or a tuple of several, or one."""
    shapes = map(shape_of, style) if isinstance(style, list | tuple) else ()
    several = any(shape is not None and len(shape) == 3 for shape in shapes)
    return list(style) if several else [style]


def make_style(
    images: Sequence[Array], mix: Sequence[float], turns: bool = False, masks: Sequence[Any] = ()
) -> Style:
    """Images in such a mixture; those that are alike count as one, those without a share not.

    Args:
        images: The images, at least one.
        mix: What each counts, in any unit; all alike if empty.
        turns: Whether each is in turn four images, its quarter turns.
        masks: Which part of each counts, None for all of it; all of each if left out.

    Raises:
        ConfigError: There are more or fewer numbers than images, or none counts.

    Example:
        >>> make_style([first, second], (3, 7)).shares
        (0.3, 0.7)
    """
    check_mix(len(images), mix)
    total = sum(mix) if mix else len(images)
    angles = range(4) if turns else range(1)
    found: list[tuple[Array, Any]] = []
    shares: list[float] = []
    given = zip(images, masks or [None] * len(images), mix or [1.0] * len(images), strict=True)
    for image, mask, count in given:
        for angle in angles if count else ():
            own, share = (_turned(image, angle), _turned(mask, angle)), count / total / len(angles)
            same = [place for place, other in enumerate(found) if all(map(_are_alike, own, other))]
            if same:
                shares[same[0]] += share
            else:
                found.append(own)
                shares.append(share)
    of_images, of_masks = zip(*found, strict=True)
    return Style(of_images, tuple(shares), of_masks)


def _turned(image: Any, quarters: int) -> Any:
    """An image or a mask, if there is one, turned against the clock."""
    return image if image is None or quarters == 0 else _rotated(image, quarters)


_rotated = jax.jit(jnp.rot90, static_argnums=1)


def mixed_styles(images: Sequence[Array], config: TransferConfig, loss: Loss) -> Styles:
    """The styles that terms of a whole picture aim at; the first is that of the run's own mixture.

    Args:
        images: As in `make_style`.
        config: Has the mixture of terms without one of their own, and says whether images turn.
        loss: The terms.

    Raises:
        ConfigError: As `make_style`, of any of the mixtures.
    """
    make = partial(make_style, images, turns=config.style_turns)
    found: dict[tuple[str | None, tuple[float, ...]], Style] = {(None, ()): make(config.style_mix)}
    for name, term in loss.of("style").items():
        if term.style_mix:
            shares = checked_mix(f"style_mix of the term {name}", term.style_mix)
            found[None, shares] = make(shares)
    return found


def styles_in(
    images: Sequence[Array], config: TransferConfig, regions: Sequence[Region], loss: Loss
) -> Styles:
    """The style of each region, or those of the whole picture where there are none.

    Args:
        images: As in `make_style`.
        config: As in `mixed_styles`.
        regions: The regions, which name their styles.
        loss: The terms, as they are without regions.

    Raises:
        ConfigError: As `make_style`, or there is a mixture beside regions.
    """
    if not regions:
        return mixed_styles(images, config, loss)
    check_no_mix(config, loss)
    put = lambda mask: None if mask is None else jax.device_put(np.asarray(mask, np.float32))
    own = lambda region: [images[place] for place in region.styles]
    return {
        (name, ()): make_style(own(region), (), config.style_turns, [*map(put, region.style_masks)])
        for name, region in zip(names_of(regions), regions, strict=True)
    }


def check_no_mix(config: TransferConfig, loss: Loss) -> None:
    """Makes sure that there is no mixture of styles beside regions.

    Raises:
        ConfigError: There is.
    """
    if config.style_mix or any(term.style_mix for term in loss.values()):
        raise ConfigError(
            "style_mix mixes the styles of the whole picture, but there are regions, which name "
            "theirs; leave one of the two out"
        )


def aiming_at(loss: Loss, region: str | None, mix: tuple[float, ...]) -> Loss:
    """The terms that aim at the style of a region in a mixture."""
    own = loss.of("style").within(region)
    return Loss({name: term for name, term in own.items() if tuple(term.style_mix) == mix})


def first_image(styles: Styles) -> Array:
    """The first style image that counts."""
    return next(iter(styles.values())).images[0]


def check_mix(num_images: int, mix: Sequence[float]) -> None:
    """Makes sure that a mixture is one of so many style images.

    Raises:
        ConfigError: It is not.
    """
    if mix and len(mix) != num_images:
        raise ConfigError(
            f"style_mix has {len(mix)} number{'s' * (len(mix) > 1)}, but there "
            f"{'are' if num_images > 1 else 'is'} {num_images} "
            f"style image{'s' * (num_images > 1)}; give one number for each"
        )


def _are_alike(first: Any, second: Any) -> bool:
    if first is second or np.shape(first) != np.shape(second):
        return first is second
    first, second = jax.device_get((first, second))
    return np.array_equal(first, second)
