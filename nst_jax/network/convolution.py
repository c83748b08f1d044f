"""The 3 × 3 convolution that every layer of VGG is made of, with its derivatives.

It is a JAX primitive of its own, linear in the features and in the kernel, so that every
transformation has it: forward and reverse mode, of any order, and `vmap`. Its gradient in the
features is written out as what it is, a convolution with the kernel reversed and its channels
swapped. XLA's CPU compiler keeps that form on its fast path inside `scan` and `while_loop`, where
the gradient that autodiff makes of a convolution runs several times slower than alone.

On a CPU, layers of many channels are faster by Winograd's algorithm. It takes kernels that
`prepare_kernels` has transformed once, or transforms them itself in every evaluation.

References:
    JAX's documentation, "JAX Internals: primitives", for what a primitive has to define.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Float

from nst_jax.checks import ConfigError, check_one_of
from nst_jax.config import Border, Precision
from nst_jax.network.borders import pad
from nst_jax.network.winograd import convolve_reversed, convolve_transformed, transform_kernel

# From here up, Winograd's algorithm is as fast or faster (docs/benchmarks).
_LEAST_PAIRS_FOR_WINOGRAD = 64 * 64
# conv1_2 gains little from rounded factors, and every layer sees the rounding (docs/benchmarks).
_LEAST_PAIRS_TO_ROUND = 64 * 128
_LEAST_PIXELS_TO_TRANSFORM = 256  # from which on it spares more than a kernel's transform takes

Kernel = (
    Float[Array | np.ndarray, "3 3 in_channels out_channels"]
    | Float[Array | np.ndarray, "6 6 in_channels out_channels"]
    | Float[Array | np.ndarray, "1 9 in_channels out_channels"]
)
"""Weights in TensorFlow's order, or what `prepare_kernels` or `direct_kernel` makes of them."""


def prepare_kernels(
    kernels: Mapping[str, Kernel], precision: Precision = "highest"
) -> dict[str, Kernel]:
    """The kernels in the form that is fastest where the program runs.

    That is transformed for Winograd's algorithm, or as they are.

    Args:
        kernels: By layer.
        precision: As in `TransferConfig`; below the highest, transformed kernels of at least 64 ×
            128 channels are bfloat16.

    Raises:
        ConfigError: A kernel was prepared for less precision than is asked for, or there is no such
            precision.
    """
    check_one_of("precision", precision, get_args(Precision))
    is_rounded = precision != "highest" and jax.default_backend() == "cpu"
    ready = {name: kernel for name, kernel in kernels.items() if kernel.shape[0] == 6}
    if any(kernel.dtype == jnp.bfloat16 for kernel in ready.values()) and not is_rounded:
        raise ConfigError(
            "the parameters are prepared in bfloat16, but the run is in float32; give it those of "
            "load_params, which it prepares itself"
        )
    if is_rounded:
        ready = {name: _rounded(jnp.asarray(kernel)) for name, kernel in ready.items()}
    others = {name: kernel for name, kernel in kernels.items() if _is_for_winograd(kernel)}
    if others:
        ready |= _transform_kernels(others, is_rounded)
    return {**kernels, **ready}


def _is_for_winograd(kernel: Kernel) -> bool:
    return (
        jax.default_backend() == "cpu"
        and kernel.shape[0] != 6
        and math.prod(kernel.shape[2:]) >= _LEAST_PAIRS_FOR_WINOGRAD
    )


def direct_kernel(kernel: Kernel) -> Kernel:
    """A kernel that is computed with by the equation, on a CPU too, and so more exactly."""
    if kernel.shape[0] != 3:
        return kernel
    if isinstance(kernel, jax.Array) and not isinstance(kernel, Tracer):
        kernel = np.asarray(kernel)  # on a CPU the same memory, where JAX would copy it
    return kernel.reshape(1, 9, *kernel.shape[2:])


@partial(jax.jit, static_argnums=1)  # one program for all of them
def _transform_kernels(kernels: Mapping[str, Kernel], is_rounded: bool) -> dict[str, Array]:
    found = {name: transform_kernel(kernel) for name, kernel in kernels.items()}
    return jax.tree.map(_rounded, found) if is_rounded else found


def _rounded(transformed: Array) -> Array:
    is_wide = math.prod(transformed.shape[2:]) >= _LEAST_PAIRS_TO_ROUND
    return transformed.astype(jnp.bfloat16) if is_wide else transformed


