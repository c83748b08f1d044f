"""Results on disk, measured against their content and their style."""

import csv
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nst_jax.checks import ConfigError
from nst_jax.files.atomic import whole_file
from nst_jax.files.images import (
    MAX_PIXELS,
    ImageError,
    PixelArray,
    check_place,
    read_image,
)
from nst_jax.files.masks import has_aspect
from nst_jax.network.vgg import prepare_params
from nst_jax.report.evaluate import CONTENT_LAYER, LAYERS, LEAST_SIDE, Evaluation, evaluate
from nst_jax.weights import load_embedded

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationJob:
    """Results to be measured.

    Args:
        content: The content image's file.
        style: The style image's.
        results: Files of results, of the content's aspect ratio.
        size: Longest side to which each result is brought; its own if left out.
        table: A CSV file to be written.
        overwrite: Whether a table that is there may be lost.
        max_pixels: An image of more is refused.
    """

    content: Path
    style: Path
    results: Sequence[Path]
    size: int | None = None
    table: Path | None = None
    overwrite: bool = False
    max_pixels: int = MAX_PIXELS


class Evaluated(NamedTuple):
    """One result, measured.

    Args:
        path: Its file.
        shape: Height and width at which it was measured.
        found: How far it is from its content and its style.
    """

    path: Path
    shape: tuple[int, int]
    found: Evaluation


def evaluate_files(job: EvaluationJob) -> Iterator[Evaluated]:
    """Measures one result after another, and writes the table at the end.

    The content comes to the size of the result, and the style to its longest side, as in a run. The
    network is the VGG-16 that is installed, whatever painted the results, so that all numbers of
    one size compare. All files are looked at before the first result is measured.

    Raises:
        ImageError: An image cannot be read, or is too small, or a result has another aspect ratio
            than the content, or the table cannot be written.
        ConfigError: The table is there already, or is one of the images.
        WeightsError: The network is not installed.
    """
    if job.table:
        _check_table(job, job.table)
    results = _read_results(job)
    shapes = dict.fromkeys((image.shape[0], image.shape[1]) for image in results.values())
    read = partial(read_image, max_pixels=job.max_pixels)
    contents = {shape: read(job.content, shape=shape) for shape in shapes}
    styles = {shape: read(job.style, size=max(shape)) for shape in shapes}
    for style in styles.values():
        _check_sides(job.style, style)
    if len(shapes) > 1:
        _LOG.warning("the results have several sizes, and numbers compare at one; pass --size")
    loaded = load_embedded()
    _LOG.info(f"network: {loaded.why}")
    params = prepare_params(loaded.params, (CONTENT_LAYER, *LAYERS))
    rows = []
    for path, image in results.items():
        height, width, _ = image.shape
        shape = height, width
        row = Evaluated(path, shape, evaluate(params, contents[shape], styles[shape], image))
        rows.append(row)
        yield row
    if job.table:
        _write_table(job, job.table, rows)


def _check_table(job: EvaluationJob, table: Path) -> None:
    check_place(table)
    if not table.exists():
        return
    for path in (job.content, job.style, *job.results):
        if path.is_file() and os.path.samefile(path, table):
            raise ConfigError(
                f"{table}: is one of the images, and would be lost; choose another --csv"
            )
    if not job.overwrite:
        raise ConfigError(f"{table}: is there already; pass --overwrite, or choose another --csv")


def _read_results(job: EvaluationJob) -> dict[Path, PixelArray]:
    height, width, _ = read_image(job.content, max_pixels=job.max_pixels).shape
    results = {}
    for path in job.results:
        image = read_image(path, size=job.size, max_pixels=job.max_pixels)
        if not has_aspect((height, width), image.shape):
            raise ImageError(
                f"{path}: is {image.shape[1]} × {image.shape[0]} pixels, the content "
                f"{width} × {height}; give results of the content's aspect ratio"
            )
        _check_sides(path, image)
        results[path] = image
    return results


def _check_sides(path: Path, image: PixelArray) -> None:
    height, width, _ = image.shape
    if min(height, width) < LEAST_SIDE:
        raise ImageError(
            f"{path}: would be measured at {width} × {height} pixels; each side must be at least "
            f"{LEAST_SIDE}, so take a larger size"
        )


def _write_table(job: EvaluationJob, table: Path, rows: Sequence[Evaluated]) -> None:
    records = [
        {
            "result": row.path,
            "content": job.content,
            "style": job.style,
            "width": row.shape[1],
            "height": row.shape[0],
            "network": "vgg16",
        }
        | row.found.numbers()
        for row in rows
    ]
    with (
        whole_file(table) as partial_file,
        # Names of files need not be text.
        partial_file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
