"""How progress is shown: a live bar in a terminal, plain lines elsewhere."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

from nst_jax.descent.result import Progress
from nst_jax.study.result import FinishedLane

_SECONDS_BETWEEN_LINES = 10


def say(line: str, stream: TextIO | None = None) -> None:
    """Prints one line, on standard error if not told otherwise.

    Characters that cannot be printed are spelt out. Nothing happens where nobody listens.
    """
    stream = stream or sys.stderr
    if stream is not None:  # as without a console
        with contextlib.suppress(OSError):
            print(printable(line, stream), file=stream, flush=True)


def printable(line: str, stream: TextIO) -> str:
    """The line with escapes for what the stream cannot show.

    Line breaks and control characters are escaped too.
    """
    line = "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in line
    )
    encoding = stream.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)


class Lines(logging.Handler):
    """Shows what the library tells, a line each, warnings as notes."""

    def __init__(self) -> None:
        super().__init__()
        self.write: Callable[[str], None] = say

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.write(f"note: {text}" if record.levelno >= logging.WARNING else text)


LINES = Lines()


def _tells() -> bool:
    """Whether the user wants to be told of progress."""
    return logging.getLogger("nst_jax").level < logging.WARNING


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class _Display:
    """A context manager that closes its bar, if it has drawn one."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        LINES.write = say
        if self._bar is not None:
            self._bar.close()


class ProgressDisplay(_Display):
    """A callback that shows a bar on a terminal, and elsewhere a line every ten seconds.

    Both say the loss and the time left.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last_line = self._started

    def __call__(self, progress: Progress) -> None:
        if not _tells():
            return
        if _is_terminal():
            self._draw(progress)
        else:
            self._print(progress)

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            form = "{n_fmt}/{total_fmt} |{bar}| {desc}"
            self._bar = tqdm(
                total=progress.num_steps, bar_format=form, dynamic_ncols=True, file=sys.stderr
            )
        gone, left = map(tqdm.format_interval, self._seconds(progress))
        self._bar.set_description_str(
            f"loss {float(progress.best_loss):.4g} [{gone} gone, {left} left]", refresh=False
        )
        self._bar.total = progress.num_steps  # fewer where a size has ended early
        self._bar.update(progress.step - self._bar.n)

    def _print(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.step < progress.num_steps and now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        _, left = self._seconds(progress)
        say(
            f"step {progress.step}/{progress.num_steps}  loss "
            f"{float(progress.best_loss):.4g}  {left:.0f} s left"
        )

    def _seconds(self, progress: Progress) -> tuple[float, float]:
        """Gone, and by the work done, left."""
        gone = time.monotonic() - self._started
        return gone, gone * (1 / progress.done - 1)


class StudyDisplay(_Display):
    """A study's progress: a line a finished lane, and on a terminal a bar below them."""

    def __init__(self) -> None:
        super().__init__()
        self._num_lanes = self._finished = 0

    def start(self, num_lanes: int) -> None:
        """Called before the first of `num_lanes`."""
        self._num_lanes, self._started = num_lanes, time.monotonic()
        if num_lanes and _is_terminal() and _tells():
            form = "{percentage:3.0f} % |{bar}| [{elapsed} gone, {remaining} left]"
            self._bar = tqdm(total=num_lanes, bar_format=form, dynamic_ncols=True, file=sys.stderr)

    def __enter__(self) -> Self:
        LINES.write = self._say
        return self

    def _say(self, line: str) -> None:
        """Prints a line above the bar."""
        if self._bar is not None:
            self._bar.write(printable(line, sys.stderr), file=sys.stderr)
        else:
            say(line)

    def __call__(self, progress: Progress) -> None:
        """Moves the bar; `progress` is that of the lanes that run."""
        if self._bar is not None:
            running = min(len(progress.loss), self._num_lanes - self._finished)
            self._bar.update(self._finished + running * progress.done - self._bar.n)

    def finish(self, name: str, lane: FinishedLane) -> None:
        """Called when a lane is written."""
        self._finished += 1
        result = lane.result
        left = (
            (time.monotonic() - self._started) / self._finished * (self._num_lanes - self._finished)
        )
        what = f"FAILED: {result.failure}" if result.failure else f"loss {float(result.loss):.4g}"
        if not _tells() and not result.failure:
            return
        self._say(
            f"{self._finished}/{self._num_lanes}  {name}  {what}  {lane.seconds:.0f} s"
            + (f", {left:.0f} s left" if left else "")
        )
