"""The image's features and Gram matrices, of the whole image or of what its tiles add up to."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from nst_jax.config import TransferConfig
from nst_jax.dtypes import accumulation_type
from nst_jax.network.vgg import Params, features, features_shapes
from nst_jax.objective.losses import gram_matrix
from nst_jax.objective.tiles import Tiles


def configured_features(params: Params, image: Array, layers: Sequence[str], config: TransferConfig) -> dict[str, Array]:
    """`features` as `config` wants them computed."""
    return features(params, image, layers, config.pooling, config.precision)


def features_and_grams(
    params: Params,
    image: Float[Array | np.ndarray, "height width 3"],
    content_layers: Sequence[str],
    style_layers: Sequence[str],
    config: TransferConfig,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """What `features` finds at the content layers, and the Gram matrices at the style layers; in tiles if `config` names their size."""
    image = jnp.asarray(image)
    layers = (*content_layers, *style_layers)
    tiles = Tiles(image.shape, config.tile, params, layers) if config.tile and layers else None
    if tiles is None or tiles.is_one:
        found = configured_features(params, image, layers, config)
        return {layer: found[layer] for layer in content_layers}, {layer: gram_matrix(found[layer]) for layer in style_layers}
    shapes = features_shapes(params, image.shape, layers)

    def add(carry: Any, place: Array) -> tuple[Any, None]:
        contents, grams = carry
        found = configured_features(params, tiles.patch(image, place), layers, config)
        contents = {layer: tiles.put(whole, found[layer], layer, place) for layer, whole in contents.items()}
        grams = {layer: gram + tiles.mean_products(found[layer], layer, place) for layer, gram in grams.items()}
        return (contents, grams), None

    kind = jnp.bfloat16 if config.precision == "bfloat16" else accumulation_type(image.dtype)
    start = (
        {layer: jnp.zeros(shapes[layer], kind) for layer in content_layers},
        {layer: jnp.zeros(2 * shapes[layer][2:], accumulation_type(kind)) for layer in style_layers},
    )
    return lax.scan(add, start, tiles.places)[0]
