"""What figures share: matplotlib's canvas as pixels."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nst_jax.files.images import PixelArray

# matplotlib takes a second to import, so each function imports what it draws with
if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

DPI = 100


@contextlib.contextmanager
def boxes_for_missing_glyphs() -> Iterator[None]:
    """Draws letters that matplotlib's font lacks as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def pixels(canvas: "FigureCanvasAgg") -> PixelArray:
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float32) / 255
