"""What lies beyond an image, and beyond the activations of each layer."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from nst_jax.config import Border

_MODES: Mapping[Border, str] = {"replicate": "edge", "reflect": "reflect", "wrap": "wrap"}

Widths = tuple[tuple[int, int], tuple[int, int]]
"""Rows above and below, columns to the left and to the right."""


def pad(activations: Array, border: Border, widths: Widths = ((1, 1), (1, 1))) -> Array:
    """The activations with what lies beyond them, at most one position to each side.

    A side of one position has nothing that `"reflect"` could mirror; it is replicated there.
    """
    for axis, around in enumerate(widths):
        if any(around):
            alone = border == "reflect" and activations.shape[axis] == 1
            own = [(0, 0)] * activations.ndim
            own[axis] = around
            activations = jnp.pad(activations, own, "edge" if alone else _MODES[border])
    return activations


def pad_to_even(activations: Array, border: Border) -> Array:
    """The activations with one more row or column where their number is odd."""
    rows, columns = (side % 2 for side in activations.shape[:2])
    return pad(activations, border, ((0, rows), (0, columns)))
