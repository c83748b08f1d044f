"""The 3 × 3 convolution that every layer of VGG is made of, and its gradient.

The network is frozen: the only derivative anyone needs is the one with respect to the input. It is written out here as what it is, a forward
convolution with the kernel flipped and its channels swapped. XLA's CPU compiler keeps that form on its fast path inside `scan` and
`while_loop`, where the gradient that autodiff makes of a convolution runs several times slower than alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float


@jax.custom_vjp
def convolve(
    features: Float[Array | np.ndarray, "height width in_channels"], kernel: Float[Array | np.ndarray, "3 3 in_channels out_channels"]
) -> Float[Array, "height width out_channels"]:
    """Cross-correlates features with a 3 × 3 kernel, zero-padded to the same size.

    out[y, x, o] = Σ_{i, j, c} features[y + i − 1, x + j − 1, c] · kernel[i, j, c, o]

    The kernel counts as a constant: its cotangent is zero.

    Args:
        features: One layer's activations, or an image less its mean.
        kernel: Weights in TensorFlow's order.

    Returns:
        The responses, before bias and ReLU.
    """
    # The highest precision matters on accelerators alone, whose default rounds the factors to 10 bits or fewer.
    return lax.conv_general_dilated(
        jnp.asarray(features)[None],
        jnp.asarray(kernel),
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )[0]


def _forward(features: Array | np.ndarray, kernel: Array | np.ndarray) -> tuple[Array, Array | np.ndarray]:
    return convolve(features, kernel), kernel


def _backward(kernel: Array | np.ndarray, cotangent: Array) -> tuple[Array, None]:
    return convolve(cotangent, jnp.flip(kernel, (0, 1)).swapaxes(2, 3)), None


convolve.defvjp(_forward, _backward)
