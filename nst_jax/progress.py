"""How a run's progress is shown: a live bar in a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType

from tqdm import tqdm

from nst_jax.history import Progress

_SECONDS_BETWEEN_LINES = 10


class ProgressDisplay:
    """A context manager that is a callback: a bar with loss and time left on a terminal, else a line every ten seconds."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        if sys.stderr.isatty():
            self._draw(progress)
        else:
            self._print(progress)

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            form = "{n_fmt}/{total_fmt} |{bar}| {desc} [{elapsed} gone, {remaining} left]"
            self._bar = tqdm(total=progress.num_steps, bar_format=form, dynamic_ncols=True, file=sys.stderr)
        self._bar.set_description_str(f"loss {float(progress.best_loss):.4g}", refresh=False)
        self._bar.update(progress.step - self._bar.n)

    def _print(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.step < progress.num_steps and now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        left = (now - self._started) / progress.step * (progress.num_steps - progress.step)
        print(
            f"step {progress.step}/{progress.num_steps}  loss {float(progress.best_loss):.4g}  {left:.0f} s left", file=sys.stderr, flush=True
        )
