"""An image in tiles: what each of them sees, and which positions are its own.

Every feature position belongs to one tile. A tile's patch carries a halo that holds all that its positions see. Patches have one shape, so that
one program serves all: near the border they are moved inwards, until their border is the image's, where zero padding belongs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from nst_jax.config import TILE_ALIGNMENT, Pooling
from nst_jax.losses import gram_matrix
from nst_jax.vgg import Params, features, field_of_view, stride


class _Axis(NamedTuple):
    """How one side of the image is cut.

    Args:
        length: Of the image, in pixels.
        tile: Of a tile.
        patch: Of a patch.
        starts: Where each tile begins.
        patch_starts: Where its patch begins.
    """

    length: int
    tile: int
    patch: int
    starts: np.ndarray
    patch_starts: np.ndarray

    def window(self, start: Array, step: int) -> tuple[Array, Array, int]:
        """Where the tile's positions lie at a layer of that stride: the window's start, which of its rows are the tile's own, its length."""
        size = min(self.tile, self.length) // step
        first = jnp.minimum(start // step, self.length // step - size)
        return first, first + jnp.arange(size) >= start // step, size


def _cut(length: int, tile: int, halo: int) -> _Axis:
    # As long as the image modulo 16, so that a patch at its end begins on a multiple of 16.
    patch = min(tile + 2 * halo + length % TILE_ALIGNMENT, length)
    starts = np.arange(0, length, tile)
    return _Axis(length, tile, patch, starts, np.clip(starts - halo, 0, length - patch))


class Tiles:
    """The tiles of an image, and what is done in each."""

    def __init__(self, shape: Sequence[int], tile: int, network: Params, layers: Sequence[str]) -> None:
        halo = -(-field_of_view(network, layers) // TILE_ALIGNMENT) * TILE_ALIGNMENT
        self.shape = shape
        self._axes = _cut(shape[0], tile, halo), _cut(shape[1], tile, halo)
        rows, columns = self._axes
        places = list(zip(rows.starts, rows.patch_starts, strict=True))
        others = list(zip(columns.starts, columns.patch_starts, strict=True))
        # (tiles, 2): the pixel where each tile begins, and where its patch does.
        self.places = jnp.asarray([[(y, x), (top, left)] for y, top in places for x, left in others], jnp.int32)

    def patch(self, image: Array, place: Array) -> Array:
        """The pixels that a tile needs."""
        return lax.dynamic_slice(image, (*place[1], 0), (self._axes[0].patch, self._axes[1].patch, image.shape[2]))

    def add_patch(self, image: Array, patch: Array, place: Array) -> Array:
        """The image with a patch added where it belongs."""
        return lax.dynamic_update_slice(image, self.patch(image, place) + patch, (*place[1], 0))

    def own(self, activations: Array, layer: str, place: Array, whole: bool = False) -> tuple[Array, Array]:
        """The tile's positions, with some of its neighbour's at the far border, and a mask (height, width, 1) of which are its own.

        Args:
            activations: Of the tile's patch, or of the `whole` image.
            layer: Their layer.
            place: The tile's.
        """
        step = stride(layer)
        (top, own_rows, height), (left, own_columns, width) = (axis.window(place[0][i], step) for i, axis in enumerate(self._axes))
        offset = jnp.zeros(2, jnp.int32) if whole else place[1] // step
        found = lax.dynamic_slice(activations, (top - offset[0], left - offset[1], 0), (height, width, activations.shape[2]))
        return found, (own_rows[:, None] & own_columns[None, :])[..., None]

    def put(self, whole: Array, own: Array, mask: Array, layer: str, place: Array) -> Array:
        """The whole image's activations with a tile's in their place."""
        step = stride(layer)
        corner = (*(axis.window(place[0][i], step)[0] for i, axis in enumerate(self._axes)), 0)
        return lax.dynamic_update_slice(whole, jnp.where(mask, own, lax.dynamic_slice(whole, corner, own.shape)), corner)

    def mean_products(self, activations: Array, layer: str, place: Array) -> Array:
        """A tile's part of the Gram matrix of the whole image."""
        own, mask = self.own(activations, layer, place)
        num_positions = (self.shape[0] // stride(layer)) * (self.shape[1] // stride(layer))
        return gram_matrix(jnp.where(mask, own, 0)) * (mask.size / num_positions)


def tiled_features(
    params: Params,
    image: Float[Array | np.ndarray, "height width 3"],
    content_layers: Sequence[str],
    style_layers: Sequence[str],
    pooling: Pooling,
    tile: int,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """What `features` finds at the content layers, and the Gram matrices at the style layers, tile by tile."""
    image = jnp.asarray(image)
    layers = (*content_layers, *style_layers)
    tiles = Tiles(image.shape, tile, params, layers)
    channels = {layer: params[layer]["bias"].shape[0] for layer in layers}

    def add(carry: Any, place: Array) -> tuple[Any, None]:
        contents, grams = carry
        found = features(params, tiles.patch(image, place), layers, pooling)
        contents = {layer: tiles.put(whole, *tiles.own(found[layer], layer, place), layer, place) for layer, whole in contents.items()}
        grams = {layer: gram + tiles.mean_products(found[layer], layer, place) for layer, gram in grams.items()}
        return (contents, grams), None

    size = lambda layer: (image.shape[0] // stride(layer), image.shape[1] // stride(layer), channels[layer])
    start = (
        {layer: jnp.zeros(size(layer)) for layer in content_layers},
        {layer: jnp.zeros((channels[layer], channels[layer])) for layer in style_layers},
    )
    return lax.scan(add, start, tiles.places)[0]
