"""What a study found, lane by lane and as a whole."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nst_jax.descent.chunk import Chunk
from nst_jax.descent.result import TransferResult
from nst_jax.host.outlets import outlets
from nst_jax.layer_names import column_name
from nst_jax.objective.loss import LossParts
from nst_jax.objective.terms import Loss
from nst_jax.study.grid import Grid
from nst_jax.study.lane import Lane

Images = Mapping[str, Any]
"""Images by name, each (height, width, 3), sRGB in [0, 1]."""


class RunningLanes(NamedTuple):
    """A batch of lanes of a study that is under way.

    Args:
        lanes: Which, as places in the grid.
        size: How many run, with padding.
        chunk: Where they stand, as `descend_batch` says it, without the padding.
    """

    lanes: Sequence[int]
    size: int
    chunk: Chunk


@dataclasses.dataclass(frozen=True)
class FinishedLane:
    """One lane's result.

    Args:
        index: Its place in the grid.
        result: What `stylize` would have returned.
        seconds: Its share of the time that its batch took, compilation not counted.
        loss: Its loss, with the weights that were found for it, as it is without regions.
    """

    index: int
    result: TransferResult
    seconds: float
    loss: Loss


class StudyResult(NamedTuple):
    """What a study found. All arrays have a leading axis of lanes.

    Args:
        lanes: The settings of each lane.
        image: The images of lowest loss, (lanes, height, width, 3).
        loss: Those losses; infinite where no evaluation was finite.
        best_step: The evaluations that saw them, from 1.
        num_steps: Evaluations made.
        losses: The loss at each evaluation, (lanes, steps); NaN beyond a lane's own end.
        terms: The unweighted terms likewise; NaN at layers that a lane does not have.
        sizes: Longest side of the image at each evaluation in pixels, likewise; 0 beyond a lane's
            own end.
        converged: Whether the tolerance ended the lane.
        failure: What stopped being finite and when, or an empty text.
        seconds: As in `FinishedLane`.
        coordinates: Where each lane is on the axes, as labels by their names.
        contents: The content images.
        styles: The style images, or lists of several.
        zipped: Whether the axes went in step.
    """

    lanes: tuple[Lane, ...]
    image: np.ndarray
    loss: np.ndarray
    best_step: np.ndarray
    num_steps: np.ndarray
    losses: np.ndarray
    terms: LossParts
    sizes: np.ndarray
    converged: np.ndarray
    failure: np.ndarray
    seconds: np.ndarray
    coordinates: tuple[Mapping[str, str], ...]
    contents: Images
    styles: Images
    zipped: bool = False

    def axes(self) -> dict[str, list[str]]:
        """What varies, as labels by the names of the axes; one a lane where they went in step."""
        names = self.coordinates[0] if self.coordinates else {}
        labels = {name: [where[name] for where in self.coordinates] for name in names}
        if self.zipped:
            return labels
        return {name: list(dict.fromkeys(own)) for name, own in labels.items()}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `index.html`, which shows the lanes, and the files that it shows.

        They are those of `nst-jax study`, whose `rerun` cannot read the records of arrays, though.

        Args:
            folder: It is made if it is missing; what an earlier call wrote there is replaced.

        Raises:
            ConfigError: A study of the command's is there.
            ImageError: A file cannot be written.

        Example:
            >>> study = run_study(params, content, style, {"style_weight": [5, 20]}, config)
            >>> study.save("study")
        """
        outlets().save_study(self, Path(folder))

    def plot(self, axes: Any = None) -> Any:
        """Draws the loss of each lane over the steps.

        Args:
            axes: Matplotlib's axes; new ones of its `pyplot` if left out.

        Returns:
            The axes.

        Example:
            >>> study.plot().set_title("style weights")
            Text(...)
        """
        return outlets().plot_study(self, axes)

    def __repr__(self) -> str:
        height, width = np.shape(self.image)[1:3]
        axes = "; ".join(f"{name} = {', '.join(own)}" for name, own in self.axes().items())
        finite = self.loss[np.isfinite(self.loss)]
        found = f"losses {finite.min():.4g} to {finite.max():.4g}" if finite.size else "no loss"
        failed = np.count_nonzero(self.failure != "")
        return (
            f"StudyResult: {len(self.lanes)} lanes of {width} × {height} pixels\n"
            f"  {axes or 'nothing varies'}\n"
            f"  {found}, {failed} failed, {np.sum(self.seconds):.0f} s"
        )

    def _repr_png_(self) -> bytes:
        return outlets().study_as_png(self)

    def to_dataframe(self) -> Any:
        """One row a lane, as a pandas DataFrame, by the names of `lanes.csv` and of records.

        Its settings, how it ended, the steps that it made, its best loss, its terms at that step
        (NaN if it has none), and its seconds.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import pandas

        table = pandas.DataFrame([lane.settings() for lane in self.lanes])
        table = table.drop(columns="style_size")  # which is of files
        settings = list(table.columns)
        table["status"] = [
            status_of(*ended) for ended in zip(self.failure, self.converged, strict=True)
        ]
        table["reason"] = [str(failure) or None for failure in self.failure]
        table["steps"], table["best_loss"] = self.num_steps, self.loss
        table["best_step"], table["seconds"] = self.best_step, self.seconds
        best = np.arange(len(self.lanes)), np.maximum(self.best_step - 1, 0)
        found = self.best_step > 0
        for name, parts in self.terms.items():
            for part, rows in parts.items():
                column = column_name(name, part, settings)
                table[column] = np.where(found, rows[best], np.nan)
        return table


def status_of(failure: str, converged: bool) -> str:
    """How a lane ended, in a word."""
    return "failed" if failure else "converged" if converged else "finished"


def collect(
    grid: Grid, lanes: Sequence[FinishedLane], contents: Images, styles: Images
) -> StudyResult:
    """The lanes' results as arrays, padded with NaN to the longest.

    The lanes are in the order of the grid.
    """
    longest = max(lane.result.losses.size for lane in lanes)

    def rows(pick: Callable[[TransferResult], Any]) -> np.ndarray:
        table = np.full((len(lanes), longest), np.nan, np.float32)
        for row, lane in zip(table, lanes, strict=True):
            values = pick(lane.result)
            if values is not None:
                row[: values.size] = values
        return table

    def parts(term: str) -> dict[str, np.ndarray]:
        names = dict.fromkeys(name for lane in lanes for name in lane.result.terms.get(term, {}))
        return {
            name: rows(lambda result, name=name: result.terms.get(term, {}).get(name))
            for name in names
        }

    results = [lane.result for lane in lanes]
    return StudyResult(
        lanes=tuple(grid.lanes),
        image=np.stack([result.image for result in results]),
        loss=np.asarray([result.loss for result in results]),
        best_step=np.asarray([result.best_step for result in results]),
        num_steps=np.asarray([result.num_steps for result in results]),
        losses=rows(lambda result: result.losses),
        terms={
            term: parts(term)
            for term in dict.fromkeys(name for lane in lanes for name in lane.result.terms)
        },
        sizes=np.nan_to_num(rows(lambda result: result.sizes)).astype(int),
        converged=np.asarray([result.converged for result in results]),
        failure=np.asarray([result.failure for result in results]),
        seconds=np.asarray([lane.seconds for lane in lanes]),
        coordinates=tuple(grid.coordinates),
        contents=contents,
        styles=styles,
        zipped=grid.zipped,
    )
