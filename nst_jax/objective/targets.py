"""What the descent aims at, computed once, and the coefficients of each scaling."""

from collections.abc import Mapping
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
from nst_jax.network.vgg import Params, features_shapes
from nst_jax.objective.statistics import features_and_grams
from nst_jax.pixels import check_image

Scalar = Float[Array, ""]


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
