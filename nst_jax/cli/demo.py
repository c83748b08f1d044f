"""`nst-jax demo`, and its two images."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, arg

from nst_jax.cli.lines import say
from nst_jax.cli.options import Resume
from nst_jax.cli.stylize import run_and_say
from nst_jax.files.images import ImageError, check_output, read_image, write_image
from nst_jax.files.sheets import make_sheet
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.jobs.job import Job
from nst_jax.jobs.presets import PRESETS

SIZE, NUM_STEPS = 320, 120
"""Pixels and evaluations, chosen so that two cores need less than three minutes."""


def content_path() -> Path:
    """A photograph of the cat Chelsea (Stéfan van der Walt, CC0), from scikit-image.

    Raises:
        ImageError: scikit-image is not installed.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ImageError(
            "the demo's photograph comes with scikit-image, which is not installed; run: "
            "pip install scikit-image"
        )
    return Path(spec.submodule_search_locations[0]) / "data" / "chelsea.png"


def style_path() -> Path:
    """A night of brush strokes, painted by `scripts/paint_strokes.py`."""
    return Path(__file__).with_name("brush_strokes.jpg")


@dataclass
class Demo:
    """Paint a photograph that comes with a package, in under three minutes."""

    output: Annotated[Path, arg(metavar="FILE")] = Path("nst_demo.png")
    """Result; content, style and result go side by side to a second file."""
    resume: Resume = False
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Replace a result that is there already."""

    def run(self) -> int:
        keep_programs()
        preset = PRESETS["default"].replace(size=SIZE, num_steps=NUM_STEPS)
        content, style = content_path(), style_path()
        check_output(self.output)
        sheet = self.output.with_stem(f"{self.output.stem}_sheet")
        if sheet.exists() and not self.overwrite and not self.resume:
            raise ImageError(
                f"{sheet}: is there already; pass --overwrite, or choose another --output"
            )
        status = run_and_say(
            Job(
                content, (style,), self.output, preset, resume=self.resume, overwrite=self.overwrite
            )
        )
        write_image(sheet, make_sheet([read_image(path) for path in (content, style, self.output)]))
        say(f"wrote {sheet}", sys.stdout)
        return status
