"""What a term may see of an image: features, and what part of the image each position stands for.

A view is of a whole image, of one tile's patch, or of the box that holds a region. Terms add up
over the tiles because positions carry *shares*, which sum to 1 over the image and are 0 where a
patch's position is another tile's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from nst_jax.config import Border, Precision, TransferConfig
from nst_jax.dtypes import accumulation_type
from nst_jax.network.borders import wraps
from nst_jax.network.vgg import Params, features, features_shapes, num_positions
from nst_jax.objective.tiles import IMAGE, Tiles, network_layers, stride


class View(NamedTuple):
    """An image, or a tile's patch of one, as terms see it.

    Everything is by layer; the pixels are the layer `"image"`.

    Args:
        features: Activations, (height, width, channels).
        shares: What each position stands for, (height, width, 1), or a scalar where all stand for
            the same. They sum to 1 over the image, so that Σ shares · features is a mean over its
            positions.
        own: Which positions are the tile's, (height, width, 1), or True where all are, which in a
            region's box is all of the box, not of the layer.
        start: The row and column of the first position within the layer, (2,). A patch that runs
            over the end of an image that wraps goes on at its beginning.
        shape: Height and width of the whole layer.
        precision: That of the run, as in `TransferConfig`, for a term's own products of matrices.
        border: What lies beyond the image, as in `TransferConfig`.
    """

    features: dict[str, Array]
    shares: dict[str, Any]
    own: dict[str, Any]
    start: dict[str, Any]
    shape: dict[str, tuple[int, ...]]
    precision: Precision
    border: Border


def layers_shapes(
    params: Params, image_shape: Sequence[int], layers: Sequence[str], border: Border
) -> dict[str, tuple[int, ...]]:
    """The shape of each layer of an image's view.

    Raises:
        ConfigError: As `features_shapes`.
    """
    pixels = {IMAGE: (*image_shape[:2], 3)} if IMAGE in layers else {}
    return {**features_shapes(params, image_shape, network_layers(layers), border), **pixels}


def view_whole(params: Params, image: Array, layers: Sequence[str], config: TransferConfig) -> View:
    """A view of the whole image."""
    found = _features(params, image, layers, config)
    return View(
        features=found,
        shares={
            layer: _share(activations.shape, activations.dtype)
            for layer, activations in found.items()
        },
        own=dict.fromkeys(found, True),
        start={layer: np.zeros(2, np.int32) for layer in found},
        shape={layer: activations.shape[:2] for layer, activations in found.items()},
        precision=config.precision,
        border=config.border,
    )


def view_tile(
    params: Params,
    patch: Array,
    place: Array,
    tiles: Tiles,
    layers: Sequence[str],
    config: TransferConfig,
) -> View:
    """A view of one tile, from the pixels of its patch."""
    found = _features(params, patch, layers, config)
    own = {layer: tiles.mask(layer, place) for layer in found}
    shapes = {
        layer: tuple(num_positions(side, stride(layer), config.border) for side in tiles.shape[:2])
        for layer in found
    }
    shares = {
        layer: _share(shapes[layer], activations.dtype) for layer, activations in found.items()
    }
    return View(
        features=found,
        shares={layer: own[layer].astype(share.dtype) * share for layer, share in shares.items()},
        own=own,
        start={
            layer: place[:, 2] // stride(layer) % np.array(shapes[layer], np.int32)
            if any(wraps(config.border))
            else place[:, 2] // stride(layer)
            for layer in found
        },
        shape=shapes,
        precision=config.precision,
        border=config.border,
    )


def _share(shape: Sequence[int], kind: Any) -> Any:
    """What each position of a layer stands for.

    In at least the precision that means are taken in.
    """
    return np.asarray(1 / (shape[0] * shape[1]), accumulation_type(kind))


def nothing_seen(view: View) -> View:
    """The same view of an image that excites no filter."""
    # Out of the compiler's sight: XLA:CPU of jax 0.10 makes NaN of a product of constants' matrices
    # whose result it adds up.
    zeros = lax.optimization_barrier(jax.tree.map(jnp.zeros_like, view.features))
    return view._replace(features=zeros)


def _features(
    params: Params, image: Array, layers: Sequence[str], config: TransferConfig
) -> dict[str, Array]:
    network = network_layers(layers)
    found = features(params, image, network, config.pooling, config.precision, config.border)
    return {layer: image if layer == IMAGE else found[layer] for layer in layers}


def with_shares(view: View, shares: Mapping[str, Array]) -> View:
    """The view in which positions stand for other shares, given for some layers, or for none."""
    return view._replace(
        shares=view.shares
        | {
            layer: own if view.own[layer] is True else jnp.where(view.own[layer], own, 0)
            for layer, own in shares.items()
        }
    )


def windows(fields: Mapping[str, Array], tiles: Tiles, place: Array) -> dict[str, Array]:
    """Of what is wanted by position, the part where a tile's patch lies."""
    return {layer: tiles.window(whole, layer, place) for layer, whole in fields.items()}
