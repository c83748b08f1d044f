"""Lines that a command prints."""

import codecs
import contextlib
import logging
import sys
from collections.abc import Callable
from typing import TextIO


def say(line: str, stream: TextIO | None = None) -> None:
    """Prints one line, on standard error if not told otherwise.

    Characters that cannot be printed are spelt out. Nothing happens where nobody listens.
    """
    stream = stream or sys.stderr
    if stream is not None:  # as without a console
        with contextlib.suppress(OSError):
            print(printable(line, stream), file=stream, flush=True)


def tell(line: str) -> None:
    """`say` of progress, unless the user wants to be told none."""
    if tells():
        say(line)


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
    return line.encode(encoding, LOOKALIKES).decode(encoding)


LOOKALIKES = "nst_jax.lookalikes"
"""How streams treat letters that they cannot show, if told so: `…` becomes `...`."""

_LOOKALIKES = {"…": "...", "×": "x", "•": "*", "–": "-", "−": "-", "’": "'"}


def _look_alike(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handles an error of encoding."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    if letter in _LOOKALIKES:
        return _LOOKALIKES[letter], error.start + 1
    return codecs.backslashreplace_errors(error)


codecs.register_error(LOOKALIKES, _look_alike)


class Lines(logging.Handler):
    """Shows what the library tells, a line each, warnings as notes."""

    def __init__(self) -> None:
        super().__init__()
        self.write: Callable[[str], None] = say

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.write(f"note: {text}" if record.levelno >= logging.WARNING else text)


LINES = Lines()


def tells() -> bool:
    """Whether the user wants to be told of progress."""
    return logging.getLogger("nst_jax").level < logging.WARNING
