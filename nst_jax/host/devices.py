"""What JAX finds to run on, what it is called and can do, and how many cores there are."""

import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jax


def why_no_devices(error: Exception) -> str | None:
    """Why JAX has no device, and what to do about it, in one line.

    None where `error` is of something else.

    JAX looks for devices when it is first asked for something, wherever that is, and says that
    there are none by an error of no kind of its own.

    Args:
        error: What was raised.
    """
    if not str(error).startswith("Unable to initialize backend"):
        # Where no device is of `cuda`, an assertion fails without a word; it does so whenever JAX
        # is asked.
        try:
            jax.local_devices()
            return None
        except (AssertionError, RuntimeError) as asked_again:
            error = asked_again
    said = str(error).partition(" (set JAX_PLATFORMS")[0].partition(" (you may need")[0]
    reason = f" ({' '.join(said.split())})" if said else ""
    platforms = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
    if not platforms:
        return f"JAX finds nothing to run on{reason}; set JAX_PLATFORMS=cpu"
    return (
        f"JAX_PLATFORMS is '{platforms}', and JAX finds no such device{reason}; unset it to take "
        "what there is, or install what it needs: pip install '.[cuda]' or '.[tpu]'"
    )


def num_cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not of every system
        return os.cpu_count() or 1


def device_name() -> str:
    """What the first device is called; of a CPU, its model."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    model = next(_said_of_processors("model name"), platform.processor())
    return " ".join(model.split()) or device.device_kind


@cache
def multiplies_bfloat16() -> bool:
    """Whether JAX runs on a CPU that multiplies matrices of bfloat16 faster than of float32."""
    if jax.default_backend() != "cpu":
        return False
    flags = set(next(_said_of_processors("flags"), "").split())
    return bool(flags & {"amx_bf16", "avx512_bf16"})


def _said_of_processors(name: str) -> Iterator[str]:
    """What the system says by a name of each processor; nothing where it is not Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            yield value
