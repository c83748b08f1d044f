"""The sliced Wasserstein distance: of features along fixed directions, sorted."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from nst_jax.config import STYLE_LAYERS
from nst_jax.objective.samples import Samples, as_large, take_samples
from nst_jax.objective.term_class import static, term
from nst_jax.objective.terms import Fields, Parts, Term
from nst_jax.objective.views import View

Quantiles = Mapping[str, Array]
"""The style's values along each direction, sorted, and their levels: the shares of those below,
with half of their own; both (directions, slots)."""


def directions(channels: int, most: int) -> np.ndarray:
    """Orthogonal directions of length 1, always the same, (channels, directions)."""
    drawn = np.random.default_rng(channels).normal(size=(channels, min(channels, most)))
    return np.linalg.qr(drawn)[0].astype(np.float32)


def _sorted(samples: Samples) -> tuple[Array, Array, Array]:
    """Values by direction in their order, their levels, and where they were."""
    values = samples.values.T
    # those without a share go behind all others, and are like the last of them
    counts = samples.shares[None] > 0
    order = jnp.argsort(jnp.where(counts, values, jnp.inf), -1)
    least = jnp.min(values, -1, keepdims=True)
    largest = jnp.max(jnp.where(counts, values, least), -1, keepdims=True)
    values = jnp.where(counts, values, largest)
    shares = samples.shares[order]
    levels = jnp.cumsum(shares, -1) - shares / 2
    return jnp.take_along_axis(values, order, -1), levels, order


@term
class SlicedWasserstein(Term):
    """How far the features' distribution is from the style's along some directions, at each layer.

    mean_v Σ_i share_i (vᵀf_i − Q'_v(u_i))², with u_i the share of positions below vᵀf_i, half of
    its own among them, and Q'_v the style's value at that level. The derivative is that of a sum of
    squares whose aims are fixed. It jumps where two values are equal, which swap their aims: so in
    float32, of values that are next to equal each may have either's.

    Args:
        side: The most rows, and columns, of the grid of positions.
        num_directions: The most directions; fewer than channels leave the others free.

    References:
        Heitz, Vanhoey, Chambon and Belcour, "A sliced Wasserstein loss for neural texture
        synthesis" (CVPR 2021), who draw as many directions as channels at each evaluation, and take
        all positions.
    """

    layers: tuple[str, ...] = static(STYLE_LAYERS)
    side: int = static(32)
    num_directions: int = static(64)

    @classmethod
    def default_name(cls) -> str:
        return "style"

    def measure(self, view: View, fields: Fields) -> dict[str, Samples]:
        found = {}
        for layer in self.layers:
            samples = take_samples(view, layer, self.side)
            along = directions(samples.values.shape[1], self.num_directions)
            along = jnp.asarray(along, samples.values.dtype)
            projected = jnp.matmul(samples.values, along, precision=lax.Precision.HIGHEST)
            found[layer] = samples._replace(values=projected)
        return found

    def blend(self, measured: Sequence[Any], shares: Sequence[Any]) -> Any:
        """The mean of the styles' quantiles, which is their barycentre in each direction."""
        return measured[0] if len(measured) == 1 else _blended(measured, shares)

    def aim(self, measured: Mapping[str, Samples]) -> dict[str, Quantiles]:
        found = {}
        for layer, samples in measured.items():
            values, levels, _ = _sorted(samples.means())
            found[layer] = {"values": values, "levels": levels}
        return found

    def stack(self, wanted: Sequence[Mapping[str, Quantiles]]) -> Mapping[str, Quantiles]:
        """The last quantile is repeated until each style has as many as the largest.

        Beyond the last level, interpolation has the last value anyway.
        """
        slots = lambda quantiles: quantiles["levels"].shape[1]
        pad = lambda quantiles, most: {
            name: jnp.pad(values, ((0, 0), (0, most - values.shape[1])), "edge")
            for name, values in quantiles.items()
        }
        return super().stack(as_large(wanted, slots, pad))

    def distance(self, found: Mapping[str, Samples], wanted: Mapping[str, Quantiles]) -> Parts:
        return {layer: _between(found[layer].means(), **wanted[layer]) for layer in self.layers}


def _between(found: Samples, values: Array, levels: Array) -> Array:
    _, own_levels, order = _sorted(lax.stop_gradient(found))
    aims = jax.vmap(jnp.interp)(own_levels, levels, values)
    aims = jnp.take_along_axis(aims, jnp.argsort(order, -1), -1).T  # where the values are
    return found.mean(jnp.mean(jnp.square(found.values - aims), -1))


def _blended(
    measured: Sequence[Mapping[str, Samples]], shares: Sequence[Any]
) -> dict[str, Samples]:
    found = {}
    for layer, samples in measured[0].items():
        slots = max(len(own[layer].values) for own in measured)
        levels = (jnp.arange(slots, dtype=samples.values.dtype) + 0.5) / slots
        each = []
        for own in measured:
            values, own_levels, _ = _sorted(own[layer].means())
            each.append(jax.vmap(jnp.interp, (None, 0, 0))(levels, own_levels, values))
        blended = sum(share * one for share, one in zip(shares, each, strict=True))
        found[layer] = Samples(
            jnp.asarray(blended).T / slots, jnp.full(slots, 1 / slots, levels.dtype)
        )
    return found
