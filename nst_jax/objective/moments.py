"""Style losses of the features' mean and covariance: all that a Gaussian has.

With f a position's N channels, μ = E f and Σ = E ffᵀ − μμᵀ, and μ', Σ' those of the style:

============  =============================================
covariance    ‖μμᵀ − μ'μ'ᵀ‖² + ‖Σ − Σ'‖²
batch_norm    Σ_c (μ_c − μ'_c)² + (σ_c − σ'_c)², σ² = diag Σ
wasserstein   ‖μ − μ'‖² + tr Σ + tr Σ' − 2 tr (ΣΣ')^½
============  =============================================

A Gram matrix, Σ + μμᵀ, is the same for many pairs of μ and Σ, so a picture may trade contrast for
brightness under it. Several styles are mixed as if their positions were of one image.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from nst_jax.config import STYLE_LAYERS, Precision
from nst_jax.dtypes import accumulation_type
from nst_jax.objective.bures import invertible_covariance, shared_spread
from nst_jax.objective.statistics import mean_products
from nst_jax.objective.term_class import static, term
from nst_jax.objective.terms import TINY, Fields, Parts, Term
from nst_jax.objective.views import View

Moments = Mapping[str, Array]
"""The mean of a layer, (channels,), and its second moments about 0."""


def _moments(view: View, layer: str, precision: Precision) -> Moments:
    features, shares = view.features[layer], view.shares[layer]
    return {"mean": _mean(features, shares), "second": mean_products(features, shares, precision)}


def _mean(values: Array, shares: Array) -> Array:
    values = values.astype(accumulation_type(values.dtype))
    return (
        shares * jnp.sum(values, (0, 1))
        if jnp.ndim(shares) == 0
        else jnp.sum(shares * values, (0, 1))
    )


def _square(values: Array) -> Array:
    return jnp.sum(jnp.square(values))


@term
class _OfMoments(Term):
    """A style loss of which each layer is a part."""

    layers: tuple[str, ...] = static(STYLE_LAYERS)

    @classmethod
    def default_name(cls) -> str:
        return "style"

    def distance(self, found: Mapping[str, Moments], wanted: Mapping[str, Moments]) -> Parts:
        return {layer: self._between(found[layer], wanted[layer]) for layer in self.layers}

    def _between(self, found: Moments, wanted: Moments) -> Array:
        raise NotImplementedError


@term
class Covariance(_OfMoments):
    """How far mean and covariance of the features are from the style's, at each layer.

    ‖μμᵀ − μ'μ'ᵀ‖² + ‖Σ − Σ'‖²: the summands of Gram matrices, neither of which makes up for the
    other. Its unit is theirs, ‖Σ' + μ'μ'ᵀ‖², so that it is at least half of their distance.

    References:
        Yeh, Tang, Bhattad, Zou and Forsyth, "Improving style transfer with calibrated metrics"
        (WACV 2020), who find covariances better than Gram matrices; they leave the mean out.
    """

    def measure(self, view: View, fields: Fields) -> dict[str, Moments]:
        return {layer: _moments(view, layer, view.precision) for layer in self.layers}

    def scale(
        self, nothing: Any, wanted: Mapping[str, Moments], shapes: Mapping[str, tuple[int, ...]]
    ) -> Parts:
        return {
            layer: 1 / jnp.maximum(_square(wanted[layer]["second"]), TINY) for layer in self.layers
        }

    def _between(self, found: Moments, wanted: Moments) -> Array:
        of_means = jnp.outer(found["mean"], found["mean"]) - jnp.outer(
            wanted["mean"], wanted["mean"]
        )
        return _square(of_means) + _square(found["second"] - wanted["second"] - of_means)


@term
class BatchNorm(_OfMoments):
    """How far each channel's mean and standard deviation are from the style's, at each layer.

    Σ_c (μ_c − μ'_c)² + (σ_c − σ'_c)²

    References:
        Li, Wang, Liu and Hou, "Demystifying neural style transfer" (IJCAI 2017), section 4.2.
    """

    def measure(self, view: View, fields: Fields) -> dict[str, Moments]:
        found = {}
        for layer in self.layers:
            features = view.features[layer]
            features = features.astype(accumulation_type(features.dtype))
            shares = view.shares[layer]
            found[layer] = {
                "mean": _mean(features, shares),
                "second": _mean(jnp.square(features), shares),
            }
        return found

    def _between(self, found: Moments, wanted: Moments) -> Array:
        # A root has no derivative at 0, where channels are that nothing excites.
        least = 1e-6 * jnp.mean(wanted["second"]) + TINY
        deviation = lambda moments: jnp.sqrt(
            jnp.maximum(moments["second"] - jnp.square(moments["mean"]), 0) + least
        )
        return _square(found["mean"] - wanted["mean"]) + _square(
            deviation(found) - deviation(wanted)
        )


@term
class Wasserstein(_OfMoments):
    """The cost of moving Gaussians of the features onto the style's, at each layer.

    W₂² = ‖μ − μ'‖² + tr Σ + tr Σ' − 2 tr (ΣΣ')^½, a hundredth of the mean second moment added to
    the diagonals of both Σ, so that they have inverses.

    References:
        Olkin and Pukelsheim, "The distance between two random vectors with given dispersion
        matrices" (1982). Katherine Crowson's style-transfer-pytorch lowers it by an iteration on
        Σ'^½ΣΣ'^½ that loses small eigenvalues; `bures` says what is done here.
    """

    def measure(self, view: View, fields: Fields) -> dict[str, Moments]:
        # the difference of second moments and squares of means loses digits that TF32 has not
        return {layer: _moments(view, layer, "highest") for layer in self.layers}

    def aim(self, measured: Mapping[str, Moments]) -> dict[str, Moments]:
        found = {}
        for layer, moments in measured.items():
            covariance = invertible_covariance(**moments)
            found[layer] = {
                "mean": moments["mean"],
                "trace": jnp.trace(covariance),
                "factor": jnp.linalg.cholesky(covariance),
            }
        return found

    def _between(self, found: Moments, wanted: Moments) -> Array:
        covariance = invertible_covariance(**found)
        spread = jnp.trace(covariance) + wanted["trace"]
        common = shared_spread(covariance, wanted["factor"])
        return _square(found["mean"] - wanted["mean"]) + spread - 2 * common
