"""The objective: how far an image is from one image's content and another's style.

L = α Σ_l u_l c_l ‖F_l − P_l‖² + β Σ_l w_l s_l ‖G_l − A_l‖² + γ t TV

α, β, γ and the weights u_l, w_l of the layers are `LossWeights`; c_l, s_l and t are the scaling's coefficients, computed once with the targets.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float

from nst_jax.config import ConfigError, Scaling, TransferConfig
from nst_jax.dtypes import accumulation_type
from nst_jax.losses import content_loss, gram_matrix, style_loss, total_variation
from nst_jax.pixels import check_image
from nst_jax.tiles import configured_features, features_and_grams
from nst_jax.vgg import Params, features_shapes

Scalar = Float[Array, ""]


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
class Targets:
    """What the descent aims at, and the coefficients that make its distances comparable.

    Args:
        content: The content image's activations by layer, (height, width, channels).
        style: The style image's Gram matrices by layer, (channels, channels).
        content_scale: c_l by layer, scalars.
        style_scale: s_l by layer, for Gram matrices that are means.
        total_variation_scale: t.
    """

    content: dict[str, Any]
    style: dict[str, Any]
    content_scale: dict[str, Any]
    style_scale: dict[str, Any]
    total_variation_scale: Any


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


def make_targets(
    params: Params,
    content: Float[Array | np.ndarray, "height width 3"],
    style: Float[Array | np.ndarray, "style_height style_width 3"],
    config: TransferConfig,
) -> Targets:
    """Computes once what does not change during the descent.

    Args:
        params: The network's parameters.
        content: Content image, sRGB in [0, 1]; the generated image has its shape.
        style: Style image, of any size the network takes.
        config: Names the layers, the pooling and the scaling.

    Returns:
        The targets, and the coefficients of `config.scaling`:

        ========  ==============  =====================================  ==============
        scaling   c_l             s_l (on Gram matrices that are means)  t
        ========  ==============  =====================================  ==============
        relative  1 / ‖P_l‖²      1 / ‖A_l‖²                             1 / (H W)
        paper     1 / 2           1 / (4 N²)                             1 / (H W)
        mean      1 / (N M)       1 / N²                                 1 / (H W)
        notebook  1               M² / (4 · 3² · (H W)²)                 255^2.5
        ========  ==============  =====================================  ==============

        M and N are those of the generated image's layer, H and W its sides. The Keras notebook takes differences of 0–255 pixels, whence 255.

    Raises:
        ConfigError: A layer is unknown, an image too small, or no floating-point sRGB in [0, 1].

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equations 1 and 4 for `paper`, whose sums over M positions are means here.
    """
    check_image("content", content)
    check_image("style", style)
    return _make_targets(params, content, style, config)


@partial(jax.jit, static_argnums=3)
def _make_targets(params, content, style, config) -> Targets:
    content_layers, style_layers, scaling = config.content_layers, config.style_layers, config.scaling
    content_features, _ = features_and_grams(params, content, content_layers, (), config)
    _, grams = features_and_grams(params, style, (), style_layers, config)
    generated = features_shapes(params, content.shape, style_layers)
    pixels = content.shape[0] * content.shape[1]
    return Targets(
        content=content_features,
        style=grams,
        content_scale={layer: _content_scale(scaling, content_features[layer]) for layer in content_layers},
        style_scale={layer: _style_scale(scaling, grams[layer], generated[layer], pixels) for layer in style_layers},
        total_variation_scale=jnp.asarray(255**2.5 if scaling == "notebook" else 1 / pixels, accumulation_type(content.dtype)),
    )


def _content_scale(scaling: Scaling, content_features: Array) -> Array:
    kind = accumulation_type(content_features.dtype)
    if scaling == "relative":
        # A layer that no content reaches (a black image through dead filters) has nothing to keep: any finite coefficient will do.
        return 1 / jnp.maximum(jnp.sum(jnp.square(content_features.astype(kind))), _TINY)
    return jnp.asarray({"paper": 0.5, "mean": 1 / content_features.size, "notebook": 1.0}[scaling], kind)


def _style_scale(scaling: Scaling, style_gram: Array, generated_shape: tuple[int, ...], pixels: int) -> Array:
    height, width, channels = generated_shape
    if scaling == "relative":
        return 1 / jnp.maximum(jnp.sum(jnp.square(style_gram)), _TINY)
    by_scaling = {"paper": 1 / (4 * channels**2), "mean": 1 / channels**2, "notebook": (height * width / pixels) ** 2 / 36}
    return jnp.asarray(by_scaling[scaling], style_gram.dtype)


_TINY = 1e-30


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


def check_shapes(found: Mapping[str, tuple[int, ...]], targets: Targets) -> None:
    """Makes sure that the generated image's features, whose shapes are given by layer, are as large as the content image's.

    Raises:
        ConfigError: They are not.
    """
    for layer, shape in found.items():
        if shape != targets.content[layer].shape:
            raise ConfigError(
                f"the image's features at {layer} have shape {shape}, the content image's {targets.content[layer].shape}; "
                "both images must have the same height and width"
            )


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
