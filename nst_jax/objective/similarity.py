"""Content as likeness between its own positions, whatever the features themselves become."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array, lax

from nst_jax.objective.samples import (
    Samples,
    SamplesByLayer,
    least_square,
    take_samples,
    unit_vectors,
)
from nst_jax.objective.term_class import static, term
from nst_jax.objective.terms import Fields, Parts, Source, Term
from nst_jax.objective.views import View

_ROUNDING = 1e-3
"""The kink of |x| at 0 is rounded off within about this."""


@term
class SelfSimilarity(Term):
    """How far distances between the features of positions are from the content's, at each layer.

    mean_ij |D_ij − D'_ij| of D_ij = n (1 − cos(f_i, f_j)) / Σ_k (1 − cos(f_k, f_j)), over the n
    positions of a grid; |x| is rounded off at 0.

    Args:
        side: The most rows, and columns, of the grid.

    References:
        Kolkin, Salavon and Shakhnarovich, "Style transfer by relaxed optimal transport and
        self-similarity" (CVPR 2019), equation 8, of hypercolumns where this takes each layer by
        itself.
    """

    layers: tuple[str, ...] = static(("conv4_2",))
    source: Source = static("content")
    side: int = static(32)

    @classmethod
    def default_name(cls) -> str:
        return "content"

    def measure(self, view: View, fields: Fields) -> dict[str, Samples]:
        return {layer: take_samples(view, layer, self.side) for layer in self.layers}

    def aim(self, measured: SamplesByLayer) -> dict[str, dict[str, Array]]:
        found = {}
        for layer, sums in measured.items():
            samples = sums.means()
            least = least_square(samples, samples.values)
            found[layer] = {"distances": _distances(samples, least), "least": least}
        return found

    def distance(self, found: SamplesByLayer, wanted: Mapping[str, Mapping[str, Array]]) -> Parts:
        parts = {}
        for layer in self.layers:
            least = wanted[layer]["least"]
            apart = _distances(found[layer].means(), least) - wanted[layer]["distances"]
            parts[layer] = jnp.mean(jnp.sqrt(jnp.square(apart) + _ROUNDING**2) - _ROUNDING)
        return parts


def _distances(samples: Samples, least: Array) -> Array:
    """Cosine distances between all positions, each column's mean 1."""
    units = unit_vectors(samples.values, least)
    distances = 1 - jnp.matmul(units, units.T, precision=lax.Precision.HIGHEST)
    # where all positions are alike, rounding is no structure
    return distances / (jnp.mean(distances, 0, keepdims=True) + 1e-4)
