"""Style losses of the positions of the style that are most alike.

Features are compared by the cosine of the angle between them, both less the style's mean:
d(f, f') = 1 − cos(f − μ', f' − μ').

=============  =====================================================
neighbours     mean_i min_j d(f_i, f'_j)
relaxed_emd    max(mean_i min_j d(f_i, f'_j), mean_j min_i d(f_i, f'_j))
=============  =====================================================

A least distance is continuous, and its derivative is that of the match which attains it. So matches
are found anew at each evaluation, in blocks of rows, and nothing but the image is remembered. Of
equally near ones, the first counts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array, lax

from nst_jax.config import STYLE_LAYERS
from nst_jax.objective.samples import (
    Samples,
    SamplesByLayer,
    as_large,
    least_square,
    padded,
    take_samples,
    unit_vectors,
    united,
)
from nst_jax.objective.term_class import static, term
from nst_jax.objective.terms import Fields, Parts, Term
from nst_jax.objective.views import View

_BLOCK = 512
"""Rows of distances that are in memory at once."""

Pool = Mapping[str, Any]
"""The style's mean, (channels,), a least squared length, and samples of length 1."""


def nearest(points: Array, pool: Samples) -> Array:
    """For each point the place in the pool of the vector with the largest cosine, (points,).

    Args:
        points: Vectors of length 1, (points, channels).
        pool: Such vectors; those without a share are left out.
    """
    points, pool = lax.stop_gradient((points, pool))
    missing = -len(points) % _BLOCK if len(points) > _BLOCK else 0
    blocks = jnp.pad(points, ((0, missing), (0, 0)))
    blocks = blocks.reshape(-1, min(_BLOCK, len(points)), points.shape[1])

    def match(block: Array) -> Array:
        cosines = jnp.matmul(block, pool.values.T, precision=lax.Precision.HIGHEST)
        cosines = jnp.where(pool.shares[None] > 0, cosines, -jnp.inf)
        return jnp.argmax(cosines, -1)

    return lax.map(match, blocks).ravel()[: len(points)]


def _distances(points: Array, others: Array) -> Array:
    return 1 - jnp.sum(points * others, -1)


@term
class NearestNeighbours(Term):
    """How far each position's features are from the most similar of the style, at each layer.

    mean_i min_j (1 − cos(f_i − μ', f'_j − μ')), over the positions of a grid.

    Args:
        side: The most rows, and columns, of the grid.

    References:
        Kolkin, Kučera, Paris, Sýkora, Shechtman and Shakhnarovich, "Neural neighbor style transfer"
        (2022), section 3, who subtract the picture's own mean from its features, and keep matches
        for many steps. Li and Wand, "Combining Markov random fields and convolutional neural
        networks for image synthesis" (CVPR 2016), match patches.
    """

    is_balanced: ClassVar[bool] = False  # cosines compare as they are

    layers: tuple[str, ...] = static(STYLE_LAYERS)
    side: int = static(64)

    def measure(self, view: View, fields: Fields) -> dict[str, Samples]:
        return {layer: take_samples(view, layer, self.side) for layer in self.layers}

    def blend(self, measured: Sequence[Any], shares: Sequence[Any]) -> Any:
        """The positions of all of them, any of which may be a match.

        Shares weigh the mean that is subtracted and, in `RelaxedEMD`, the style's positions.
        """
        return {layer: united([own[layer] for own in measured], shares) for layer in measured[0]}

    def aim(self, measured: SamplesByLayer) -> dict[str, Pool]:
        found = {}
        for layer, sums in measured.items():
            samples = sums.means()
            mean = samples.mean(samples.values)
            centred = samples.values - mean[None]
            least = least_square(samples, centred)
            pool = samples._replace(values=unit_vectors(centred, least))
            found[layer] = {"mean": mean, "least": least, "pool": pool}
        return found

    def stack(self, wanted: Sequence[Mapping[str, Pool]]) -> Mapping[str, Pool]:
        """Pools of styles of several sizes get the slots of the largest."""
        slots = lambda pool: len(pool["pool"].shares)
        pad = lambda pool, most: {**pool, "pool": padded(pool["pool"], most)}
        return super().stack(as_large(wanted, slots, pad))

    def distance(self, found: SamplesByLayer, wanted: Mapping[str, Pool]) -> Parts:
        return {
            layer: self._between(found[layer].means(), **wanted[layer]) for layer in self.layers
        }

    def scale(self, nothing: Any, wanted: Any, shapes: Mapping[str, tuple[int, ...]]) -> Parts:
        # Cosines have a unit of their own, and a black image is near to whatever is dark.
        return {layer: jnp.ones_like(wanted[layer]["least"]) for layer in self.layers}

    def _between(self, found: Samples, mean: Array, least: Array, pool: Samples) -> Array:
        points = unit_vectors(found.values - mean[None], least)
        return found.mean(_distances(points, pool.values[nearest(points, pool)]))


@term
class RelaxedEMD(NearestNeighbours):
    """What moving the features onto the style's costs at least, at each layer.

    max(mean_i min_j d(f_i, f'_j), mean_j min_i d(f_i, f'_j)), d(f, f') = 1 − cos(f − μ', f' − μ'):
    so no part of the style is left out either.

    References:
        Kolkin, Salavon and Shakhnarovich, "Style transfer by relaxed optimal transport and
        self-similarity" (CVPR 2019), equation 5, whose cosines are of features as they are, and
        whose samples are drawn anew at each step.
    """

    side: int = static(32)

    def _between(self, found: Samples, mean: Array, least: Array, pool: Samples) -> Array:
        points = unit_vectors(found.values - mean[None], least)
        one = found.mean(_distances(points, pool.values[nearest(points, pool)]))
        places = nearest(pool.values, found._replace(values=points))
        other = pool.mean(_distances(points[places], pool.values))
        return jnp.maximum(one, other)
