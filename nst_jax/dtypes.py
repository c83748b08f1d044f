"""The type that sums are made in."""

from typing import Any

import jax.numpy as jnp


def accumulation_type(kind: Any) -> Any:
    """float32 for half precision, in which sums of thousands of values are lost; a wider
    floating-point type itself."""
    return kind if jnp.finfo(kind).bits >= 32 else jnp.dtype("float32")
