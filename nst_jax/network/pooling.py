"""What lies between the blocks of VGG."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from nst_jax.config import Pooling


def pool(
    activations: Float[Array, "height width channels"], pooling: Pooling
) -> Float[Array, "_height _width channels"]:
    """The maxima or the means of 2 × 2 positions; an odd last row or column is left out."""
    if pooling == "max":
        return lax.reduce_window(activations, -jnp.inf, lax.max, (2, 2, 1), (2, 2, 1), "VALID")
    # Faster on a CPU than a window's sum (docs/benchmarks). Rows are not reshaped, so that devices
    # may share an odd number.
    height, width = (side // 2 * 2 for side in activations.shape[:2])
    rows = activations[:height:2, :width] + activations[1:height:2, :width]
    columns = rows.reshape(height // 2, width // 2, 2, -1)
    return (columns[:, :, 0] + columns[:, :, 1]) / 4
