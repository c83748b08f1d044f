"""At which size style images are read, and so how large their strokes are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nst_jax.checks import ConfigError
from nst_jax.files.decoding import LEAST_SIDE
from nst_jax.files.images import decode_file
from nst_jax.jobs.presets import Preset


class Side(NamedTuple):
    """The longest side of an image in pixels: its own, and that at which it is to be read."""

    own: int
    wanted: int


def style_sides(preset: Preset, styles: Mapping[str, Path], max_pixels: int) -> dict[str, Side]:
    """The longest side in pixels at which each style image is read.

    Args:
        preset: Has `style_size`, and says the size that the images would have without.
        styles: The images by name.
        max_pixels: As in `read_image`.

    Raises:
        ConfigError: There are more or fewer sizes than images, or one is too small.
        ImageError: An image cannot be read.
    """
    sizes = preset.style_size
    if len(sizes) not in (1, len(styles)):
        raise ConfigError(
            f"style_size has {len(sizes)} values, but the style images are {len(styles)}; give one "
            "for each, or one for all"
        )
    each = sizes * len(styles) if len(sizes) == 1 else sizes
    return {
        name: _side(value, path, preset, max_pixels)
        for value, (name, path) in zip(each, styles.items(), strict=True)
    }


def style_sizes_of(
    sizes: tuple[str, ...], names: Sequence[str], chosen: Sequence[str]
) -> tuple[str, ...]:
    """Of `Preset.style_size` for all styles, what it is for some of them."""
    return sizes if len(sizes) < 2 else tuple(sizes[names.index(name)] for name in chosen)


def usual_side(preset: Preset, path: Path, max_pixels: int) -> int:
    """The longest side at which an image is read where no `style_size` is given.

    Raises:
        ImageError: It cannot be read.
    """
    return _usual(preset, decode_file(path, max_pixels).image.size)


def _usual(preset: Preset, size: tuple[int, int]) -> int:
    width, height = size
    if preset.size:
        return preset.size
    return max(preset.rows, int(width * preset.rows / height)) if preset.rows else max(size)


def _side(value: str, path: Path, preset: Preset, max_pixels: int) -> Side:
    image = decode_file(path, max_pixels).image
    own, usual = max(image.size), _usual(preset, image.size)
    side = round(float(value[:-1]) * usual) if value.endswith("x") else int(value)
    if side < LEAST_SIDE:
        raise ConfigError(
            f"style_size is {value}, which brings {path} to {side} pixels; it must be at least "
            f"{LEAST_SIDE} pixels, so take a larger one"
        )
    return Side(own, side)
