"""`nst-jax evaluate`: how much of the content and of the style is in results."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from nst_jax.cli.events import event
from nst_jax.cli.lines import say
from nst_jax.cli.options import CompilationCache, MaxPixels, Talk
from nst_jax.files.images import MAX_PIXELS
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.jobs.evaluate_job import Evaluated, EvaluationJob, evaluate_files
from nst_jax.report.evaluate import MEANS_ARE, means_over_layers

_WIDTH, _COLUMN = 80, 7
_COLUMNS = ("LPIPS", "CFSD", "colour", "Gram", "Gram/2", "Gram/4", "W2", "sliced")
_NAME = _WIDTH - _COLUMN * len(_COLUMNS)


@dataclass
class Evaluate(Talk):
    """Measure how far results are from their content and from their style."""

    content: Positional[Annotated[Path, arg(metavar="CONTENT")]]
    """The photograph, which comes to each result's size."""
    style: Positional[Annotated[Path, arg(metavar="STYLE")]]
    """The painting, which comes to each result's longest side."""
    result: Positional[Annotated[Path, arg(metavar="RESULT")]]
    """A picture of the content's aspect ratio."""
    others: Positional[
        Annotated[tuple[Path, ...], arg(metavar="[RESULT …]", help_behavior_hint="")]
    ] = ()
    """More of them."""
    size: Annotated[int | None, arg(metavar="PIXELS", help_behavior_hint="(default: its own)")] = (
        None
    )
    """Longest side to which each result is brought."""
    csv: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Also write all numbers, by layer, to a table."""
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Replace a table that is there already."""
    max_pixels: MaxPixels = MAX_PIXELS
    compilation_cache: CompilationCache = True

    def run(self) -> None:
        if self.compilation_cache:
            keep_programs()
        job = EvaluationJob(
            self.content,
            self.style,
            (self.result, *self.others),
            self.size,
            self.csv,
            self.overwrite,
            self.max_pixels,
        )
        for place, row in enumerate(evaluate_files(job)):
            height, width = row.shape
            numbers = row.found.numbers()
            event("result", name=str(row.path), width=width, height=height, **numbers)
            if not self.json_lines:
                for line in (*(_HEAD if place == 0 else ()), *_lines(row)):
                    say(line, sys.stdout)
        if self.csv and not self.json_lines:
            say(f"wrote {self.csv}", sys.stdout)
        event("end", output=str(self.csv) if self.csv else None, status=0)


_HEAD = (
    *MEANS_ARE,
    "",
    "result".ljust(_NAME) + "".join(name.rjust(_COLUMN) for name in _COLUMNS),
)


def _lines(row: Evaluated) -> list[str]:
    """A row of the table, below its name where that is too long."""
    name, means = str(row.path), means_over_layers(row.found.numbers())
    columns = "".join(_short(means[heading]).rjust(_COLUMN) for heading in _COLUMNS)
    if len(name) < _NAME:
        return [name.ljust(_NAME) + columns]
    return [name, " " * _NAME + columns]


def _short(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:.{3 if number < 10 else 1 if number < 1000 else 0}f}"
