"""The matting energy: colours may change, but alike wherever the photograph's are alike.

With I the photograph's nine pixels of a 3 × 3 window and v a channel of the picture's, both less
their means, it is min_a |v − Ia|² + ε|a|² = |v|² − |Qᵀv|², summed over channels, where Q, 9 × 3,
has the range of I. Summed over windows it is vᵀLv with Levin's matting Laplacian L, of which no
matrix is made.
"""

from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from nst_jax.network.borders import pad, wraps
from nst_jax.objective.term_class import static, term
from nst_jax.objective.terms import Fields, Parts, Source, Term
from nst_jax.objective.tiles import IMAGE
from nst_jax.objective.views import View

_EPSILON = 1e-7
_LEAST_VARIANCE = 1e-6
"""Of a window's nine pixels, summed: below, the photograph has no structure to keep, nor the term
anything to ask for."""


@term
class Matting(Term):
    """The share of the picture's local variance that no affine map of the photograph's colours has.

    Σ_windows vᵀ(v − QQᵀv) / Σ_windows |I|², of the windows that lie within the image, or of those
    over the seam, too, where it wraps.

    References:
        Levin, Lischinski and Weiss, "A closed-form solution to natural image matting" (2008),
        equation 12. Luan, Paris, Shechtman and Bala, "Deep photo style transfer" (CVPR 2017),
        equation 3.
    """

    reach: ClassVar[int] = 1

    layers: tuple[str, ...] = static((IMAGE,))
    source: Source = static("content")

    def fields(self, view: View) -> Fields:
        return {IMAGE: _basis(_windows(view))}

    def measure(self, view: View, fields: Fields) -> dict[str, Array]:
        windows, basis = _windows(view), fields[IMAGE]
        shares = view.shares[IMAGE]
        mean = lambda each: (
            shares * jnp.sum(each) if jnp.ndim(shares) == 0 else jnp.sum(shares[..., 0] * each)
        )
        explained = jnp.einsum("hwpk,hwqk,hwqc->hwpc", basis, basis, windows)
        return {
            "missing": mean(jnp.sum(windows * (windows - explained), (-1, -2))),
            "variance": mean(jnp.sum(jnp.square(windows), (-1, -2))),
        }

    def aim(self, measured: Mapping[str, Array]) -> Array:
        return measured["variance"]

    def distance(self, found: Mapping[str, Array], wanted: Array) -> Parts:
        return {"all": found["missing"] / jnp.maximum(wanted, _LEAST_VARIANCE)}

    def scale(
        self, nothing: Mapping[str, Array], wanted: Array, shapes: Mapping[str, tuple[int, ...]]
    ) -> Parts:
        return {"all": jnp.where(wanted < _LEAST_VARIANCE, 0, jnp.ones_like(wanted))}


def _windows(view: View) -> Array:
    """The window around each pixel, its mean taken off, (height, width, 9, 3).

    Those of the outermost pixels are 0, except where the image wraps.
    """
    image, (rows, columns) = view.features[IMAGE], map(int, wraps(view.border))
    if rows or columns:
        image = pad(image, view.border, ((rows, rows), (columns, columns)))
    outermost = [(1 - own, 1 - own) for own in (rows, columns)]
    return jnp.pad(_centred(image), (*outermost, (0, 0), (0, 0)))


def _centred(image: Array) -> Array:
    height, width, _ = image.shape
    pixels = [
        image[row : height - 2 + row, column : width - 2 + column]
        for row in range(3)
        for column in range(3)
    ]
    windows = jnp.stack(pixels, 2)
    return windows - jnp.mean(windows, 2, keepdims=True)


def _basis(windows: Array) -> Array:
    """Q with QQᵀ = I (IᵀI + ε)⁻¹ Iᵀ: the upper part of the orthogonal basis of I above √ε.

    By Gram–Schmidt, twice, because IᵀI would lose float32's digits in flat windows.
    """
    size = windows.shape[-1]
    below = jnp.broadcast_to(
        _EPSILON**0.5 * jnp.eye(size, dtype=windows.dtype), (*windows.shape[:2], size, size)
    )
    columns = jnp.moveaxis(jnp.concatenate([windows, below], 2), -1, 0)
    found: list[Array] = []
    for column in columns:
        for other in (*found, *found):
            column = column - jnp.sum(column * other, -1, keepdims=True) * other
        found.append(column / jnp.sqrt(jnp.sum(jnp.square(column), -1, keepdims=True)))
    return jnp.stack(found, -1)[:, :, : windows.shape[2]]
