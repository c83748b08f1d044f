"""The report of a parameter study: a table, a contact sheet, loss curves and a page.

They are made of the study's files alone.
"""

import csv
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nst_jax.files.atomic import whole_file
from nst_jax.files.images import PixelArray, read_result, write_image
from nst_jax.layer_names import column_name
from nst_jax.report.page import TO_COME, make_page
from nst_jax.report.plots import make_loss_plot
from nst_jax.report.sheets import make_labelled_sheet

_LARGEST_SHEET, _LARGEST_CELL = 3400, 512  # pixels; labels and margins come on top
_MOST_COLUMNS = 10


def write_report(folder: Path) -> None:
    """Writes a study's report into its folder, each file whole or not at all.

    The files are `lanes.csv`, `contact_sheet.png`, `losses.png` and `index.html`.

    Args:
        folder: Holds `study.json`, `lanes/*.json`, and the images that they name.

    Raises:
        OSError: A file of the study is missing, or one of the report cannot be written.
        ImageError: An image of the study cannot be read, or one of the report not be written.
    """
    study = _read_json(folder / "study.json")
    lanes = [
        _read_json(folder / "lanes" / f"{name}.json") | {"name": name} for name in study["lanes"]
    ]
    grid = lay_out(study["axes"], study["zipped"])
    _write_table(folder / "lanes.csv", lanes)
    _write_contact_sheet(folder, study["title"], lanes, grid)
    _write_loss_plot(folder / "losses.png", study, lanes)
    _write_page(folder, study, lanes, grid)


def write_page_so_far(
    folder: Path, study: Mapping[str, Any], planned: Sequence[Mapping[str, Any]]
) -> None:
    """Writes `index.html` of a study that is under way, whole or not at all.

    Args:
        folder: As in `write_report`, but without `study.json`, and with the lanes that are there.
        study: What `study.json` will say.
        planned: Of each lane, what its record is going to say as its `coordinates` and its `lane`.

    Raises:
        OSError, ImageError: As in `write_report`.
    """
    lanes = []
    for name, known in zip(study["lanes"], planned, strict=True):
        path = folder / "lanes" / f"{name}.json"
        lanes.append(
            (_read_json(path) if path.exists() else {**_TO_COME, **known}) | {"name": name}
        )
    _write_page(folder, study, lanes, lay_out(study["axes"], study["zipped"]))


_TO_COME = {
    "status": TO_COME,
    "reason": None,
    "best_loss": None,
    "best_step": 0,
    "steps": None,
    "seconds": None,
    "lpips": None,
    "history": {"loss": [], "terms": {}, "size": []},
}


def _write_page(
    folder: Path,
    study: Mapping[str, Any],
    lanes: Sequence[Mapping[str, Any]],
    grid: Mapping[str, Any],
) -> None:
    page = make_page(folder, study, lanes, grid, _size_changes(lanes))
    with whole_file(folder / "index.html") as partial:
        partial.write_text(page, encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    # NaN and Infinity, which Python writes and browsers refuse, count as missing.
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)


def lay_out(axes: Mapping[str, Sequence[str]], zipped: bool) -> dict[str, Any]:
    """How the lanes lie on the sheet and the page.

    The last axis runs along the columns, the product of the others along the rows. Lanes that are
    no grid, or one row too long to see, lie near a square, in order, each with a caption.

    Returns:
        `rows` of numbers of lanes, and either `row_labels` and `column_labels`, or `captions`
        nested as the rows are.
    """
    named = [[f"{name} = {label}" for label in labels] for name, labels in axes.items()]
    if (zipped and named) or (len(named) == 1 and len(named[0]) > _MOST_COLUMNS):
        captions = ["\n".join(labels) for labels in zip(*named, strict=True)]
        num_columns = math.ceil(math.sqrt(len(captions)))
        return {
            "rows": [list(row) for row in _batched(range(len(captions)), num_columns)],
            "captions": [list(row) for row in _batched(captions, num_columns)],
        }
    column_labels = named[-1] if named else [""]
    row_labels = ["\n".join(labels) for labels in itertools.product(*named[:-1])]
    num_columns = len(column_labels)
    rows = [list(row) for row in _batched(range(len(row_labels) * num_columns), num_columns)]
    return {"rows": rows, "row_labels": row_labels, "column_labels": column_labels}


