"""Progress and outcome for machines: JSON, an object a line, on standard output."""

import json
import math
import sys
from contextvars import ContextVar
from typing import Any

from nst_jax.cli.lines import say

_ON: ContextVar[bool] = ContextVar("events", default=False)


def tell_events(on: bool) -> None:
    """Turns them on or off."""
    _ON.set(on)


def event(kind: str, /, **values: Any) -> None:
    """Writes one, if they are on; what JSON cannot say of numbers is null."""
    if _ON.get():
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }
        say(json.dumps({"event": kind, **finite}), sys.stdout)


def outcome(line: str, **values: Any) -> None:
    """How a command ended: a line for people, or the event `end`."""
    if _ON.get():
        event("end", **values)
    else:
        say(line, sys.stdout)
