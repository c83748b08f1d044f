"""The loss that is lowered where none is given: the paper's two terms, and four of the pixels."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from flax import struct

from nst_jax.checks import ConfigError, check_one_of, check_scaling, checked_mix
from nst_jax.config import STYLE_LAYERS, Scaling, StyleLoss, TransferConfig
from nst_jax.layer_names import layer_name
from nst_jax.objective.edges import Edges
from nst_jax.objective.grain import Grain
from nst_jax.objective.matting import Matting
from nst_jax.objective.moments import BatchNorm, Covariance, Wasserstein
from nst_jax.objective.similarity import SelfSimilarity
from nst_jax.objective.sliced import SlicedWasserstein
from nst_jax.objective.statistics import Content, Gram, TotalVariation
from nst_jax.objective.terms import Loss, Term

_BEYOND_GRAM: Mapping[str, type[Term]] = {
    "covariance": Covariance,
    "batch_norm": BatchNorm,
    "wasserstein": Wasserstein,
    "sliced_wasserstein": SlicedWasserstein,
}


@struct.dataclass
class LossWeights:
    """What each part of the default loss counts.

    Every field is a number, or an array with a leading axis of lanes for `stylize_batch`.

    Args:
        content: α of the paper.
        style: β of the paper.
        total_variation: Weight of the image's roughness.
        content_layers: Weight u_l of each content layer by name; None weighs all layers alike,
            summing to 1.
        style_layers: Weight w_l of each style layer by name; None weighs all layers alike, summing
            to 1 (the paper's 1/5).
        edges: Weight of the distance between outlines; None leaves that term out.
        matting: Weight of the matting energy, of the picture's local variance what no affine map of
            the content's colours has; None leaves that term out.
        grain: Weight of the distance between the strengths of the finest detail in each colour,
            without which pictures have coloured speckles. It counts whatever the style does, but
            not without style layers; None leaves that term out. 0.1 is meant for losses of about 1,
            as of the scaling `relative`.

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equations 5 and 7.
    """

    content: Any = 1.0
    style: Any = 20.0
    total_variation: Any = 0.0
    content_layers: Mapping[str, Any] | None = None
    style_layers: Mapping[str, Any] | None = None
    edges: Any = None
    matting: Any = None
    grain: Any = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TermWeights:
    """What each term of the default loss counts: plain numbers, by the options' names.

    Args:
        content_weight: What the content counts; only the ratios of the weights matter.
        style_weight: What the style counts.
        tv_weight: What smoothness (total variation) counts.
        edge_weight: What it counts that outlines are the content's; 0 leaves them to the rest.
        matting_weight: What it counts that colours change alike wherever the content's are alike,
            so that a photograph in the style of another stays one (by --preset photorealistic).
        grain_weight: What it counts that the finest detail is as strong in each colour as the
            style's, without coloured speckles, whatever the style counts; 0 leaves it to the rest.
    """

    content_weight: float = 1.0
    style_weight: float = 20.0
    tv_weight: float = 0.0
    edge_weight: float = 0.0
    matting_weight: float = 0.0
    grain_weight: float = 0.1

    def loss_weights(
        self,
        content_layers: Mapping[str, Any] | None = None,
        style_layers: Mapping[str, Any] | None = None,
    ) -> LossWeights:
        """The weights of the loss that these say.

        Args:
            content_layers: As of `LossWeights`.
            style_layers: Likewise.

        Example:
            >>> weights = PRESETS["paper"].loss_weights()
            >>> weights.style
            1.0
        """
        values = {term: getattr(self, option) for term, option in _OPTIONS.items()}
        values |= {term: values[term] or None for term in _OPTIONAL}
        return LossWeights(**values, content_layers=content_layers, style_layers=style_layers)


_OPTIONS = {
    "content": "content_weight",
    "style": "style_weight",
    "total_variation": "tv_weight",
    "edges": "edge_weight",
    "matting": "matting_weight",
    "grain": "grain_weight",
}
"""For each term, its option."""

_OPTIONAL = ("edges", "matting", "grain")
"""The terms that a weight of 0 leaves out."""


def as_options(weights: LossWeights) -> TermWeights:
    """The options that say such weights, whose weights by layer are said apart."""
    values = {term: getattr(weights, term) for term in _OPTIONS}
    values |= {term: 0 for term in _OPTIONAL if values[term] is None}
    return TermWeights(**{_OPTIONS[term]: float(value) for term, value in values.items()})


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
    """The paper's loss, plus total variation, and edges, matting, grain where they have a weight.

    `config` says its layers and scaling, `weights` its weights.

    L = α Σ_l u_l c_l ‖F_l − P_l‖² + β Σ_l w_l s_l ‖G_l − A_l‖² + γ t TV + δ e ‖Δx̄ − Δp̄‖² + λ xᵀLx
      + η D(M, M_0)

    α, β, γ, δ, λ, η, u_l and w_l are `weights`; c_l, s_l, t and e are the coefficients of
    `config.scaling`; D, M and M_0 are as in `Grain`, which calls these G and A.
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


def check_weights(weights: object) -> None:
    """Makes sure that weights are those of the default loss, or none.

    Raises:
        ConfigError: They are something else.
    """
    if not isinstance(weights, LossWeights | None):
        raise ConfigError(
            f"weights is {weights!r}; give nst.LossWeights, such as "
            "nst.LossWeights(content=1.0, style=20.0)"
        )


def layer_weights(
    name: str, given: Mapping[str, Any] | None, layers: Sequence[str]
) -> dict[str, Any]:
    """The weight of each layer: those given, or equal ones that sum to 1.

    Raises:
        ConfigError: `given` lacks one of `layers`, or has others.
    """
    if given is None:
        return {layer: 1 / len(layers) for layer in layers}
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"weights.{name} is {given!r}; give a weight by layer, such as {{{layers[0]!r}: 1.0}}"
        )
    given = {layer_name(layer): weight for layer, weight in given.items()}
    if set(given) != set(layers):
        raise ConfigError(
            f"weights.{name} weighs {', '.join(given)}, but the layers are "
            f"{', '.join(layers)}; name exactly those"
        )
    return {layer: given[layer] for layer in layers}
