"""What one term aims at, in the picture and in its octaves."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.objective.boxes import Box


class Target(NamedTuple):
    """What one term aims at.

    Args:
        fields: What is wanted by position, by layer, (height, width, …).
        wanted: What else is wanted, as the term's `aim` gives it.
        scale: What each part of its distance is multiplied by.
        shares: What the generated image's positions stand for in its region, by layer; nothing for
            the whole image.
        boxes: Where the others have no share, by layer; nothing where they may be anywhere.
        octaves: What it aims at in the smaller octaves, from the larger to the smaller.
    """

    fields: Mapping[str, Any]
    wanted: Any
    scale: Mapping[str, Any]
    shares: Mapping[str, Any] = {}
    boxes: Mapping[str, Box] = {}
    octaves: tuple["Target", ...] = ()


Targets = Mapping[str, Target]
"""What a loss aims at, by the names of its terms."""


def nested(octaves: Sequence[Targets]) -> Targets:
    """The targets of an image that hold those of its smaller octaves.

    Where a style is too small in some of them, the others make up for it.
    """
    if len(octaves) == 1:
        return octaves[0]
    found = {}
    for name in octaves[0]:
        each = [targets[name] for targets in octaves]
        growth = {
            part: len(each) / jnp.maximum(sum(one.scale[part] > 0 for one in each), 1)
            for part in each[0].scale
        }
        first, *others = (
            one._replace(scale={part: growth[part] * one.scale[part] for part in growth})
            for one in each
        )
        found[name] = first._replace(octaves=tuple(others))
    return found


def without_scale(targets: Targets) -> Targets:
    """Targets that count nothing, in an octave where their style is too small to tell anything."""
    return {
        name: target._replace(scale=jax.tree.map(jnp.zeros_like, dict(target.scale)))
        for name, target in targets.items()
    }
