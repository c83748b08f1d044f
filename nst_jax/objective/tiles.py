"""An image in tiles: what each of them sees, and which positions are its own.

Every feature position belongs to one tile. A tile's patch carries a halo that holds all that its
positions see. Patches have one shape, so that one program serves all: the outermost end where the
image does, and zero padding belongs. They begin on multiples of 64 pixels, so that four by four
positions of any layer, which Winograd's algorithm computes and rounds together, are the same four
by four in every patch.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from nst_jax.config import TILE_ALIGNMENT
from nst_jax.network import vgg
from nst_jax.network.vgg import Params

IMAGE = "image"
"""The layer that the pixels themselves are."""


def network_layers(layers: Sequence[str]) -> tuple[str, ...]:
    """Those of the layers that the network computes."""
    return tuple(layer for layer in layers if layer != IMAGE)


def stride(layer: str) -> int:
    """Pixels between two neighbouring positions of a layer."""
    return 1 if layer == IMAGE else vgg.stride(layer)


def _cut(length: int, tile: int, halo: int) -> tuple[np.ndarray, int]:
    """Cuts one side of an image into tiles.

    Returns for each tile where it begins, where it ends, and where its patch begins, (tiles, 3);
    and the length of a patch.

    All patches begin on multiples of `TILE_ALIGNMENT`, which is why a patch at the image's end is
    as long as the image modulo that.
    """
    least = tile + 2 * halo
    patch = least + (length - least) % TILE_ALIGNMENT
    if patch >= length:
        return np.array([[0, length, 0]]), length
    patch_starts = np.arange(0, length - patch + tile, tile)
    patch_starts[-1] = length - patch
    starts = np.concatenate([[0], patch_starts[1:] + halo])
    return np.stack([starts, np.append(starts[1:], length), patch_starts], axis=1), patch


def _corner(place: Array, num_axes: int = 3, stride: int = 1) -> tuple[Array, ...]:
    """Where a tile's patch begins, in a layer of that stride.

    Along the channels, and axes that follow, too.
    """
    return (*(place[:, 2] // stride), *[jnp.zeros((), place.dtype)] * (num_axes - 2))


class Tiles:
    """The tiles of an image, and what is done in each.

    Args:
        shape: Of the image.
        tile: Side of a tile in pixels.
        network: Whose layers are looked at.
        layers: Which; the pixels are `"image"`.
        reach: Pixels that are read beyond what the layers' positions see.
    """

    def __init__(
        self,
        shape: Sequence[int],
        tile: int,
        network: Params,
        layers: Sequence[str],
        reach: int = 0,
    ) -> None:
        convolutions = network_layers(layers)
        deepest_stride = max(stride(layer) for layer in layers)
        view = (vgg.field_of_view(network, convolutions) if convolutions else 0) + reach
        halo = -(-view // deepest_stride) * deepest_stride
        self.shape = shape
        (rows, height), (columns, width) = _cut(shape[0], tile, halo), _cut(shape[1], tile, halo)
        self._patch_shape = height, width
        # (tiles, 2, 3): along rows and along columns, the pixels where each tile begins, where it
        # ends, and where its patch begins.
        self.places = jnp.asarray([[row, column] for row in rows for column in columns], jnp.int32)

    @property
    def is_one(self) -> bool:
        """Whether there is one tile only, whose patch is the image.

        Evaluating it in tiles would only evaluate it twice.
        """
        return len(self.places) == 1

    def patch(self, image: Array, place: Array) -> Array:
        """The pixels that a tile needs."""
        return lax.dynamic_slice(image, _corner(place), (*self._patch_shape, image.shape[2]))

    def add_patch(self, image: Array, patch: Array, place: Array) -> Array:
        """The image with a patch added where it belongs."""
        return lax.dynamic_update_slice(image, self.patch(image, place) + patch, _corner(place))

    def mask(self, layer: str, place: Array) -> Array:
        """Which positions of the tile's patch are its own, (height, width, 1)."""

        def own(axis: int) -> Array:
            positions = place[axis, 2] + stride(layer) * jnp.arange(
                self._patch_shape[axis] // stride(layer)
            )
            return (positions >= place[axis, 0]) & (positions < place[axis, 1])

        return (own(0)[:, None] & own(1)[None, :])[..., None]

    def window(self, whole: Array, layer: str, place: Array) -> Array:
        """Of the whole image's activations, those of the tile's patch."""
        sides = (length // stride(layer) for length in self._patch_shape)
        return lax.dynamic_slice(
            whole, _corner(place, whole.ndim, stride(layer)), (*sides, *whole.shape[2:])
        )

    def put(self, whole: Array, activations: Array, layer: str, place: Array) -> Array:
        """The whole image's activations with the tile's own, found in its patch, in their place."""
        own = self.mask(layer, place)[..., 0]
        own = own.reshape(*own.shape, *[1] * (whole.ndim - 2))
        merged = jnp.where(own, activations, self.window(whole, layer, place))
        return lax.dynamic_update_slice(whole, merged, _corner(place, whole.ndim, stride(layer)))
