"""Features of a layer in the blocks of a fixed grid, which add up over tiles.

A slot is the mean over its block, not one position of it: a picture would satisfy single positions
by dots, and leave those between them as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from nst_jax.dtypes import accumulation_type
from nst_jax.objective.terms import TINY
from nst_jax.objective.views import View


class Samples(NamedTuple):
    """What is found in the slots of a grid.

    Args:
        values: Features, (slots, channels): as they add up, each position times its share, or, by
            `means`, the means over blocks.
        shares: What the slots stand for, (slots,); they sum to 1.
    """

    values: Array
    shares: Array

    def means(self) -> "Samples":
        return self._replace(values=self.values / jnp.maximum(self.shares, TINY)[:, None])

    def mean(self, values: Array) -> Array:
        """The mean over slots of a number for each, or of several."""
        return self.shares @ values


def take_samples(view: View, layer: str, side: int) -> Samples:
    """What a view adds to the slots of a layer: square blocks, `side` or fewer of them by row and
    column.

    Where the layer's sides are `side` or less, each position is a slot.
    """
    shape, features = view.shape[layer], view.features[layer]
    kind = accumulation_type(features.dtype)
    step = -(-max(shape) // side)
    rows, columns = (
        _blocks(length, step, view.start[layer][axis], features.shape[axis]).astype(kind)
        for axis, length in enumerate(shape)
    )
    shares = jnp.broadcast_to(view.shares[layer], (*features.shape[:2], 1)).astype(kind)
    # by products with zeros and ones, whose derivatives are such products too
    added = lambda whole: jnp.einsum(
        "ri,ijc,sj->rsc", rows, whole, columns, precision=lax.Precision.HIGHEST
    )
    return Samples(
        added(shares * features.astype(kind)).reshape(-1, features.shape[-1]), added(shares).ravel()
    )


def _blocks(length: int, step: int, start: Any, patch: int) -> Array:
    """Which of a patch's rows, or columns, each block has, (blocks, patch)."""
    own = (start + jnp.arange(patch)) % length // step  # a patch may run over the end of a picture
    return own[None, :] == jnp.arange(-(-length // step))[:, None]


def united(each: Sequence[Samples], parts: Sequence[Any]) -> Samples:
    """The samples of several images as those of one, in which each has its part."""
    values, shares = (
        jnp.concatenate([part * own for part, own in zip(parts, columns, strict=True)])
        for columns in zip(*each, strict=True)
    )
    return Samples(values, shares)


def padded(samples: Samples, slots: int) -> Samples:
    """The samples in so many slots, of which the last have no share."""
    missing = slots - len(samples.shares)
    values = jnp.pad(samples.values, ((0, missing), (0, 0)))
    return Samples(values, jnp.pad(samples.shares, (0, missing)))


def as_large(
    wanted: Sequence[Mapping[str, Any]], slots: Callable[[Any], int], pad: Callable[[Any, int], Any]
) -> list[dict[str, Any]]:
    """What is wanted of several styles at each layer, with the slots of the largest of them.

    Args:
        wanted: What is wanted of each, by layer.
        slots: How many slots a layer has.
        pad: A layer with so many slots.
    """
    most = {layer: max(slots(own[layer]) for own in wanted) for layer in wanted[0]}
    return [{layer: pad(one, most[layer]) for layer, one in own.items()} for own in wanted]


def unit_vectors(values: Array, least: Any) -> Array:
    """Values of length 1, (slots, channels), except those that are shorter than a least length."""
    return values * lax.rsqrt(jnp.sum(jnp.square(values), -1, keepdims=True) + least)


def least_square(samples: Samples, values: Array) -> Array:
    """A squared length that is small beside those of most values."""
    return 1e-6 * samples.mean(jnp.sum(jnp.square(values), -1)) + TINY


SamplesByLayer = Mapping[str, Samples]
