"""The images of a job, read and named."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from nst_jax.config import ConfigError
from nst_jax.files.images import read_image
from nst_jax.jobs.presets import Preset
from nst_jax.jobs.study_folder import file_name
from nst_jax.study.run import Images


def named_images(kind: str, paths: Sequence[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        if not path.stem.isprintable():  # a report that names it could not be written
            raise ConfigError(f"{os.fsencode(path)!r}: the name holds what cannot be printed; rename the image")
        for stem, other in named.items():
            if file_name(stem).casefold() == file_name(path.stem).casefold():  # so on some disks
                raise ConfigError(f"{other} and {path}: two {kind} images have the same name; rename one")
        named[path.stem] = path
    return named


def read_images(contents: Mapping[str, Path], styles: Mapping[str, Path], preset: Preset, max_pixels: int) -> tuple[Images, Images]:
    read = partial(read_image, resample=preset.resample, max_pixels=max_pixels)
    content_images = {name: read(path, size=preset.size, rows=preset.rows) for name, path in contents.items()}
    if preset.squash_style:
        squashed = next(iter(content_images.values())).shape[:2]
        return content_images, {name: read(path, shape=squashed) for name, path in styles.items()}
    return content_images, {name: read(path, size=preset.size, rows=preset.rows) for name, path in styles.items()}