def convolve(
    features: Float[Array | np.ndarray, "height width in_channels"],
    kernel: Kernel,
    precision: Precision = "highest",
    border: Border = "zero",
) -> Float[Array, "height width out_channels"]:
    """Cross-correlates features, padded to the same size, with a 3 × 3 kernel.

    out[y, x, o] = Σ_{i, j, c} features[y + i − 1, x + j − 1, c] · kernel[i, j, c, o]

    Args:
        features: One layer's activations, or an image less its mean.
        kernel: Weights in TensorFlow's order, or from `prepare_kernels`; or from `direct_kernel`,
            for Winograd's algorithm loses about a digit of float32 to speed.
        precision: As in `TransferConfig`; with a prepared kernel, factors are rounded as it is.
        border: What the features are padded with, as in `TransferConfig`.

    Returns:
        The responses, before bias and ReLU, of the features' type.
    """
    features, zeros = jnp.asarray(features), 1
    if border != "zero":  # outside of the primitive, so that autodiff knows what the border is of
        features, zeros = pad(features, border), 0
    return _convolution.bind(
        features, jnp.asarray(kernel), precision=precision, zeros=zeros, is_reversed=False
    )


def _compute(
    features: Array,
    kernel: Array,
    precision: Precision,
    zeros: int,
    is_reversed: bool,
    in_place: bool = True,
) -> Array:
    """The responses to the kernel; if reversed, their gradient in the features.

    The gradient is the response to the kernel reversed, its channels swapped. `zeros` are laid
    around the features: 1 for as many responses, 0 for those that need none, 2 for all. `in_place`
    is as in `convolve_transformed`.
    """
    height, width = features.shape[:2]
    is_known = isinstance(height, int) and isinstance(width, int)  # `jax.export` may leave it open
    is_large = is_known and height * width >= _LEAST_PIXELS_TO_TRANSFORM
    if kernel.shape[0] == 1:
        kernel = kernel.reshape(3, 3, *kernel.shape[2:])
    elif is_large and _is_for_winograd(kernel) and features.dtype != jnp.float64:
        # twice in a program, of which the compiler makes one
        kernel = transform_kernel(kernel.astype(jnp.float32))
    if kernel.shape[0] == 6:
        winograd = convolve_reversed if is_reversed else convolve_transformed
        if kernel.dtype != jnp.bfloat16:
            kernel = kernel.astype(jnp.float32)
        responses = winograd(features.astype(jnp.float32), kernel, zeros, in_place)
        return responses.astype(features.dtype)
    if is_reversed:
        kernel = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    # XLA's CPU compiler takes three times as long for responses to the features alone, so those at
    # the ends are cut off.
    if zeros == 2:
        features = jnp.pad(features, ((1, 1), (1, 1), (0, 0)))
    responses = _same_size(features, kernel, precision)
    return responses if zeros else responses[1:-1, 1:-1]


def _same_size(features: Array, kernel: Array, precision: Precision) -> Array:
    return lax.conv_general_dilated(
        features[None],
        kernel.astype(features.dtype),
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        # What accelerators call default rounds the factors to 10 bits or fewer.
        precision=lax.Precision.HIGHEST if precision == "highest" else lax.Precision.DEFAULT,
    )[0]


def _shape(features: Any, kernel: Any, precision: Precision, zeros: int, is_reversed: bool) -> Any:
    height, width = (side + 2 * (zeros - 1) for side in features.shape[:2])
    return features.update(
        shape=(height, width, kernel.shape[2 if is_reversed else 3]), weak_type=False
    )


def _features_cotangent(
    cotangent: Array,
    features: Any,
    kernel: Array,
    precision: Precision,
    zeros: int,
    is_reversed: bool,
) -> Array:
    return _convolution.bind(
        cotangent, kernel, precision=precision, zeros=2 - zeros, is_reversed=not is_reversed
    )


def _kernel_cotangent(cotangent: Array, features: Array, kernel: Any, **how: Any) -> Array:
    of_kernel = lambda kernel: _compute(
        features, jnp.asarray(direct_kernel(kernel)), **how, in_place=False
    )
    return jax.linear_transpose(of_kernel, kernel.aval)(cotangent)[0]


def _batch(arguments: Sequence[Array], axes: Sequence[int | None], **how: Any) -> tuple[Array, int]:
    return jax.vmap(partial(_compute, **how, in_place=False), axes)(*arguments), 0


_convolution = Primitive("nst_jax_convolution")
_convolution.def_impl(jax.jit(_compute, static_argnames=("precision", "zeros", "is_reversed")))
_convolution.def_abstract_eval(_shape)
ad.defbilinear(_convolution, _features_cotangent, _kernel_cotangent)
batching.primitive_batchers[_convolution] = _batch
mlir.register_lowering(_convolution, mlir.lower_fun(_compute, multiple_results=False))
