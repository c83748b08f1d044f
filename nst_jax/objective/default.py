"""The loss that is lowered where none is given: the paper's two terms, and what helps them."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from nst_jax.checks import ConfigError, check_one_of, check_scaling, checked_mix
from nst_jax.config import STYLE_LAYERS, Scaling, StyleLoss, TransferConfig
from nst_jax.layer_names import layer_name
from nst_jax.objective.edges import Edges
from nst_jax.objective.grain import Grain
from nst_jax.objective.matting import Matting
from nst_jax.objective.moments import BatchNorm, Covariance, Wasserstein
from nst_jax.objective.neighbours import NearestNeighbours
from nst_jax.objective.similarity import SelfSimilarity
from nst_jax.objective.sliced import SlicedWasserstein
from nst_jax.objective.statistics import Content, Gram, TotalVariation
from nst_jax.objective.terms import Loss, Term
from nst_jax.objective.weights import LossWeights, check_weights, layer_weights

_MATCHED = ("conv3_1", "conv4_1")
"""Layers of strokes: finer detail is left to the style's statistics and the grain."""

_BEYOND_GRAM: Mapping[str, type[Term]] = {
    "covariance": Covariance,
    "batch_norm": BatchNorm,
    "wasserstein": Wasserstein,
    "sliced_wasserstein": SlicedWasserstein,
}


def content(
    layers: Sequence[str] = ("conv4_2",), weight: Any = 1.0, scaling: Scaling = "relative"
) -> Content:
    """How far the features are from the content image's.

    Args:
        layers: Layers at which they are compared.
        weight: What the term counts.
        scaling: As in `TransferConfig`.

    Example:
        >>> loss = content(("conv3_2",)) + 20 * style()
    """
    return Content(weight=weight, layers=_names(layers), scaling=scaling)


def style(
    layers: Sequence[str] = STYLE_LAYERS,
    weight: Any = 1.0,
    statistic: StyleLoss = "gram",
    scaling: Scaling = "relative",
    style_mix: Sequence[float] = (),
) -> Term:
    """How far a statistic of the features is from the style image's.

    Args:
        layers: Layers at which it is compared.
        weight: What the term counts.
        statistic: As `style_loss` in `TransferConfig`.
        scaling: As in `TransferConfig`; others than `"relative"` are of Gram matrices alone.
        style_mix: What each of several style images counts in it, in any unit; as the run says if
            empty.

    Raises:
        ConfigError: There is no such statistic, not in that scaling, or no such mixture.

    Example:
        >>> fine = style(("conv1_1", "conv2_1"), style_mix=(1, 0))  # strokes of the first
        >>> coarse = style(("conv3_1", "conv4_1"), style_mix=(0, 1))  # shapes of the second
        >>> loss = Loss({"content": content(), "fine": 20 * fine, "coarse": 20 * coarse})
        >>> stylize(params, photo, [first, second], config, loss=loss)

    References:
        Gatys et al., "Controlling perceptual factors in neural style transfer" (CVPR 2017), section
        6, which calls such mixtures of layers naive: their statistics depend on each other.
    """
    check_one_of("statistic", statistic, get_args(StyleLoss))
    check_scaling("statistic", statistic, scaling)
    mix = checked_mix("style_mix", style_mix)
    return _style_term(statistic, scaling, weight=weight, layers=_names(layers), style_mix=mix)


def _style_term(statistic: StyleLoss, scaling: Scaling, **fields: Any) -> Term:
    if statistic == "gram":
        return Gram(scaling=scaling, **fields)
    return _BEYOND_GRAM[statistic](**fields)


def _names(layers: Sequence[str]) -> tuple[str, ...]:
    # Text is refused with the loss.
    if isinstance(layers, str):
        return layers  # type: ignore[return-value]
    return tuple(map(layer_name, layers))


def default_loss(config: TransferConfig, weights: LossWeights | None = None) -> Loss:
    """The paper's loss, plus total variation, and whatever else of `LossWeights` has a weight.

    `config` says its layers and scaling, `weights` its weights.

    L = α Σ_l u_l c_l ‖F_l − P_l‖² + β Σ_l w_l s_l ‖G_l − A_l‖² + γ t TV + δ e ‖Δx̄ − Δp̄‖² + λ xᵀLx
      + η D(M, M_0) + κ Q

    α, β, γ, δ, λ, η, κ, u_l and w_l are `weights`; c_l, s_l, t and e are the coefficients of
    `config.scaling`; D, M and M_0 are as in `Grain`, which calls these G and A, and Q is the
    distance of `NearestNeighbours`.
    `config.style_loss` puts another distance in the place of ‖G_l − A_l‖², and
    `config.content_loss` in that of ‖F_l − P_l‖².

    Raises:
        ConfigError: `weights` weighs other layers than `config` names.

    Example:
        >>> list(default_loss(TransferConfig(), LossWeights(style=5.0)))
        ['content', 'style', 'total_variation', 'grain']

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equation 7.
    """
    check_weights(weights)
    weights = weights or LossWeights()
    scaling = config.scaling
    by_content = layer_weights("content_layers", weights.content_layers, config.content_layers)
    by_style = layer_weights("style_layers", weights.style_layers, config.style_layers)
    of_content = {
        "weight": weights.content,
        "part_weights": by_content,
        "layers": config.content_layers,
    }
    terms: dict[str, Term] = {
        "content": Content(**of_content, scaling=scaling)
        if config.content_loss == "features"
        else SelfSimilarity(**of_content),
        "style": _style_term(
            config.style_loss,
            scaling,
            weight=weights.style,
            part_weights=by_style,
            layers=config.style_layers,
        ),
        "total_variation": TotalVariation(
            weight=weights.total_variation, part_weights={"all": 1.0}, scaling=scaling
        ),
    }
    if weights.edges is not None:
        terms["edges"] = Edges(weight=weights.edges, part_weights={"all": 1.0}, scaling=scaling)
    if weights.matting is not None:
        terms["matting"] = Matting(weight=weights.matting, part_weights={"all": 1.0})
    if weights.grain is not None and config.style_layers:
        terms["grain"] = Grain(weight=weights.grain, part_weights={"all": 1.0})
    if weights.neighbours is not None and config.style_layers:
        equal = layer_weights("neighbours", None, _MATCHED)
        terms["neighbours"] = NearestNeighbours(
            weight=weights.neighbours, part_weights=equal, layers=_MATCHED
        )
    return Loss({name: term for name, term in terms.items() if term.layers})


def as_loss(loss: "Loss | Term | LossWeights | None", config: TransferConfig) -> Loss:
    """The loss that is meant: itself, one term, or the default one with such weights."""
    if not isinstance(loss, Loss | Term | LossWeights | None):
        raise ConfigError(
            f"the loss is {loss!r}; give a sum of terms, such as nst.content() + 20 * nst.style()"
        )
    if isinstance(loss, Term):
        return Loss({loss.default_name(): loss})
    return loss if isinstance(loss, Loss) else default_loss(config, loss)
