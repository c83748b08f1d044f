"""What lies beyond an image, and beyond the activations of each layer."""

from jax import Array, lax

from nst_jax.config import Border

Widths = tuple[tuple[int, int], tuple[int, int]]
"""Rows above and below, columns to the left and to the right; each 0 or 1."""


def wraps(border: Border) -> tuple[bool, bool]:
    """Whether an image goes on at its other side, from bottom to top and from right to left."""
    return border in ("wrap", "wrap_y"), border in ("wrap", "wrap_x")


def pad(activations: Array, border: Border, widths: Widths = ((1, 1), (1, 1))) -> Array:
    """The activations with what lies beyond them, at most one position to each side.

    A side of one position has nothing that `"reflect"` could mirror; it is replicated there.
    """
    for axis, (before, after) in enumerate(widths):
        first, last = _neighbours(border, axis, activations.shape[axis])
        # `jax.numpy.pad` of the edge takes XLA's CPU compiler three times the memory.
        parts = [_line(activations, first, axis)] * before + [activations]
        parts += [_line(activations, last, axis)] * after
        activations = lax.concatenate(parts, axis)
    return activations


def pad_to_even(activations: Array, border: Border) -> Array:
    """The activations with one more row or column where their number is odd."""
    rows, columns = (side % 2 for side in activations.shape[:2])
    return pad(activations, border, ((0, rows), (0, columns)))


def _neighbours(border: Border, axis: int, length: int) -> tuple[int, int]:
    """The positions along a side that are seen before its first and behind its last."""
    if wraps(border)[axis]:
        return length - 1, 0
    return (1, length - 2) if border == "reflect" and length > 1 else (0, length - 1)


def _line(activations: Array, place: int, axis: int) -> Array:
    return lax.slice_in_dim(activations, place, place + 1, axis=axis)
