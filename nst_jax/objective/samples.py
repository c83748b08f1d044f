"""Features at the positions of a fixed grid, each of which belongs to one tile.

So taking them adds up over tiles: a tile gives its own, and zeros for the others.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from nst_jax.config import ConfigError
from nst_jax.dtypes import accumulation_type
from nst_jax.objective.terms import TINY
from nst_jax.objective.views import View


class Samples(NamedTuple):
    """What is found at the grid's positions.

    Args:
        values: Features, (slots, channels).
        shares: What the positions stand for, (slots,); they are like shares of a view, but do not
            sum to 1.
    """

    values: Array
    shares: Array

    def mean(self, values: Array) -> Array:
        """The mean over slots of a number for each, or of several."""
        return self.shares @ values / jnp.maximum(jnp.sum(self.shares), TINY)


def take_samples(view: View, layer: str, side: int) -> Samples:
    """Features of a layer at every n-th row and column, `side` or fewer of each.

    Where the layer's sides are `side` or less, these are all positions.
    """
    shape = view.shape[layer]
    step = -(-max(shape) // side)
    features = view.features[layer]
    features = features.astype(accumulation_type(features.dtype))
    places, inside = zip(
        *(
            _places(length, step, view.start[layer][axis], features.shape[axis])
            for axis, length in enumerate(shape)
        ),
        strict=True,
    )
    take = lambda whole: jnp.take(jnp.take(whole, places[0], 0), places[1], 1)
    grid = (features.shape[0], features.shape[1], 1)
    # beside a tile's own, for a position outside is clipped to one that may be
    own = take(jnp.broadcast_to(view.own[layer], grid)) & (
        inside[0][:, None, None] & inside[1][None, :, None]
    )
    shares = take(jnp.broadcast_to(view.shares[layer], grid))
    return Samples(
        jnp.where(own, take(features), 0).reshape(-1, features.shape[-1]),
        jnp.where(own, shares, 0).ravel(),
    )


def _places(length: int, step: int, start: Any, patch: int) -> tuple[Any, Any]:
    """Where the grid's rows, or columns, lie in a patch, and which of them do."""
    grid = np.arange((length - 1) % step // 2, length, step, dtype=np.int32)
    places = grid - start
    return jnp.clip(places, 0, patch - 1), (places >= 0) & (places < patch)


def unblended(measured: Sequence[Any], name: str) -> Any:
    """The measure of the only image of a style.

    Raises:
        ConfigError: There are several, whose positions have no mean.
    """
    if len(measured) > 1:
        raise ConfigError(
            f"{name} compares positions, and those of several style images have no mean; give one "
            "style, or a style loss of statistics, such as 'wasserstein'"
        )
    return measured[0]


def unit_vectors(values: Array, least: Any) -> Array:
    """Values of length 1, (slots, channels), but for those that are shorter than a least length."""
    return values * lax.rsqrt(jnp.sum(jnp.square(values), -1, keepdims=True) + least)


def least_square(samples: Samples, values: Array) -> Array:
    """A squared length that is small beside those of most values."""
    return 1e-6 * samples.mean(jnp.sum(jnp.square(values), -1)) + TINY


SamplesByLayer = Mapping[str, Samples]
