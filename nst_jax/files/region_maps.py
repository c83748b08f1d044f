"""Maps of regions: images of few flat colours, each of which is a region.

Equal colours of the content's map and the styles' maps belong together. A map may be a JPEG, or
drawn with soft edges: flat parts alone say which colours there are, and every pixel is then taken
for the nearest of them. A map may also hold labels, as programs write them: grey values 0, 1, 2 …,
next to black, each of which is a region.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor

from nst_jax.files.images import MAX_PIXELS, ImageError, decode_file
from nst_jax.files.masks import average, check_aspect

LEAST_SHARE = 0.001
"""Of a map's pixels that a colour must fill to be a region."""

_FLAT = 8  # levels between four pixels, or distance from a colour, that noise may make
_ALIKE = 30  # distance of two colours of a map, up to which they are one; JPEG makes 29 of one
_SAME_REGION = 80  # that of a style map's colour from the content map's, likewise
_MOST_COLOURS = 64
_MOST_LABELS = 64  # and all grey values below are labels, where the image is of flat parts
_LEAST_FLAT_OF_LABELS = 0.8
_NAMED = 3  # distance of a colour from one with a name, up to which it is called so


class ColourMap(NamedTuple):
    """An image as regions.

    Args:
        colours: RGB of each region, (regions, 3), the largest first.
        labels: Which of them each pixel has, (height, width).
        is_flat: Whether most pixels are really of their region's colour.
        has_labels: Whether the colours stand for labels.
    """

    colours: np.ndarray
    labels: np.ndarray
    is_flat: bool
    has_labels: bool = False

    def name(self, region: int) -> str:
        """What a region is called: its label, its colour by name, or as hexadecimal digits."""
        colour = self.colours[region]
        if self.has_labels:
            return str((_label_colours() == colour).all(1).argmax())
        return _name_of(colour)

    def mask(self, colours: Sequence[int], shape: tuple[int, int]) -> np.ndarray:
        """Where some of the colours are, (height, width) of `shape`, in [0, 1] with soft edges."""
        is_there = np.isin(self.labels, colours).astype(np.uint8) * 255
        return average(Image.fromarray(is_there), shape)

    def shares(self) -> np.ndarray:
        """Of the map's pixels, what each colour fills."""
        return np.bincount(self.labels.ravel(), minlength=len(self.colours)) / self.labels.size


class MappedRegion(NamedTuple):
    """A region of the content image.

    Args:
        name: As in `ColourMap.name`.
        share: What it fills of the map.
        mask: Where it is, (height, width) in [0, 1].
        styles: The styles whose maps have it, from 0; none where it is to stay as it is.
        style_masks: Where it is in each.
    """

    name: str
    share: float
    mask: np.ndarray
    styles: tuple[int, ...]
    style_masks: tuple[np.ndarray, ...]


def read_regions(
    content_map: Path,
    style_maps: Sequence[Path],
    shape: tuple[int, int],
    style_shapes: Sequence[tuple[int, int]],
    *,
    max_pixels: int = MAX_PIXELS,
) -> list[MappedRegion]:
    """Reads the regions of a content image, and where the same are in style images.

    Args:
        content_map: The content image's map.
        style_maps: One for each style image.
        shape: Height and width of the content image.
        style_shapes: Those of the style images.
        max_pixels: As in `read_image`.

    Returns:
        The regions, the largest first.

    Raises:
        ImageError: A map cannot be read, is of one colour, or of too many to be a map, or has
            another aspect ratio than its image; or no colour is in both.
    """
    content = read_colour_map(content_map, shape, max_pixels)
    styles = [
        read_colour_map(path, own, max_pixels)
        for path, own in zip(style_maps, style_shapes, strict=True)
    ]
    most = _ALIKE if content.has_labels else _SAME_REGION  # a label is the same, or another
    belongs = [_regions_of(style.colours, content.colours, most) for style in styles]
    regions = []
    for region, share in enumerate(content.shares()):
        found = {
            place: style.mask(np.flatnonzero(own == region).tolist(), style_shapes[place])
            for place, (style, own) in enumerate(zip(styles, belongs, strict=True))
            if (own == region).any()
        }
        name, mask = content.name(region), content.mask([region], shape)
        if mask.any():
            own = tuple(found), tuple(found.values())
            regions.append(MappedRegion(name, float(share), mask, *own))
    if not any(region.styles for region in regions):
        colours = ", ".join(region.name for region in regions)
        raise ImageError(
            f"{content_map}: has {colours}, of which no style map has any; paint what belongs "
            "together in the same colour"
        )
    return regions


def _regions_of(colours: np.ndarray, regions: np.ndarray, most: int = _SAME_REGION) -> np.ndarray:
    """For each colour of a style's map, which of the content's it belongs to; −1: to none.

    `most` is the distance up to which it may. Where one is the same, others that are merely near
    are not of that region.
    """
    places, distances = _nearest(colours, regions)
    has_same = np.isin(places, places[distances <= _ALIKE])
    return np.where(distances <= np.where(has_same, _ALIKE, most), places, -1)


