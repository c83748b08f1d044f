"""In which order a CPU runs the operations of a compiled program."""

import os
from functools import cache

import jax

_OPTION = "xla_cpu_scheduler_type"
_IN_LEAST_MEMORY = {_OPTION: "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}


@cache
def in_least_memory() -> dict[str, str]:
    """Options of `jax.jit` for a program that is to hold as little as possible at a time.

    By default XLA orders a CPU's operations so that many can run at once, and so keeps gradients
    long before they are needed. On two cores that gained nothing (docs/benchmarks).

    Empty where there is no such choice: on accelerators, by a compiler that does not know it, or
    where `XLA_FLAGS` has made it.
    """
    if jax.default_backend() != "cpu" or _OPTION in os.environ.get("XLA_FLAGS", ""):
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=_IN_LEAST_MEMORY).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _IN_LEAST_MEMORY
