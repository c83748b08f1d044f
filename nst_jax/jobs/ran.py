"""When and by which command something was made."""

import shlex
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from msgspec import UNSET

from nst_jax.jobs.record import Ran
from nst_jax.jobs.sharing import without_folder

COMMAND: ContextVar[Sequence[str]] = ContextVar("command", default=())
"""The words of the command that runs; none where Python calls."""


def describe_ran(seconds: float) -> Ran:
    """Of something that ends now.

    Args:
        seconds: How long it took.
    """
    started, words = datetime.now(UTC) - timedelta(seconds=seconds), COMMAND.get()
    return Ran(
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        command=shlex.join(map(without_folder, words)) if words else UNSET,
    )
