"""The 3 × 3 convolution that every layer of VGG is made of, and its gradient.

The network is frozen: the only derivative anyone needs is the one with respect to the input. It is written out here as what it is, a
convolution with the kernel flipped and its channels swapped. XLA's CPU compiler keeps that form on its fast path inside `scan` and
`while_loop`, where the gradient that autodiff makes of a convolution runs several times slower than alone.

On a CPU, layers of many channels are faster by Winograd's algorithm, on kernels that `prepare_kernels` has transformed once.
"""

import math
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from nst_jax.config import Precision
from nst_jax.winograd import convolve_reversed, convolve_transformed, transform_kernel

# Milliseconds on two AVX-512 cores, direct / Winograd: 64 → 64 channels at 256² 24 / 23, 64 → 128 at 128² 12.6 / 9.5, 128 → 128 at 128²
# 23.5 / 16.1, 256 → 256 at 64² 24.2 / 10.0, 512 → 512 at 32² 25.8 / 9.8. Where they are even, direct is more exact.
_LEAST_PAIRS_FOR_WINOGRAD = 64 * 128

Kernel = Float[Array | np.ndarray, "3 3 in_channels out_channels"] | Float[Array | np.ndarray, "6 6 in_channels out_channels"]
"""Weights in TensorFlow's order, or what `prepare_kernels` makes of them."""


def prepare_kernels(kernels: Mapping[str, Kernel]) -> dict[str, Kernel]:
    """The kernels in the form that is fastest where the program runs: transformed for Winograd's algorithm, or as they are."""

    def is_faster(kernel: Kernel) -> bool:
        return kernel.shape[0] == 3 and math.prod(kernel.shape[2:]) >= _LEAST_PAIRS_FOR_WINOGRAD

    wide = {name: kernel for name, kernel in kernels.items() if is_faster(kernel)}
    return {**kernels, **_transform_kernels(wide)} if wide and jax.default_backend() == "cpu" else dict(kernels)


@jax.jit  # one program for all of them
def _transform_kernels(kernels: Mapping[str, Kernel]) -> dict[str, Array]:
    return {name: transform_kernel(kernel) for name, kernel in kernels.items()}


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(
    features: Float[Array | np.ndarray, "height width in_channels"], kernel: Kernel, precision: Precision = "highest"
) -> Float[Array, "height width out_channels"]:
    """Cross-correlates features with a 3 × 3 kernel, zero-padded to the same size.

    out[y, x, o] = Σ_{i, j, c} features[y + i − 1, x + j − 1, c] · kernel[i, j, c, o]

    The kernel counts as a constant: its cotangent is zero.

    Args:
        features: One layer's activations, or an image less its mean.
        kernel: Weights in TensorFlow's order, or from `prepare_kernels`, which loses about a digit of float32 to speed.
        precision: As in `TransferConfig`; a prepared kernel is always computed with in float32.

    Returns:
        The responses, before bias and ReLU, of the features' type.
    """
    features, kernel = jnp.asarray(features), jnp.asarray(kernel)
    if kernel.shape[0] == 6:
        return convolve_transformed(features.astype(jnp.float32), kernel).astype(features.dtype)
    return _direct(features, kernel, precision)


def _direct(features: Array, kernel: Array, precision: Precision) -> Array:
    return lax.conv_general_dilated(
        features[None],
        kernel.astype(features.dtype),
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        # What accelerators call default rounds the factors to 10 bits or fewer.
        precision=lax.Precision.HIGHEST if precision == "highest" else lax.Precision.DEFAULT,
    )[0]


def _forward(features: Array | np.ndarray, kernel: Array | np.ndarray, precision: Precision) -> tuple[Array, Array | np.ndarray]:
    return convolve(features, kernel, precision), kernel


def _backward(precision: Precision, kernel: Array | np.ndarray, cotangent: Array) -> tuple[Array, None]:
    if kernel.shape[0] == 6:
        return convolve_reversed(cotangent.astype(jnp.float32), jnp.asarray(kernel)).astype(cotangent.dtype), None
    return _direct(cotangent, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), precision), None


convolve.defvjp(_forward, _backward)
