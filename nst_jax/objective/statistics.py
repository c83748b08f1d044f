"""The terms of Gatys, Ecker and Bethge (CVPR 2016), and total variation.

Coefficients of each scaling, for distances that are means over positions or between Gram matrices
that are; M positions, N channels, H and W the image's sides:

========  ============  ==================  ===============
scaling   content       style               total variation
========  ============  ==================  ===============
relative  M / ‖P‖²      1 / ‖A‖²            1
paper     M / 2         1 / (4 N²)          1
mean      1 / N         1 / N²              1
notebook  M             M² / (36 (H W)²)    255^2.5 · H W
========  ============  ==================  ===============

The Keras notebook takes differences of 0–255 pixels, whence 255.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from nst_jax.config import STYLE_LAYERS, Precision, Scaling
from nst_jax.dtypes import accumulation_type
from nst_jax.network.borders import pad, wraps
from nst_jax.objective.losses import gram_matrix, style_loss, variation, weighted_gram_matrix
from nst_jax.objective.term_class import static, term
from nst_jax.objective.terms import TINY, Fields, Parts, Source, Term
from nst_jax.objective.tiles import IMAGE
from nst_jax.objective.views import View


@term
class Content(Term):
    """Mean squared distance between features, at each layer: Σ_positions share · ‖F − P‖².

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equation 1.
    """

    layers: tuple[str, ...] = static(("conv4_2",))
    source: Source = static("content")
    scaling: Scaling = static("relative")

    def fields(self, view: View) -> Fields:
        return {layer: view.features[layer] for layer in self.layers}

    def measure(self, view: View, fields: Fields) -> Parts:
        return {
            layer: _mean_square(view.features[layer] - fields[layer], view.shares[layer])
            for layer in self.layers
        }

    def aim(self, measured: Any) -> Any:
        return ()  # the fields say it all

    def distance(self, found: Parts, wanted: Any) -> Parts:
        return found

    def scale(self, nothing: Parts, wanted: Any, shapes: Mapping[str, tuple[int, ...]]) -> Parts:
        found = {}
        for layer in self.layers:
            height, width, channels = shapes[layer]
            num_positions = height * width
            by_scaling = {
                "paper": num_positions / 2,
                "mean": 1 / channels,
                "notebook": num_positions,
            }
            relative = self.scaling == "relative"
            found[layer] = (
                1 / jnp.maximum(nothing[layer], TINY)
                if relative
                else jnp.asarray(by_scaling[self.scaling], nothing[layer].dtype)
            )
        return found


def _mean_square(missing: Array, shares: Any) -> Array:
    squares = jnp.square(missing.astype(accumulation_type(missing.dtype)))
    return shares * jnp.sum(squares) if jnp.ndim(shares) == 0 else jnp.sum(shares * squares)


@term
class Gram(Term):
    """Squared distance between Gram matrices, at each layer: ‖G − A‖².

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equations 3 to 5.
    """

    layers: tuple[str, ...] = static(STYLE_LAYERS)
    scaling: Scaling = static("relative")

    @classmethod
    def default_name(cls) -> str:
        return "style"

    def measure(self, view: View, fields: Fields) -> Parts:
        return {
            layer: mean_products(view.features[layer], view.shares[layer], view.precision)
            for layer in self.layers
        }

    def distance(self, found: Parts, wanted: Parts) -> Parts:
        return {layer: style_loss(found[layer], wanted[layer]) for layer in self.layers}

    def scale(self, nothing: Any, wanted: Parts, shapes: Mapping[str, tuple[int, ...]]) -> Parts:
        found = {}
        for layer in self.layers:
            height, width, channels = shapes[layer]
            pixels = shapes[IMAGE][0] * shapes[IMAGE][1]
            by_scaling = {
                "paper": 1 / (4 * channels**2),
                "mean": 1 / channels**2,
                "notebook": (height * width / pixels) ** 2 / 36,
            }
            squares = jnp.sum(jnp.square(wanted[layer]))
            relative = self.scaling == "relative"
            found[layer] = (
                1 / jnp.maximum(squares, TINY)
                if relative
                else jnp.asarray(by_scaling[self.scaling], squares.dtype)
            )
        return found


def mean_products(features: Array, shares: Any, precision: Precision) -> Array:
    """A layer's Gram matrix, its positions weighed by their shares."""
    return (
        gram_matrix(features, precision)
        if jnp.ndim(shares) == 0
        else weighted_gram_matrix(precision, features, shares)
    )


@term
class TotalVariation(Term):
    """Mean roughness of the pixels, over the seam of a picture that wraps. Aims at no image.

    References:
        Mahendran and Vedaldi (CVPR 2015), section 3.2, with β = 2.5.
    """

    reach: ClassVar[int] = 1

    layers: tuple[str, ...] = static((IMAGE,))
    source: Source = static("content")
    scaling: Scaling = static("relative")

    def measure(self, view: View, fields: Fields) -> Array:
        pixels, shares = view.features[IMAGE], view.shares[IMAGE]
        if any(wraps(view.border)):  # there the last row or column has neighbours, too
            rows, columns = map(int, wraps(view.border))
            pixels = pad(pixels, view.border, ((0, rows), (0, columns)))
        rough = variation(pixels)
        shares = shares if jnp.ndim(shares) == 0 else shares[: rough.shape[0], : rough.shape[1]]
        return shares * jnp.sum(rough) if jnp.ndim(shares) == 0 else jnp.sum(shares * rough)

    def aim(self, measured: Any) -> Any:
        return ()

    def distance(self, found: Array, wanted: Any) -> Parts:
        return {"all": found}

    def scale(self, nothing: Array, wanted: Any, shapes: Mapping[str, tuple[int, ...]]) -> Parts:
        height, width, _ = shapes[IMAGE]
        return {
            "all": jnp.asarray(
                255**2.5 * height * width if self.scaling == "notebook" else 1.0, nothing.dtype
            )
        }
