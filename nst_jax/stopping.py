"""Ctrl-C and SIGTERM ask a run to stop, at the next place where nothing is lost."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any


class Stopped(Exception):
    """A signal ended the work, and what it takes to go on is saved; the message says how.

    Args:
        message: One line.
        number: The signal's.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


class StopSignals:
    """A context manager that notes the first Ctrl-C or SIGTERM; the second stops the process at once. For the main thread.

    Args:
        say: Called with a line when the first arrives.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._before = say, {}
        self.received: int | None = None

    def __enter__(self) -> "StopSignals":
        self._before: dict[int, Any] = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for again in self._before:
            signal.signal(again, signal.SIG_DFL)
        self._say("stopping at the end of this step; once more stops at once")
