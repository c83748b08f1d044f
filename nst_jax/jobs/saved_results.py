"""Results of the library as pictures, files and plots: their methods `save` and `plot`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nst_jax.checks import ConfigError
from nst_jax.descent.result import TransferResult
from nst_jax.files.atomic import whole_file
from nst_jax.files.encoding import Encoding, encode
from nst_jax.files.images import (
    ImageError,
    PixelArray,
    check_output,
    read_result,
    write_image,
)
from nst_jax.files.sheets import make_sheet
from nst_jax.jobs.describe import (
    describe_device,
    describe_history,
    describe_versions,
    finite_or_none,
)
from nst_jax.jobs.outputs import software
from nst_jax.jobs.record import LaneValues
from nst_jax.jobs.record_files import plain
from nst_jax.jobs.study_folder import StudyFolder, lane_names
from nst_jax.report.perceptual import lpips_distance
from nst_jax.report.plots import draw_losses
from nst_jax.report.sheets import make_labelled_sheet
from nst_jax.report.write import lay_out, write_report
from nst_jax.study.result import StudyResult, status_of

_MADE_BY = "Python"
"""What a record says of settings that only the program that made the result knows."""


def save_result(result: TransferResult, path: Path) -> None:
    """Writes the picture of a run, and what is known of it to a .json beside it.

    Of a batch, each lane's, with its number behind the name.

    Raises:
        ConfigError: The .json of another kind is there.
        ImageError: A file cannot be written.
    """
    if result.image.ndim == 4:
        for place, lane in enumerate(_lanes(result)):
            save_result(lane, path.with_stem(f"{path.stem}_{place}"))
        return
    check_output(path)
    record = path.with_suffix(".json")
    _refuse_others(record)
    write_image(path, result.image, {"Software": software()})
    _write(record, {"made_by": _MADE_BY, "output": path.name, **_outcome(result)})


def save_study(study: StudyResult, folder: Path) -> None:
    """Writes a study's page and all that it shows into a folder.

    Raises:
        ConfigError: A study of the command's is there, or two lanes would have one name.
        ImageError: A file cannot be written.
    """
    files, names = StudyFolder(folder), lane_names(study)
    check_output(folder / "losses.png")
    _refuse_others(files.record)
    of_machine = {"versions": describe_versions(), "device": describe_device()}
    for place, name in enumerate(names):
        result, lane = _lane(study, place), study.lanes[place]
        lpips = None
        if np.isfinite(result.loss):
            write_image(files.lane_image(name), result.image, {"Software": software()})
            content = np.asarray(study.contents[lane.content])
            lpips = lpips_distance(content, read_result(files.lane_image(name)))
        record = {
            "made_by": _MADE_BY,
            "coordinates": dict(study.coordinates[place]),
            "lane": plain(LaneValues(**lane.settings())),
            "status": status_of(str(result.failure), bool(result.converged)),
            "seconds": float(study.seconds[place]),
            "lpips": lpips,
            **_outcome(result),
        }
        _write(files.lane_record(name), record)
    images = {"content": study.contents, "style": study.styles}
    copies: dict[str, dict[str, str]] = {"content": {}, "style": {}}
    for kind, by_name in images.items():
        for name, image in by_name.items():
            parts = image if isinstance(image, list | tuple) else [image]
            for number, part in enumerate(parts, 1):
                label = name if len(parts) == 1 else f"{name} {number}"
                copies[kind][label] = files.copy(kind, label).name
                write_image(files.copy(kind, label), np.asarray(part))
    axes = study.axes()
    record = {
        "made_by": _MADE_BY,
        "title": f"{', '.join(copies['content'])} × {', '.join(copies['style'])}",
        "axes": axes,
        "zipped": study.zipped,
        "lanes": list(names),
        "contents": copies["content"],
        "styles": copies["style"],
        "settings": of_machine,
    }
    _write(files.record, record)
    try:
        write_report(folder)
    except OSError as error:
        raise ImageError(
            f"{folder}: the report cannot be written ({error.strerror or error}); make room"
        ) from error


def result_as_png(result: TransferResult) -> bytes:
    """The picture, or those of a batch side by side."""
    image = np.asarray(result.image)
    return _png(make_sheet(list(image)) if image.ndim == 4 else image)


def study_as_png(study: StudyResult) -> bytes:
    """The pictures in rows and columns."""
    grid = lay_out(study.axes(), study.zipped)
    sheet = make_labelled_sheet(
        (
            (None if study.failure[place] else study.image[place] for place in row)
            for row in grid["rows"]
        ),
        grid.get("row_labels", ()),
        grid.get("column_labels", ()),
        cell=_CELL,
        captions=grid.get("captions", ()),
    )
    return _png(sheet)


def plot_study(study: StudyResult, axes: Any) -> Any:
    """The loss of each lane over the steps.

    Args:
        study: What was found.
        axes: Matplotlib's axes to draw on; new ones if None.
    """
    if axes is None:
        from matplotlib import pyplot

        _, axes = pyplot.subplots(layout="constrained")
    first = next(iter(study.axes()), "")
    draw_losses(
        axes,
        [_finite(losses) for losses in study.losses],
        lane_names(study),
        [coordinates.get(first, "") for coordinates in study.coordinates],
        first,
    )
    return axes


_CELL = 256  # pixels


def _png(image: PixelArray) -> bytes:
    return encode(np.asarray(image, np.float32), None, "PNG", Encoding())


def _lanes(batch: TransferResult) -> Iterator[TransferResult]:
    for place, count in enumerate(batch.num_steps):
        lane = jax.tree.map(lambda rows, place=place: rows[place], batch)
        yield _cut(lane, int(count))


def _lane(study: StudyResult, place: int) -> TransferResult:
    """A lane as a run of its own, without the layers that it does not have."""
    count = int(study.num_steps[place])
    terms = {
        term: {part: rows[place] for part, rows in parts.items() if np.any(~np.isnan(rows[place]))}
        for term, parts in study.terms.items()
    }
    lane = TransferResult(
        image=study.image[place],
        loss=study.loss[place],
        best_step=study.best_step[place],
        num_steps=study.num_steps[place],
        losses=study.losses[place],
        terms={term: parts for term, parts in terms.items() if parts},
        sizes=study.sizes[place],
        converged=study.converged[place],
        cut_off=np.array(False),
        failure=study.failure[place],
    )
    return _cut(lane, count)


def _cut(lane: TransferResult, count: int) -> TransferResult:
    """The lane without what pads it to the length of others."""
    rows = (lane.losses, lane.terms, lane.sizes)
    losses, terms, sizes = jax.tree.map(lambda values: values[:count], rows)
    return lane._replace(losses=losses, terms=terms, sizes=sizes)


def _outcome(result: TransferResult) -> dict[str, Any]:
    return {
        "reason": str(result.failure) or None,
        "best_loss": finite_or_none(result.loss),
        "best_step": int(result.best_step),
        "steps": int(result.num_steps),
        "history": plain(describe_history(result)),
        "versions": describe_versions(),
        "device": describe_device(),
    }


def _finite(losses: np.ndarray) -> list[float | None]:
    return [finite_or_none(loss) for loss in losses]


def _refuse_others(record: Path) -> None:
    """Makes sure that a .json that is there may be lost.

    Raises:
        ConfigError: No result of the library has written it.
    """
    try:
        there = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError):
        there = None
    if not isinstance(there, dict) or there.get("made_by") != _MADE_BY:
        raise ConfigError(
            f"{record}: is there already, not of a result that Python saved; choose another name"
        )


def _write(path: Path, record: dict[str, Any]) -> None:
    try:
        with whole_file(path) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place"
        ) from error
