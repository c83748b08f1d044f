"""How many lanes fit a device's memory."""

from collections.abc import Callable

import jax
import psutil

FreeBytes = Callable[[jax.Device], int | None]
"""Tells the memory that a device still has to give, as `free_bytes` does."""

_SHARE = 0.85  # of what is free; the rest is for fragments, and for what is made between two pieces


def free_bytes(device: jax.Device) -> int | None:
    """The memory that `device` still has to give, in bytes; None where it cannot tell.

    Several CPU devices share the machine's.
    """
    if device.platform == "cpu":
        return psutil.virtual_memory().available // sum(
            other.platform == "cpu" for other in jax.local_devices()
        )
    stats = device.memory_stats() or {}
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None


def lanes_that_fit(free: int, shared: int, per_lane: int) -> int:
    """How many lanes a device takes, 0 if not even one.

    Args:
        free: Bytes that the device has left.
        shared: Bytes needed whatever the number of lanes.
        per_lane: Bytes that each lane needs.
    """
    return max(int((_SHARE * free - shared) // max(per_lane, 1)), 0)
