"""Folders of images."""

import os
from pathlib import Path

from nst_jax.files.images import INPUT_ENDINGS, ImageError


def images_in(path: Path) -> tuple[Path, ...]:
    """The image itself, or those in the folder, by name.

    Args:
        path: An image, or a folder, whose own folders do not count, nor hidden files.

    Raises:
        ImageError: The folder cannot be read, or has no images.
    """
    if not os.path.isdir(path):  # Path's own raises where a name is too long
        return (path,)
    try:
        files = [
            file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")
        ]
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    found = tuple(sorted(file for file in files if file.suffix.lower() in INPUT_ENDINGS))
    if not found:
        raise ImageError(
            f"{path}: is a folder without images ({' '.join(sorted(INPUT_ENDINGS))}); "
            "name an image, or a folder of such"
        )
    return found
