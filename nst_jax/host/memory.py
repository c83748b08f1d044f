"""How many lanes fit a device's memory."""

from collections.abc import Callable
from contextvars import ContextVar

import jax
import psutil

from nst_jax.host.cgroups import free_in_cgroups

FreeBytes = Callable[[jax.Device], int | None]
"""Tells the memory that a device still has to give, as `free_bytes` does."""

_SHARE = 0.85  # of what is free; the rest is for fragments, and for what is made between two pieces


_LIMIT: ContextVar[int | None] = ContextVar("memory limit", default=None)


def limit_memory(limit: int | None) -> None:
    """Makes `free_bytes` tell no more than the process lacks of so many bytes; None ends it."""
    _LIMIT.set(limit)


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that the machine, or a device, had no more to give."""
    return isinstance(error, MemoryError) or (
        isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    )


def free_bytes(device: jax.Device) -> int | None:
    """The memory that `device` still has to give, in bytes; None where it cannot tell.

    On a CPU that is the least of what the machine, and each of the process's control groups, has;
    several CPU devices share it.
    """
    limit = _LIMIT.get()
    if device.platform == "cpu":
        choices = [psutil.virtual_memory().available, free_in_cgroups()]
        choices += [None if limit is None else max(limit - psutil.Process().memory_info().rss, 0)]
        free = min(choice for choice in choices if choice is not None)
        return free // sum(other.platform == "cpu" for other in jax.local_devices())
    stats = device.memory_stats() or {}
    most = [size for size in (stats.get("bytes_limit"), limit) if size is not None]
    return max(min(most) - stats.get("bytes_in_use", 0), 0) if most else None


def lanes_that_fit(free: int, shared: int, per_lane: int) -> int:
    """How many lanes a device takes, 0 if not even one.

    Args:
        free: Bytes that the device has left.
        shared: Bytes needed whatever the number of lanes.
        per_lane: Bytes that each lane needs.
    """
    return max(int((_SHARE * free - shared) // max(per_lane, 1)), 0)
