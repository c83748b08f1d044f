"""Sheets: images in rows and columns with labels around them."""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.files.images import PixelArray
from nst_jax.files.sheets import make_sheet
from nst_jax.pixels import check_image
from nst_jax.report.canvas import DPI, boxes_for_missing_glyphs, pixels

_POINTS_PER_PIXEL = 72 / DPI
_GAP = 8
_GREY = 0.85


@boxes_for_missing_glyphs()
def make_labelled_sheet(
    images: Iterable[Iterable[ArrayLike | None]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    cell: int | None = None,
    captions: Sequence[Sequence[str]] = (),
) -> PixelArray:
    """A grid of images on white with labels around it.

    Labels wrap. Rows and columns grow so that each label is there in full.

    Args:
        images: Rows of images, (height, width, 3) of floating-point sRGB in [0, 1]; for None a grey
            cell says "failed". Rows may differ in length.
        row_labels: At the left of each row; a line feed breaks the line here and in the other
            labels.
        column_labels: Above each column.
        title: Above all.
        cell: Longest side of each image in pixels; without it the images are copied pixel by pixel.
        captions: Under each image, as `images` is nested.

    Returns:
        (height, width, 3) float32 in [0, 1].

    Raises:
        ConfigError: One is not such an image.

    Example:
        >>> sheet = make_labelled_sheet([[content, style]], ["one row"], ["content", "style"])
    """
    cells = [[None if image is None else _resized(image, cell) for image in row] for row in images]
    drawn = [image for row in cells for image in row if image is not None]
    blank = drawn[0].shape[:2] if drawn else (cell or 128, cell or 128)
    shapes = [[blank if image is None else image.shape[:2] for image in row] for row in cells]

    font = min(max(max(width for row in shapes for _, width in row) // 16, 13), 24)
    line_height = round(1.35 * font)
    measure = _make_ruler(font)
    texts: list[_Text] = []

    def write(lines: Sequence[str], x: float, top: int, alignment: str) -> int:
        """Notes the lines for drawing and returns where they end."""
        texts.extend(
            _Text(line, x, top + index * line_height + font, alignment, font)
            for index, line in enumerate(lines)
        )
        return top + len(lines) * line_height

    def write_columns(labels: Sequence[str], top: int) -> int:
        """Writes one label a column and returns where the longest ends."""
        places = zip(labels, lefts, widths, strict=False)
        return max(
            (
                write(_wrap(label, width, measure), x + width / 2, top, "center")
                for label, x, width in places
            ),
            default=top,
        )

    widths = []
    for column in range(max(len(row) for row in shapes)):
        words = " ".join(
            labels[column] for labels in (column_labels, *captions) if column < len(labels)
        ).split()
        widths.append(
            max(
                [row[column][1] for row in shapes if column < len(row)]
                + [min(measure(word), 8 * font) for word in words]
            )
        )
    left = min(
        max((measure(line) for label in row_labels for line in label.split("\n")), default=0),
        18 * font,
    )
    margin = 2 * _GAP
    lefts = list(
        itertools.accumulate(
            widths,
            lambda x, width: x + width + _GAP,
            initial=margin + left + (margin if left else 0),
        )
    )
    total_width = lefts[-1] - _GAP + margin

    y = margin
    if title:
        y = write(_wrap(title, total_width - 2 * margin, measure), margin, y, "left") + _GAP
    if any(column_labels):
        y = write_columns(column_labels, y) + _GAP // 2
    places: list[tuple[slice, slice]] = []
    for row, row_shapes in enumerate(shapes):
        label = _wrap(row_labels[row], left, measure) if left else []
        row_height = max([height for height, _ in row_shapes] + [len(label) * line_height])
        write(label, margin + left, y + (row_height - len(label) * line_height) // 2, "right")
        for column, (height, width) in enumerate(row_shapes):
            x = lefts[column] + (widths[column] - width) // 2
            places.append((slice(y, y + height), slice(x, x + width)))
            if cells[row][column] is None:
                small = min(font, int(0.9 * font * width / measure("failed")))
                texts.append(
                    _Text("failed", x + width / 2, y + height / 2 + 0.35 * small, "center", small)
                )
        y += row_height
        if captions:
            y = write_columns(captions[row], y) + _GAP // 2
        y += _GAP

    sheet = _draw_texts(texts, total_width, y - _GAP + margin)
    for place, image in zip(places, itertools.chain.from_iterable(cells), strict=True):
        sheet[place] = np.minimum(sheet[place], _GREY) if image is None else image
    return sheet


class _Text(NamedTuple):
    """A line of text; lengths in pixels from the top left."""

    line: str
    x: float
    baseline: float
    alignment: str
    font: int


def _draw_texts(texts: Iterable[_Text], width: int, height: int) -> PixelArray:
    """The texts on white."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    for text in texts:
        place = text.x / width, 1 - text.baseline / height
        size = text.font * _POINTS_PER_PIXEL
        figure.text(
            *place,
            text.line,
            ha=text.alignment,
            va="baseline",
            fontsize=size,
            color="0.1",
            parse_math=False,
        )
    return pixels(canvas)


def _resized(given: ArrayLike, cell: int | None) -> PixelArray:
    check_image("sheet's", given)
    image = np.clip(np.asarray(given, np.float32), 0, 1)
    longest = max(image.shape[:2])
    if cell is None or cell == longest:
        return image
    return make_sheet([image], height=max(round(image.shape[0] * cell / longest), 1))


def _make_ruler(font: int) -> Callable[[str], int]:
    """A function that gives the width of a line of text in pixels."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    renderer, properties = RendererAgg(1, 1, DPI), FontProperties(size=font * _POINTS_PER_PIXEL)
    return functools.cache(
        lambda line: int(
            np.ceil(renderer.get_text_width_height_descent(line, properties, ismath=False)[0])
        )
    )


def _wrap(text: str, width: float, measure: Callable[[str], int]) -> list[str]:
    """The text in lines no wider than `width` pixels.

    They break after spaces and punctuation, and within a word only where it is wider.
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in re.split(r"(?<=[\s,;+/])", " ".join(paragraph.split())):
            if line and measure((line + word).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            for character in word:
                if line and measure((line + character).rstrip()) > width:
                    lines.append(line.rstrip())
                    line = ""
                line += character
        lines.append(line.rstrip())
    return lines
