"""An image in tiles: what each of them sees, and which positions are its own.

Every feature position belongs to one tile. A tile's patch carries a halo that holds all that its
positions see. Patches have one shape, so that one program serves all: the outermost end where the
image does, and padding belongs. They begin on multiples of 64 pixels, so that four by four
positions of any layer, which Winograd's algorithm computes and rounds together, are the same four
by four in every patch.

A side that wraps has no end: along it each patch has a halo before and behind, from the other side
of the image where need be.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from nst_jax.config import TILE_ALIGNMENT, Border
from nst_jax.network import vgg
from nst_jax.network.borders import wraps
from nst_jax.network.vgg import Params, num_positions

IMAGE = "image"
"""The layer that the pixels themselves are."""


def network_layers(layers: Sequence[str]) -> tuple[str, ...]:
    """Those of the layers that the network computes."""
    return tuple(layer for layer in layers if layer != IMAGE)


def stride(layer: str) -> int:
    """Pixels between two neighbouring positions of a layer."""
    return 1 if layer == IMAGE else vgg.stride(layer)


def _cut(length: int, tile: int, halo: int, wraps: bool) -> tuple[np.ndarray, int]:
    """Cuts one side of an image into tiles.

    Returns for each tile where it begins, where it ends, and where its patch begins, (tiles, 3);
    and the length of a patch.

    All patches begin on multiples of `TILE_ALIGNMENT`, which is why a patch at the image's end is
    as long as the image modulo that. If the image wraps, they may begin before it.
    """
    least = tile + 2 * halo
    if wraps and least < length:
        starts = np.arange(0, length, tile)
        return np.stack([starts, np.append(starts[1:], length), starts - halo], axis=1), least
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
        border: As in `TransferConfig`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        tile: int,
        network: Params,
        layers: Sequence[str],
        reach: int = 0,
        border: Border = "zero",
    ) -> None:
        convolutions = network_layers(layers)
        view = (vgg.field_of_view(network, convolutions) if convolutions else 0) + reach
        self.shape = shape
        self._border: Border = border
        self._wraps = wraps(border)
        cuts = []
        for side, goes_on in zip(shape[:2], self._wraps, strict=True):
            # before an image that wraps begin patches, too
            step = TILE_ALIGNMENT if goes_on else max(stride(layer) for layer in layers)
            cuts.append(_cut(side, tile, -(-view // step) * step, goes_on))
        (rows, height), (columns, width) = cuts
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
        return self.window(image, IMAGE, place)

    def add_patch(self, image: Array, patch: Array, place: Array) -> Array:
        """The image with a patch added where it belongs."""
        return self._lay(image, self.patch(image, place) + patch, IMAGE, place)

    def mask(self, layer: str, place: Array) -> Array:
        """Which positions of the tile's patch are its own, (height, width, 1)."""

        def own(axis: int) -> Array:
            positions = place[axis, 2] + stride(layer) * jnp.arange(self._sides(layer)[axis])
            return (positions >= place[axis, 0]) & (positions < place[axis, 1])

        return (own(0)[:, None] & own(1)[None, :])[..., None]

    def window(self, whole: Array, layer: str, place: Array) -> Array:
        """Of the whole image's activations, those of the tile's patch."""
        corner, sizes = _corner(place, whole.ndim, stride(layer)), self._sides(layer)
        whole, corner = self._rolled(whole, corner, -1), self._left(corner)
        return lax.dynamic_slice(whole, corner, (*sizes, *whole.shape[2:]))

    def put(self, whole: Array, activations: Array, layer: str, place: Array) -> Array:
        """The whole image's activations with the tile's own, found in its patch, in their place."""
        own = self.mask(layer, place)[..., 0]
        own = own.reshape(*own.shape, *[1] * (whole.ndim - 2))
        merged = jnp.where(own, activations, self.window(whole, layer, place))
        return self._lay(whole, merged, layer, place)

    def _lay(self, whole: Array, part: Array, layer: str, place: Array) -> Array:
        """The whole image's activations with a patch's in their place."""
        corner = _corner(place, whole.ndim, stride(layer))
        facing = self._rolled(whole, corner, -1)
        facing = lax.dynamic_update_slice(facing, part, self._left(corner))
        return self._rolled(facing, corner, 1)

    def _rolled(self, whole: Array, corner: Sequence[Array], sign: int) -> Array:
        """A layer, so far on along sides that wrap that its beginning is at the corner."""
        axes = [axis for axis in (0, 1) if self._wraps[axis]]
        if not axes:
            return whole
        return jnp.roll(whole, sign * jnp.stack([corner[axis] for axis in axes]), axes)

    def _left(self, corner: Sequence[Array]) -> tuple[Array, ...]:
        """What is left of the way to a corner for a layer that is rolled."""
        pairs = zip(corner[:2], self._wraps, strict=True)
        return (*(jnp.zeros_like(own) if on else own for own, on in pairs), *corner[2:])

    def _sides(self, layer: str) -> tuple[int, int]:
        """Height and width of a patch in a layer."""
        height, width = (
            num_positions(length, stride(layer), self._border) for length in self._patch_shape
        )
        return height, width
