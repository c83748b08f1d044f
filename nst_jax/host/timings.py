"""How long steps took is kept beside the compiled programs, for the next run to tell."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

import jax

from nst_jax.host.drafts import draft_of

_MOST_PROGRAMS = 200

Rates = Mapping[tuple[int, int], float]
"""Seconds a pixel and step by height and width."""


def read_rates(program: str) -> Rates:
    """What was kept of a program; nothing where nothing was.

    Args:
        program: What tells it from others.
    """
    found = _read().get(program)
    rates = {}
    for shape, rate in found.items() if isinstance(found, dict) else ():
        with contextlib.suppress(ValueError):
            height, width = map(int, str(shape).split("x"))
            if isinstance(rate, float) and 0 < rate < 1:
                rates[height, width] = rate
    return rates


def keep_rates(program: str, rates: Rates) -> None:
    """Keeps how long a program's steps took, if there is a folder of compiled programs.

    Args:
        program: As in `read_rates`.
        rates: What was measured; of sizes that are not in it, what was kept stays.
    """
    path = _path()
    if path is None or not rates:
        return
    kept = _read()
    own = {f"{height}x{width}": rate for (height, width), rate in rates.items()}
    before = kept.pop(program, None)
    kept[program] = {**before, **own} if isinstance(before, dict) else own  # as the last
    kept = dict(list(kept.items())[-_MOST_PROGRAMS:])
    with contextlib.suppress(OSError), draft_of(path) as draft:
        draft.write_text(json.dumps(kept))


def _read() -> dict[str, object]:
    path = _path()
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _path() -> Path | None:
    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    return Path(folder) / "nst_jax_timings.json" if folder else None