def read_colour_map(
    path: str | os.PathLike[str], shape: tuple[int, int], max_pixels: int = MAX_PIXELS
) -> ColourMap:
    """Reads a map.

    Args:
        path: The map.
        shape: Height and width of its image.
        max_pixels: As in `read_image`.

    Raises:
        ImageError: As `read_regions`.
    """
    image = decode_file(path, max_pixels).image
    check_aspect(path, (image.height, image.width), shape)
    pixels = np.asarray(image)
    has_labels = _has_labels(pixels)
    found = snap(_label_colours()[pixels[..., 0]] if has_labels else pixels)
    found = found._replace(has_labels=has_labels)
    if len(found.colours) > _MOST_COLOURS or not found.is_flat:
        raise ImageError(
            f"{path}: is no map of regions, which is of few flat colours; paint one, without "
            "shading"
        )
    if len(found.colours) < 2:
        raise ImageError(
            f"{path}: is of one colour, but a map of regions has a colour for each; take --mask "
            "for one area"
        )
    return found


def _has_labels(pixels: np.ndarray) -> bool:
    """Whether an image is one of labels, which is next to black, and not merely dark."""
    labels = pixels[..., 0]
    if labels.max() >= _MOST_LABELS or (pixels != labels[..., None]).any():
        return False
    is_flat = (labels[1:, 1:] == labels[:-1, 1:]) & (labels[1:, 1:] == labels[1:, :-1])
    return bool(is_flat.mean() > _LEAST_FLAT_OF_LABELS)


def _label_colours() -> np.ndarray:
    """A colour for each label, far from those of others: its bits, from the lowest, as the highest
    of red, green and blue in turn, as PASCAL VOC's palette has them."""
    labels = np.arange(_MOST_LABELS)[:, None] >> np.arange(3)
    colours = sum((labels >> 3 * place & 1) << 7 - place for place in range(2))
    return np.asarray(colours, np.uint8)


def snap(pixels: np.ndarray) -> ColourMap:
    """A map's colours, and the nearest of them for every pixel.

    Args:
        pixels: (height, width, 3) of 8 bits.

    Returns:
        The regions; of a picture of more colours than a map can have, those are cut off.
    """
    squares = np.stack([pixels[:-1, :-1], pixels[:-1, 1:], pixels[1:, :-1], pixels[1:, 1:]]).astype(
        np.int16
    )
    is_even = (np.ptp(squares, axis=0) <= _FLAT).all(-1)
    every, places = np.unique(_packed(pixels), return_inverse=True)
    places, every = places.reshape(pixels.shape[:2]), _unpacked(every)
    colours = _clusters(pixels[:-1, :-1][is_even])
    while True:
        nearest, distances = _nearest(every, colours)
        is_flat = bool((distances <= _FLAT)[places].mean() > 0.5)
        found = ColourMap(colours, nearest.astype(np.uint8)[places], is_flat)
        is_large = found.shares() > LEAST_SHARE
        if is_large.all() or len(colours) > _MOST_COLOURS:
            break
        colours = colours[is_large]
    order = np.argsort(-found.shares(), kind="stable")
    labels = np.argsort(order).astype(np.uint8)[found.labels]
    return ColourMap(colours[order], labels, found.is_flat)


def _clusters(pixels: np.ndarray) -> np.ndarray:
    """The colours that pixels gather around, the most frequent first, (at least 1, 3).

    One more than a map can have is enough to see that they are too many.
    """
    packed, counts = np.unique(_packed(pixels), return_counts=True)
    colours, left = _unpacked(packed), counts.copy()
    found = [] if len(pixels) else [np.zeros(3, np.int64)]
    while left.sum() > LEAST_SHARE * counts.sum() and len(found) <= _MOST_COLOURS:
        found.append(colours[left.argmax()])
        left[np.linalg.norm(colours - found[-1], axis=1) <= _ALIKE] = 0
    return np.array(found)


def _packed(pixels: np.ndarray) -> np.ndarray:
    """Each colour as one number, for they are sorted ten times as fast."""
    red, green, blue = np.moveaxis(pixels.astype(np.uint32), -1, 0)
    return red << 16 | green << 8 | blue


def _unpacked(numbers: np.ndarray) -> np.ndarray:
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], -1).astype(np.int64)


def _nearest(colours: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each colour the place of the nearest among others, and its distance."""
    places, least = np.zeros(len(colours), np.int64), np.full(len(colours), np.inf)
    for place, other in enumerate(among):  # one at a time, or many colours fill the memory
        distances = np.linalg.norm(colours - other, axis=1)
        is_nearer = distances < least
        places[is_nearer], least[is_nearer] = place, distances[is_nearer]
    return places, least


def _name_of(colour: np.ndarray) -> str:
    names = [name for name in ImageColor.colormap if "grey" not in name]  # there as gray, too
    named = np.array([ImageColor.getrgb(name)[:3] for name in names])
    (place,), (distance,) = _nearest(colour[None], named)
    return names[place] if distance <= _NAMED else "#" + bytes(colour.tolist()).hex()
