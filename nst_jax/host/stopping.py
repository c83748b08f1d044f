"""Ctrl-C and SIGTERM ask a run to stop, at the next place where nothing is lost."""

import logging
import os
import signal
import socket
import threading
from typing import Any

_LOG = logging.getLogger(__name__)


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
    """A context manager that notes the first Ctrl-C or SIGTERM, for the main thread.

    The second ends the process at once.

    Python runs handlers of signals between two of its own instructions, and the main thread may be
    within XLA for minutes. So what arrives is also written to a socket, on which a thread waits.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    def __enter__(self) -> "StopSignals":
        self._arrivals, self._arriving = socket.socketpair()
        self._arriving.setblocking(False)
        self._descriptor_before = signal.set_wakeup_fd(self._arriving.fileno())
        self._before: dict[int, Any] = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        threading.Thread(target=self._wait, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._descriptor_before)
        self._arriving.close()

    def _note(self, number: int, frame: object) -> None:
        self.received = number

    def _wait(self) -> None:
        arrived = 0
        with self._arrivals:
            while number := self._arrivals.recv(1):
                if number[0] in (signal.SIGINT, signal.SIGTERM):
                    arrived += 1
                    if arrived > 1:
                        os._exit(128 + number[0])
                    self.received = number[0]
                    _LOG.info("stopping at the end of this step; once more stops at once")


class HeldInterrupt:
    """A context manager that notes the first Ctrl-C instead of raising it; the second is raised.

    Where somebody else answers to Ctrl-C, or outside of the main thread, it does nothing.
    """

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> "HeldInterrupt":
        in_main = threading.current_thread() is threading.main_thread()
        self._holds = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._holds:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._holds:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: object) -> None:
        self.received = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