def _batched(items: Sequence[Any], length: int) -> list[Sequence[Any]]:
    return [items[start : start + length] for start in range(0, len(items), length)]


def _write_table(path: Path, lanes: Sequence[dict[str, Any]]) -> None:
    """One row a lane; of the terms of the loss, the values at the lane's best step.

    Another run of the same study writes the same table. Where lanes were measured, the numbers come
    last, LPIPS to the picture as it was written.
    """
    terms = dict.fromkeys(name for lane in lanes for name in lane["history"]["terms"])
    rows, columns = [], {("head",): {}, **{(name, ""): {} for name in terms}, ("tail",): {}}
    for lane in lanes:
        settings = {
            name: " ".join(map(str, value)) if isinstance(value, list) else value
            for name, value in lane["lane"].items()
        }
        history, best = lane["history"], lane["best_step"] - 1
        parts: dict[tuple[str, ...], dict[str, Any]] = {
            ("head",): {
                "lane": lane["name"],
                "status": lane["status"],
                "reason": lane["reason"],
                **settings,
            }
            | {
                "steps": lane["steps"],
                "best_step": lane["best_step"],
                "best_loss": lane["best_loss"],
            },
            **{
                (name, ""): {
                    column_name(name, part, settings): _at(values, best)
                    for part, values in parts_of.items()
                }
                for name, parts_of in history["terms"].items()
            },
            ("tail",): {"lpips": lane["lpips"]},
        }
        for part, values in parts.items():
            columns[part] |= values
        rows.append({name: value for values in parts.values() for name, value in values.items()})
    taken = {name for part in columns.values() for name in part} - {"lpips"}
    for lane, row in zip(lanes, rows, strict=True):
        measured = {
            f"{name}_distance" if name in taken else name: value
            for name, value in lane.get("evaluation", {}).items()
            if name != "lpips" or value is not None
        }
        row |= measured
        columns[("tail",)] |= measured
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [name for part in columns.values() for name in part])
        writer.writeheader()
        writer.writerows(rows)


def _at(values: Sequence[float | None], index: int) -> float | None:
    """None for the best step, 0, of a lane that had none."""
    return values[index] if index >= 0 else None


def _write_contact_sheet(
    folder: Path, title: str, lanes: Sequence[dict[str, Any]], grid: dict[str, Any]
) -> None:
    num_rows, num_columns = len(grid["rows"]), max(len(row) for row in grid["rows"])
    sheet = make_labelled_sheet(
        ((_read_result(folder, lanes[index]) for index in row) for row in grid["rows"]),
        grid.get("row_labels", ()),
        grid.get("column_labels", ()),
        title,
        min(_LARGEST_CELL, _LARGEST_SHEET // max(num_rows, num_columns)),
        grid.get("captions", ()),
    )
    write_image(folder / "contact_sheet.png", sheet)


def _read_result(folder: Path, lane: Mapping[str, Any]) -> PixelArray | None:
    """A lane's image; None for one that failed, whose last good image would look like a result."""
    return (
        None
        if lane["status"] == "failed"
        else read_result(folder / "lanes" / f"{lane['name']}.png")
    )


def _write_loss_plot(path: Path, study: dict[str, Any], lanes: Sequence[dict[str, Any]]) -> None:
    first_axis = next(iter(study["axes"]), "")
    plot = make_loss_plot(
        [lane["history"]["loss"] for lane in lanes],
        [lane["name"] for lane in lanes],
        [lane["coordinates"].get(first_axis, "") for lane in lanes],
        first_axis,
        study["title"],
        _size_changes(lanes),
    )
    write_image(path, plot)


def _size_changes(lanes: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """The steps, from 2, that begin a larger size, with its longest side in pixels.

    All curves jump there. The longest lane decides.
    """
    sizes = max((lane["history"].get("size", []) for lane in lanes), key=len, default=[])
    return [
        (step, size)
        for step, (before, size) in enumerate(itertools.pairwise(sizes), start=2)
        if size != before
    ]
