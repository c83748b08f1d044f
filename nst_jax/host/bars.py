"""A bar for the library's long calls, where somebody looks: in a terminal or a notebook."""

import sys
import warnings
from typing import Any, Self

with warnings.catch_warnings():
    # Without ipywidgets, a notebook's bar is one of text. Pooch imports this, too, and later.
    warnings.filterwarnings("ignore", "IProgress not found")
    from tqdm.auto import tqdm


class Closes:
    """A context manager that closes itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Called when the block ends, however it does."""


class Bar(Closes):
    """Shows how far a call has come; nothing where nobody looks.

    Args:
        wanted: Whether to show it; None where standard error is a terminal, or in a notebook.
        is_watched: Whether the caller looks in a way of its own, which None leaves alone.
    """

    def __init__(self, wanted: bool | None, is_watched: bool = False) -> None:
        self._shows = (not is_watched and _somebody_looks()) if wanted is None else wanted
        self._bar: Any = None

    def __bool__(self) -> bool:
        return self._shows

    def close(self) -> None:
        """Ends the bar; what it has drawn stays."""
        if self._bar is not None:
            self._bar.close()

    def show(self, done: float, text: str) -> None:
        """Moves it.

        Args:
            done: The share of the work, from 0 to 1.
            text: What else is of interest.
        """
        if not self._shows:
            return
        if self._bar is None:
            form = "{percentage:3.0f} % |{bar}| {desc} [{elapsed} gone, {remaining} left]"
            self._bar = tqdm(total=1.0, bar_format=form, dynamic_ncols=True)
        self._bar.set_description_str(text, refresh=False)
        self._bar.update(done - self._bar.n)


def _somebody_looks() -> bool:
    return _is_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def _is_notebook() -> bool:
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell else None
    return running is not None and "IPKernelApp" in running.config
