"""Plots of the loss over the steps."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nst_jax.files.images import PixelArray
from nst_jax.report.canvas import DPI, boxes_for_missing_glyphs, pixels

# matplotlib takes a second to import, so each function imports what it draws with
if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LEGEND_ENTRIES = 12


@boxes_for_missing_glyphs()
def make_loss_plot(
    losses: Sequence[Sequence[float | None]],
    labels: Sequence[str],
    groups: Sequence[str] = (),
    group_name: str = "",
    title: str = "",
    sizes: Sequence[tuple[int, int]] = (),
) -> PixelArray:
    """Loss against step of many lanes, the loss on a logarithmic axis.

    1200 × 720 pixels, or taller where a long legend needs it.

    Up to 12 lanes have a colour and a line in the legend each. Of more, the colour says the group
    alone.

    Args:
        losses: Of each lane, the loss at each step from 1; None where it was not finite.
        labels: Each lane's name.
        groups: What each lane has in common with others, in an order that colours can show; without
            them every lane is its own.
        group_name: What the groups are values of.
        title: Above the axes.
        sizes: Steps that begin a larger size of the image, each with its longest side in pixels;
            marked, since losses jump there.

    Returns:
        (height, width, 3) float32 in [0, 1].
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    _, entries, _ = _legend(labels, groups, group_name)
    height = max(720, 100 + sum(6 + 15 * (1 + entry.count("\n")) for entry in entries))
    figure = Figure(
        figsize=(1200 / DPI, height / DPI), dpi=DPI, layout="constrained", facecolor="white"
    )
    canvas = FigureCanvasAgg(figure)
    draw_losses(figure.add_subplot(), losses, labels, groups, group_name, title, sizes)
    return pixels(canvas)


def draw_losses(
    axes: "Axes",
    losses: Sequence[Sequence[float | None]],
    labels: Sequence[str],
    groups: Sequence[str] = (),
    group_name: str = "",
    title: str = "",
    sizes: Sequence[tuple[int, int]] = (),
) -> None:
    """Draws what `make_loss_plot` shows on matplotlib's axes.

    Args:
        axes: What is drawn on.
        losses: As in `make_loss_plot`, and so for all arguments that are not named here.
    """
    from matplotlib.ticker import LogFormatter, MaxNLocator

    colours, entries, title_of_names = _legend(labels, groups, group_name)
    thin = len(losses) > _MOST_LEGEND_ENTRIES
    for lane, history in enumerate(losses):
        values = np.array(
            [np.nan if loss is None or loss <= 0 else loss for loss in history], float
        )
        alone = np.isfinite(values).sum() == 1
        steps = np.arange(1, len(values) + 1)
        axes.plot(
            steps,
            values,
            color=colours[lane],
            lw=0.9 if thin else 1.5,
            alpha=0.8 if thin else 1,
            marker="o" if alone else None,
        )
    for step, size in sizes:
        axes.axvline(step - 0.5, color="0.6", lw=0.8, ls=":")
        axes.annotate(
            f" {size} px",
            (step - 0.5, 1),
            xycoords=("data", "axes fraction"),
            va="top",
            color="0.4",
            fontsize="small",
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("loss")
    axes.set_title(
        textwrap.fill(" ".join(title.split()), 100), loc="left", fontsize="medium", parse_math=False
    )
    axes.grid(which="both", color="0.92", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    _draw_legend(axes, entries, title_of_names)


def _legend(
    labels: Sequence[str], groups: Sequence[str], group_name: str
) -> tuple[list[Any], dict[str, Any], str]:
    """Each lane's colour, the legend's entries with theirs, and what they are."""
    colours, names, title = _colours(labels, groups or labels, group_name)
    return colours, {textwrap.fill(name, 32): colour for name, colour in _spread(names)}, title


def _colours(
    labels: Sequence[str], groups: Sequence[str], group_name: str
) -> tuple[list[Any], dict[str, Any], str]:
    """Each lane's colour, and for the legend the names that have one and what they are."""
    from matplotlib import colormaps

    if len(labels) <= _MOST_LEGEND_ENTRIES:
        ten = colormaps["tab10"].colors  # pyright: ignore[reportAttributeAccessIssue]
        colours = [*ten, "black", "gold"][: len(labels)]
        return colours, dict(zip(labels, colours, strict=True)), ""
    order = list(dict.fromkeys(groups))
    ramp = colormaps["viridis"](np.linspace(0, 0.93, len(order)))  # its end is too pale on white
    names = dict(zip(order, ramp, strict=True))
    return [names[group] for group in groups], names, group_name


def _spread(names: dict[str, Any]) -> list[tuple[str, Any]]:
    """The names, or of too many for a legend the first, the last and some between."""
    shown = np.linspace(0, len(names) - 1, min(len(names), _MOST_LEGEND_ENTRIES)).astype(int)
    return [list(names.items())[index] for index in shown]


def _draw_legend(axes: "Axes", entries: dict[str, Any], title: str) -> None:
    """The entries, a colour to a text, at the right of the axes."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, lw=2) for colour in entries.values()]
    legend = axes.legend(
        handles,
        list(entries),
        title=textwrap.fill(title, 32),
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
        fontsize="small",
    )
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)
