"""The objective: how far an image is from one image's content and another's style.

L = α Σ_l u_l c_l ‖F_l − P_l‖² + β Σ_l w_l s_l ‖G_l − A_l‖² + γ t TV

α, β, γ and the weights u_l, w_l of the layers are `LossWeights`; c_l, s_l and t are the scaling's coefficients, computed once with the targets.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float

from nst_jax.config import ConfigError, TransferConfig
from nst_jax.network.vgg import Params
from nst_jax.objective.losses import content_loss, gram_matrix, style_loss, total_variation
from nst_jax.objective.statistics import configured_features
from nst_jax.objective.targets import Scalar, Targets, check_shapes


@struct.dataclass
class LossWeights:
    """What each part of the loss counts.

    Every field is a number, or an array with a leading axis of lanes for `stylize_batch`.

    Args:
        content: α of the paper.
        style: β of the paper.
        total_variation: Weight of the image's roughness.
        content_layers: Weight u_l of each content layer by name; None weighs all layers alike, summing to 1.
        style_layers: Weight w_l of each style layer by name; None weighs all layers alike, summing to 1 (the paper's 1/5).

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equations 5 and 7.
    """

    content: Any = 1.0
    style: Any = 20.0
    total_variation: Any = 0.0
    content_layers: Mapping[str, Any] | None = None
    style_layers: Mapping[str, Any] | None = None


@struct.dataclass
class LossTerms:
    """The loss in parts, each scaled but not yet weighted, so that runs with different weights compare.

    With `relative` scaling each is the fraction still missing. In a history, every field has the axes of its losses.

    Args:
        content: c_l ‖F_l − P_l‖² by layer.
        style: s_l ‖G_l − A_l‖² by layer.
        total_variation: t TV.
    """

    content: dict[str, Any]
    style: dict[str, Any]
    total_variation: Any


def total_loss(
    params: Params,
    image: Float[Array | np.ndarray, "height width 3"],
    targets: Targets,
    weights: LossWeights,
    config: TransferConfig,
) -> tuple[Scalar, LossTerms]:
    """The weighted sum that the descent lowers, and its parts.

    Args:
        params: The network's parameters.
        image: The generated image, sRGB in [0, 1] or somewhat beyond.
        targets: From `make_targets`, with the same `config`.
        weights: What each part counts.
        config: Names the layers and the pooling.

    Returns:
        The loss, and its unweighted parts.

    Raises:
        ConfigError: `weights` names other layers than `config`, or the image has another shape than the content image.

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equation 7.
    """
    found = configured_features(params, jnp.asarray(image), config.content_layers + config.style_layers, config)
    check_shapes({layer: found[layer].shape for layer in targets.content}, targets)
    terms = LossTerms(
        content={layer: targets.content_scale[layer] * content_loss(found[layer], targets.content[layer]) for layer in config.content_layers},
        style={
            layer: targets.style_scale[layer] * style_loss(gram_matrix(found[layer]), targets.style[layer]) for layer in config.style_layers
        },
        total_variation=targets.total_variation_scale * total_variation(image),
    )
    return weighted_sum(terms, weights, config), terms


def weighted_sum(terms: LossTerms, weights: LossWeights, config: TransferConfig) -> Scalar:
    """The loss that the terms come to.

    Raises:
        ConfigError: `weights` names other layers than `config`.
    """
    content_weights = layer_weights("content_layers", weights.content_layers, config.content_layers)
    style_weights = layer_weights("style_layers", weights.style_layers, config.style_layers)
    return (
        weights.content * sum(content_weights[layer] * term for layer, term in terms.content.items())
        + weights.style * sum(style_weights[layer] * term for layer, term in terms.style.items())
        + weights.total_variation * terms.total_variation
    )


def layer_weights(name: str, given: Mapping[str, Any] | None, layers: Sequence[str]) -> Mapping[str, Any]:
    """The weight of each layer: those given, or equal ones that sum to 1.

    Raises:
        ConfigError: `given` lacks one of `layers`, or has others.
    """
    if given is None:
        return {layer: 1 / len(layers) for layer in layers}
    if set(given) != set(layers):
        raise ConfigError(f"weights.{name} weighs {', '.join(given)}, but the layers are {', '.join(layers)}; name exactly those")
    return given
