"""What each term of the default loss counts, as fields of a loss and as options."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from nst_jax.checks import ConfigError
from nst_jax.layer_names import layer_name
from nst_jax.pytrees import pytree


@pytree
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
        neighbours: Weight of how far the features of each place are from the most similar of the
            style, whatever its scaling, at conv3_1 and conv4_1, whichever are the style's layers;
            None, or no style layers, leaves that term out.

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
    neighbours: Any = None

    def replace(self, **changes: Any) -> "LossWeights":
        """The weights with some changed, such as `weights.replace(style=80.0)`."""
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TermWeights:
    """What each term of the default loss counts: plain numbers, by the options' names.

    Args:
        content_weight: What the content counts; only the ratios of the weights matter.
        style_weight: What the style counts.
        tv_weight: What smoothness (total variation) counts.
        edge_weight: What it counts that outlines are the content's; 0 leaves them to the rest.
        matting_weight: What it counts that colours change alike wherever the content's are alike,
            so that a photograph in the style of another stays one (the preset photorealistic).
        grain_weight: What it counts that the finest detail is as strong in each colour as the
            style's, without coloured speckles, whatever the style counts; 0 leaves it to the rest.
        neighbours_weight: What it counts that each place looks like some place of the style, or of
            one of several styles; 2 in the preset best, 0 leaves it to the rest.
    """

    content_weight: float = 1.0
    style_weight: float = 20.0
    tv_weight: float = 0.0
    edge_weight: float = 0.0
    matting_weight: float = 0.0
    grain_weight: float = 0.1
    neighbours_weight: float = 0.0

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
    "neighbours": "neighbours_weight",
}
"""For each term, its option."""

_OPTIONAL = ("edges", "matting", "grain", "neighbours")
"""The terms that a weight of 0 leaves out."""


def as_options(weights: LossWeights) -> TermWeights:
    """The options that say such weights, whose weights by layer are said apart."""
    values = {term: getattr(weights, term) for term in _OPTIONS}
    values |= {term: 0 for term in _OPTIONAL if values[term] is None}
    return TermWeights(**{_OPTIONS[term]: float(value) for term, value in values.items()})


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
    for name in _OPTIONS:
        if name not in _OPTIONAL and weights and getattr(weights, name) is None:
            raise ConfigError(f"weights.{name} is None; give a number, 0 to leave it out")


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
    if any(weight is None for weight in given.values()):
        raise ConfigError(f"a weight of weights.{name} is None; give a number, 0 to leave it out")
    return {layer: given[layer] for layer in layers}
