"""The type that sums are made in."""

from typing import Any

import jax.numpy as jnp


def accumulation_type(kind: Any) -> Any:
    """The type to add up in: float32 for half precision, a wider floating-point type itself.

    Half precision loses sums of thousands of values.
    """
    return kind if jnp.finfo(kind).bits >= 32 else jnp.dtype("float32")
