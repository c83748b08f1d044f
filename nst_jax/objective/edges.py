"""The edge term: where the picture's outlines are, against the content's.

It sees the image shrunk, so that strokes finer than its squares are free and outlines are not.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from nst_jax.checks import ConfigError
from nst_jax.config import Scaling
from nst_jax.dtypes import accumulation_type
from nst_jax.objective.laplacian import at_laplacian, laplacian
from nst_jax.objective.term_class import static, term
from nst_jax.objective.terms import Fields, Parts, Source, Term
from nst_jax.objective.tiles import IMAGE
from nst_jax.objective.views import View

_POOL_SIZES = (1, 2, 4, 8, 16, 32, 64)  # tiles begin on multiples of 64 pixels
_ROUNDING = 2 * 20 * 3 / 12 / 255**2
"""Twice the mean square of the edges, at squares of one pixel, that rounding to 8 bits makes."""


@term
class Edges(Term):
    """Mean squared distance between Laplacians: Σ_squares share · (Δ x̄ − Δ p̄)².

    x̄ is the sum of the channels, averaged over squares of `pool_size` pixels a side; Δ the kernel
    (0 −1 0, −1 4 −1, 0 −1 0) at every square with four neighbours, which all have along a side
    that wraps. Another side of fewer than three squares has no edges. Pixels at the bottom and the
    right that make no whole square are left out, of a side that wraps, too.

    Coefficients of each scaling, with E the same mean of (Δ p̄)², 0 where that is no more than the
    rounding of 8 bits makes, and M squares:
    relative 1 / E, paper M / 2, mean 1, notebook 255² M.

    References:
        Li, Xu, Nie and Chua, "Laplacian-steered neural style transfer" (ACM Multimedia 2017), with
        means for sums.
    """

    layers: tuple[str, ...] = static((IMAGE,))
    source: Source = static("content")
    pool_size: int = static(4)
    scaling: Scaling = static("relative")

    # A square reaches a square's side less one beyond its first pixel, its neighbour one more, and
    # a patch may end within a third.
    @property
    def reach(self) -> int:  # type: ignore[override]
        return 3 * self.pool_size

    def fields(self, view: View) -> Fields:
        return {IMAGE: view.features[IMAGE]}

    def measure(self, view: View, fields: Fields) -> Array:
        missing = view.features[IMAGE] - fields[IMAGE]
        missing = missing.astype(accumulation_type(missing.dtype)).sum(-1, keepdims=True)
        found = laplacian(_pooled(missing, self.pool_size), view.border)
        shares, area = view.shares[IMAGE], self.pool_size**2
        if jnp.ndim(shares) == 0:
            return area * shares * jnp.sum(jnp.square(found))
        of_squares = at_laplacian(area * _pooled(shares, self.pool_size), view.border)
        return jnp.sum(of_squares * jnp.square(found))

    def aim(self, measured: Any) -> Any:
        return ()  # the field says it all

    def distance(self, found: Array, wanted: Any) -> Parts:
        return {"all": found}

    def scale(self, nothing: Array, wanted: Any, shapes: Mapping[str, tuple[int, ...]]) -> Parts:
        height, width = (side // self.pool_size for side in shapes[IMAGE][:2])
        if self.scaling == "relative":
            has_edges = nothing > _ROUNDING / self.pool_size**2
            return {"all": jnp.where(has_edges, 1 / jnp.where(has_edges, nothing, 1), 0)}
        by_scaling = {"paper": height * width / 2, "mean": 1, "notebook": 255**2 * height * width}
        return {"all": jnp.asarray(by_scaling[self.scaling], nothing.dtype)}


def edges(weight: Any = 1.0, pool_size: int = 4, scaling: Scaling = "relative") -> Edges:
    """How far the outlines are from the content image's.

    Args:
        weight: What the term counts.
        pool_size: Side in pixels of the squares whose means are compared, a power of two up to 64;
            outlines of about that width and more are kept.
        scaling: As in `TransferConfig`; see `Edges` for the coefficients.

    Raises:
        ConfigError: There are no such squares.

    Example:
        >>> loss = content() + 20 * style() + 0.5 * edges()
        >>> both = Loss({**loss, "coarse_edges": edges(0.5, pool_size=16)})

    References:
        Li, Xu, Nie and Chua, "Laplacian-steered neural style transfer" (ACM Multimedia 2017); its
        squares are of 4 pixels, or of 4 and of 16.
    """
    if pool_size not in _POOL_SIZES:
        raise ConfigError(
            f"pool_size is {pool_size!r}; it must be one of {', '.join(map(str, _POOL_SIZES))}"
        )
    return Edges(weight=weight, pool_size=pool_size, scaling=scaling)


def _pooled(image: Array, size: int) -> Array:
    """Means over squares; what is left over at the bottom and the right is left out."""
    height, width = (side // size for side in image.shape[:2])
    squares = image[: height * size, : width * size].reshape(height, size, width, size, -1)
    return squares.mean((1, 3))
