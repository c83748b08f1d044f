"""The two images of `nst-jax demo`."""

import importlib.util
from pathlib import Path

from nst_jax.images import ImageError

SIZE, NUM_STEPS = 320, 120
"""Pixels and evaluations, chosen so that two cores need less than three minutes."""


def content_path() -> Path:
    """A photograph of the cat Chelsea (Stéfan van der Walt, CC0), from scikit-image.

    Raises:
        ImageError: scikit-image is not installed.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ImageError("the demo's photograph comes with scikit-image, which is not installed; run: pip install scikit-image")
    return Path(spec.submodule_search_locations[0]) / "data" / "chelsea.png"


def style_path() -> Path:
    """A night of brush strokes, painted by `scripts/paint_strokes.py`."""
    return Path(__file__).parent / "data" / "brush_strokes.jpg"
