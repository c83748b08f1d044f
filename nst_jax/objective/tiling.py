"""The loss and its exact gradient in memory set by a tile, not by the image.

Gram matrices and content distances are sums over positions. A first pass over the tiles adds them up; that gives the loss, and its derivative
in every Gram matrix. A second pass back-propagates, tile by tile, ⟨∂L/∂G, FᵀF / M⟩ and the content distance of the tile's own positions.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from nst_jax.config import TransferConfig
from nst_jax.network.vgg import Params, features_shapes
from nst_jax.objective.loss import LossTerms, LossWeights, layer_weights, weighted_sum
from nst_jax.objective.losses import style_loss, total_variation
from nst_jax.objective.statistics import configured_features
from nst_jax.objective.targets import Targets, check_shapes
from nst_jax.objective.tiles import Tiles


def tiled_loss_and_gradient(
    params: Params, image: Array, targets: Targets, weights: LossWeights, config: TransferConfig
) -> tuple[tuple[Array, LossTerms], Array]:
    """What `loss_and_gradient` gives, tile by tile; `config` names the size of the tiles.

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equations 2 and 6 for the derivatives.
    """
    content_weights = layer_weights("content_layers", weights.content_layers, config.content_layers)
    layers = config.content_layers + config.style_layers
    check_shapes(features_shapes(params, image.shape, config.content_layers), targets)
    tiles = Tiles(image.shape, config.tile, params, layers)

    def content_of(found: Mapping[str, Array], place: Array) -> dict[str, Array]:
        terms = {}
        for layer in config.content_layers:
            missing = jnp.square((found[layer] - tiles.window(targets.content[layer], layer, place)).astype(jnp.float32))
            terms[layer] = targets.content_scale[layer] * jnp.sum(jnp.where(tiles.mask(layer, place), missing, 0))
        return terms

    def add_up(sums: Any, place: Array) -> tuple[Any, None]:
        found = configured_features(params, tiles.patch(image, place), layers, config)
        grams = {layer: tiles.mean_products(found[layer], layer, place) for layer in config.style_layers}
        return jax.tree.map(jnp.add, sums, (content_of(found, place), grams)), None

    nothing = (
        {layer: jnp.zeros_like(targets.content_scale[layer]) for layer in config.content_layers},
        {layer: jnp.zeros_like(targets.style[layer]) for layer in config.style_layers},
    )
    (content, grams), _ = lax.scan(add_up, nothing, tiles.places)

    def total(grams: Mapping[str, Array], image: Array) -> tuple[Array, LossTerms]:
        style = {layer: targets.style_scale[layer] * style_loss(grams[layer], targets.style[layer]) for layer in config.style_layers}
        terms = LossTerms(content, style, targets.total_variation_scale * total_variation(image))
        return weighted_sum(terms, weights, config), terms

    (loss, terms), (by_gram, roughness) = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(grams, image)

    def part(patch: Array, place: Array) -> Array:
        found = configured_features(params, patch, layers, config)
        style = sum(jnp.vdot(by_gram[layer], tiles.mean_products(found[layer], layer, place)) for layer in config.style_layers)
        return style + weights.content * sum(content_weights[layer] * term for layer, term in content_of(found, place).items())

    def back_propagate(gradient: Array, place: Array) -> tuple[Array, None]:
        return tiles.add_patch(gradient, jax.grad(part)(tiles.patch(image, place), place), place), None

    return (loss, terms), lax.scan(back_propagate, roughness, tiles.places)[0]
