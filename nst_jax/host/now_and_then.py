"""When it is time again for something that is done every so many seconds."""

import contextlib
import time
from collections.abc import Iterator

_MOST_OF_THE_TIME = 1 / 20


class NowAndThen:
    """Says when it is time again.

    What takes long is done less often, so that at most a twentieth of the time goes into it.

    Args:
        every: Seconds between two times; 0 is never.
        at_once: Whether it is time for the first one now, not only after so many seconds.
    """

    def __init__(self, every: float, at_once: bool = False) -> None:
        self._every, self._at_once = every, at_once
        self._last, self._cost = time.monotonic(), 0.0

    @property
    def is_time(self) -> bool:
        """Whether it is to be done now."""
        wait = max(self._every, self._cost / _MOST_OF_THE_TIME)
        return bool(self._every) and (self._at_once or time.monotonic() - self._last >= wait)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """A block that does it."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._at_once, self._last = False, time.monotonic()
            self._cost = self._last - started
