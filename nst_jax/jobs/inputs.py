"""The images of a job, read and named."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from nst_jax.config import ConfigError
from nst_jax.files.images import PixelArray, read_image
from nst_jax.jobs.presets import Preset
from nst_jax.jobs.study_folder import file_name
from nst_jax.study.result import Images


def named_images(kind: str, paths: Sequence[Path]) -> dict[str, Path]:
    """Images by the stems of their names.

    Raises:
        ConfigError: Two have the same, or one cannot be printed.
    """
    named: dict[str, Path] = {}
    for path in paths:
        if not path.stem.isprintable():  # a report that names it could not be written
            raise ConfigError(
                f"{os.fsencode(path)!r}: the name holds what cannot be printed; rename the image"
            )
        for stem, other in named.items():
            if file_name(stem).casefold() == file_name(path.stem).casefold():  # so on some disks
                raise ConfigError(
                    f"{other} and {path}: two {kind} images have the same name; rename one"
                )
        named[path.stem] = path
    return named


def read_images(
    contents: Mapping[str, Path], styles: Mapping[str, Path], preset: Preset, max_pixels: int
) -> tuple[Images, Images]:
    """Content and style images, sized as the preset says."""
    read = partial(read_image, resample=preset.resample, max_pixels=max_pixels)
    content_images = {
        name: read(path, size=preset.size, rows=preset.rows) for name, path in contents.items()
    }
    if preset.squash_style:
        first = next(iter(content_images.values()))
        return content_images, {
            name: read_like(path, first, preset, max_pixels) for name, path in styles.items()
        }
    return content_images, {
        name: read(path, size=preset.size, rows=preset.rows) for name, path in styles.items()
    }


def read_like(path: Path, image: PixelArray, preset: Preset, max_pixels: int) -> PixelArray:
    """An image brought to another's shape."""
    return read_image(path, shape=image.shape[:2], resample=preset.resample, max_pixels=max_pixels)
