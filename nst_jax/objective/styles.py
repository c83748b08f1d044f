"""A style: one image, or several with a share each.

Several styles are blended by what is measured of them, which is then compared once: a weighted mean
of Gram matrices costs a step nothing, and has the gradient of the weighted sum of losses.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from nst_jax.config import ConfigError, checked_mix
from nst_jax.objective.terms import Loss


class Style(NamedTuple):
    """Images that make one style.

    Args:
        images: Style images of any sizes, no two alike.
        shares: What each counts; more than 0, and 1 in all.
        mask: Which part of a single image counts; None for all of it.
    """

    images: tuple[Array, ...]
    shares: tuple[float, ...]
    mask: Any = None


Styles = Mapping[tuple[str | None, tuple[float, ...]], Style]
"""The style of each region by name, or that of the whole picture by None, and in each mixture that
terms have of their own."""


def as_images(style: Any) -> list[Any]:
    """The images that a style is given as: a list or a tuple of several, or one."""
    several = isinstance(style, list | tuple) and np.ndim(style[0] if style else 0) == 3
    return list(style) if several else [style]


def make_style(images: Sequence[Array], mix: Sequence[float]) -> Style:
    """Images in such a mixture; those that are alike count as one, those without a share not.

    Args:
        images: The images, at least one.
        mix: What each counts, in any unit; all alike if empty.

    Raises:
        ConfigError: There are more or fewer numbers than images, or none counts.

    Example:
        >>> make_style([first, second], (3, 7)).shares
        (0.3, 0.7)
    """
    check_mix(len(images), mix)
    total = sum(mix) if mix else len(images)
    found: list[tuple[Array, float]] = []
    for image, count in zip(images, mix or [1.0] * len(images), strict=True):
        same = [place for place, (other, _) in enumerate(found) if _are_alike(image, other)]
        if same:
            found[same[0]] = found[same[0]][0], found[same[0]][1] + count / total
        elif count:
            found.append((image, count / total))
    return Style(tuple(image for image, _ in found), tuple(share for _, share in found))


def mixed_styles(images: Sequence[Array], mix: Sequence[float], loss: Loss) -> Styles:
    """The styles that terms of a whole picture aim at; the first is that of the run's own mixture.

    Args:
        images: As in `make_style`.
        mix: As in `make_style`, of terms without one of their own.
        loss: The terms.

    Raises:
        ConfigError: As `make_style`, of any of the mixtures.
    """
    found: dict[tuple[str | None, tuple[float, ...]], Style] = {(None, ()): make_style(images, mix)}
    for name, term in loss.of("style").items():
        if term.style_mix:
            shares = checked_mix(f"style_mix of the term {name}", term.style_mix)
            found[None, shares] = make_style(images, shares)
    return found


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


def _are_alike(first: Array, second: Array) -> bool:
    if first is second or first.shape != second.shape:
        return first is second
    first, second = jax.device_get((first, second))
    return np.array_equal(first, second)
