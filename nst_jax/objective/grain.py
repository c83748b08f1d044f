"""The grain: how strong the finest detail of the pixels is, in each colour, against the style's.

Gram matrices hardly decide on the finest detail of a picture's colours. A descent leaves fringes
and speckles in it, several times as strong as the style's, which it can do without at the same loss
(docs/benchmarks/grain.md).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array, lax

from nst_jax.dtypes import accumulation_type
from nst_jax.objective.laplacian import at_laplacian, laplacian
from nst_jax.objective.term_class import static, term
from nst_jax.objective.terms import TINY, Fields, Parts, Term
from nst_jax.objective.tiles import IMAGE
from nst_jax.objective.views import View

_ROUNDING = 20 / 12 / 255**2
"""The mean square of the Laplacian that rounding to 8 bits makes."""

_EXACTLY = lax.Precision.HIGHEST  # these products cancel

_RELATIVE = 1e-5
"""Of the trace: what the sums in float32 leave of a picture of one colour's other two."""


@term
class Grain(Term):
    """Distance of the Laplacian's second moments: 4/3 (ln det ½(I + A⁻¹G) − ½ ln det A⁻¹G).

    G is the mean of (Δx)(Δx)ᵀ over the pixels, (3, 3) over the colours, and A that of the style;
    to both is added what rounding to 8 bits makes, and 1e-5 of their trace, times the identity.
    Each colour counts alike, however little of it is in the style's detail: one of eᵗ times the
    style's energy adds 4/3 ln cosh ½t, which is t²/6 near the style's, and far from it grows with
    2/3 |t| only, so that a style without colours, or a flat one, does not outweigh the rest.

    References:
        Sra, "Positive definite matrices and the S-divergence" (Proceedings of the AMS, 2016): 4/3
        of it, and it is twice the distance of Bhattacharyya between Gaussians.
    """

    reach: ClassVar[int] = 1

    layers: tuple[str, ...] = static((IMAGE,))

    def measure(self, view: View, fields: Fields) -> Parts:
        pixels = view.features[IMAGE]
        fine = laplacian(pixels.astype(accumulation_type(pixels.dtype)), view.border)
        shares = jnp.broadcast_to(view.shares[IMAGE], (*pixels.shape[:2], 1))
        shares = at_laplacian(shares, view.border)
        return {
            # by rows first: sums of fewer numbers are more exact
            "products": jnp.sum(
                jnp.einsum("hwc,hwd->hcd", shares * fine, fine, precision=_EXACTLY), axis=0
            ),
            "share": jnp.sum(shares),
        }

    def aim(self, measured: Parts) -> Array:
        """The symmetric A^−½: other roots turn with eigenvectors of values next to equal."""
        values, vectors = jnp.linalg.eigh(_moments(measured))
        scaled = vectors / jnp.sqrt(jnp.maximum(values, _ROUNDING))[None]
        return jnp.matmul(scaled, vectors.T, precision=_EXACTLY)

    def distance(self, found: Parts, wanted: Array) -> Parts:
        half = jnp.matmul(wanted.T, _moments(found), precision=_EXACTLY)
        of_style = jnp.matmul(half, wanted, precision=_EXACTLY)  # 1 is the style's own
        middle = _log_det((jnp.eye(3, dtype=of_style.dtype) + of_style) / 2)
        return {"all": 4 / 3 * (middle - _log_det(of_style) / 2)}

    def scale(self, nothing: Parts, wanted: Array, shapes: Mapping[str, tuple[int, ...]]) -> Parts:
        return {"all": jnp.ones((), wanted.dtype)}


def grain(weight: Any = 1.0) -> Grain:
    """How far the strength of the finest detail, in each colour, is from the style's.

    Args:
        weight: What the term counts.

    Example:
        >>> loss = content() + 20 * style() + 0.1 * grain()
    """
    return Grain(weight=weight)


def _moments(measured: Parts) -> Array:
    mean = measured["products"] / jnp.maximum(measured["share"], TINY)
    least = _ROUNDING + _RELATIVE * jnp.trace(mean)
    return mean + least * jnp.eye(3, dtype=mean.dtype)


def _log_det(moments: Array) -> Array:
    """Of (3, 3), by its pivots: a sum of large products would leave only rounding.

    Written out, since a solver's call for nine numbers takes longer, on a GPU above all.
    """
    first = moments[0, 0]
    below, beside = moments[1, 0] / first, moments[2, 0] / first
    second = moments[1, 1] - below * moments[1, 0]
    last = moments[2, 1] - beside * moments[1, 0]
    third = moments[2, 2] - beside * moments[2, 0] - last / second * last
    return jnp.log(first) + jnp.log(second) + jnp.log(third)
