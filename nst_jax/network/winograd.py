"""Winograd's minimal filtering F(4 × 4, 3 × 3).

It takes 2.25 multiplications an output and channel instead of 9.

In one dimension, four outputs y of a filter g of three taps over six inputs d are y = A [(G g) ⊙ (B
d)]: polynomials are multiplied by evaluating both at six points, one of them infinity, and the
algorithm is the transpose of that. In two dimensions each matrix acts along rows and along columns,
and the products, summed over the input channels, become 36 matrix multiplications.

The points are 0, 1, −1, −2, 1/2 and ∞, which are twice as exact as 0, ±1, ±2 and ∞. The gradient
needs the filter reversed, and a reversed polynomial at 1/p is the polynomial at p, but for a power
of p. So the algorithm with the inverse points takes the same transformed kernels.

References:
    Lavin and Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016), section 4.
    Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution" (ACM TOMS
    2020), for the choice of points.
"""

import math
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float
from numpy.polynomial import polynomial

_POINTS = (0.0, 1.0, -1.0, -2.0, 0.5)  # and infinity
# The fastest of those tried, by the newest jax and by the one for Python 3.11 (docs/benchmarks).
_TILES_AT_ONCE = 512 if jax.__version_info__ >= (0, 12) else 4096


def _matrices(points: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B (6, 6), G (6, 3) and A (4, 6), in float64, for the five points and infinity."""
    others = [[other for other in points if other != point] for point in points]
    norms = [
        math.prod(point - other for other in rest)
        for point, rest in zip(points, others, strict=True)
    ]
    inputs = np.zeros((6, 6))
    for row, rest in zip(inputs, [*others, list(points)], strict=True):
        row[: len(rest) + 1] = polynomial.polyfromroots(rest)
    kernels = np.array(
        [
            [1 / norm, point / norm, point**2 / norm]
            for point, norm in zip(points, norms, strict=True)
        ]
        + [[0, 0, 1]]
    )
    outputs = np.array(
        [[point**power for power in range(4)] for point in points] + [[0, 0, 0, 1]]
    ).T
    return inputs, kernels, outputs


def _matrices_for_reversed() -> tuple[np.ndarray, np.ndarray]:
    """B and A that find the response to the kernel reversed.

    They take the kernel as it is transformed for `_POINTS`.
    """
    first, *others = _POINTS
    assert first == 0
    inverse = (0.0, *(1 / point for point in others))
    inputs, kernels, outputs = _matrices(inverse)
    own = _matrices(_POINTS)[1]
    order = [5, 1, 2, 3, 4, 0]  # 0 and infinity change places
    inputs, kernels, outputs = inputs[order], kernels[order], outputs[:, order]
    # Row by row, the transformed reversed kernel is a multiple of the transformed kernel.
    multiples = (kernels[:, ::-1] * own).sum(1) / (own * own).sum(1)
    assert np.allclose(kernels[:, ::-1], multiples[:, None] * own)
    return inputs * multiples[:, None], outputs


_INPUTS, _KERNELS, _OUTPUTS = _matrices(_POINTS)
_REVERSED_INPUTS, _REVERSED_OUTPUTS = _matrices_for_reversed()


def transform_kernel(
    kernel: Float[Array | np.ndarray, "3 3 in_channels out_channels"],
) -> Float[Array, "6 6 in_channels out_channels"]:
    """G g Gᵀ for every pair of channels, columns of the kernel first."""
    # as one product, which takes a fifth of the time of one along each axis
    both = np.kron(_KERNELS, _KERNELS).reshape(6, 6, 3, 3).swapaxes(0, 1).reshape(36, 9)
    kernel = jnp.asarray(kernel)
    transformed = _matmul(jnp.asarray(both, jnp.float32), kernel.reshape(9, -1))
    return transformed.reshape(6, 6, *kernel.shape[2:])


@partial(jax.jit, static_argnames=("zeros", "in_place"))  # of layers alike, one trace
def convolve_transformed(
    features: Float[Array, "height width in_channels"],
    kernel: Float[Array, "6 6 in_channels out_channels"],
    zeros: int,
    in_place: bool = True,
) -> Float[Array, "_height _width out_channels"]:
    """The responses of features to a kernel from `transform_kernel`, with zeros laid around.

    A kernel in bfloat16 is multiplied with features that are rounded so once they are transformed.
    `in_place` takes least memory, and is for neither `vmap` nor derivatives in the kernel.
    """
    return _in_strips(features, kernel, zeros, _INPUTS, _OUTPUTS, 1, in_place)


@partial(jax.jit, static_argnames=("zeros", "in_place"))
def convolve_reversed(
    cotangent: Float[Array, "height width out_channels"],
    kernel: Float[Array, "6 6 in_channels out_channels"],
    zeros: int,
    in_place: bool = True,
) -> Float[Array, "_height _width in_channels"]:
    """The gradient of `convolve_transformed` with respect to its features.

    `zeros` are those laid around the cotangent: 2 less those of the features.
    """
    return _in_strips(cotangent, kernel, zeros, _REVERSED_INPUTS, _REVERSED_OUTPUTS, 2, in_place)


def _in_strips(
    image: Array,
    kernel: Array,
    zeros: int,
    inputs: np.ndarray,
    outputs: np.ndarray,
    channels_axis: int,
    in_place: bool,
) -> Array:
    """Strips of rows of tiles, one after another.

    So the arrays between the transforms take no more memory for a larger image. In place, responses
    are put into an array that is there already: those of `lax.map` XLA's CPU compiler fills with
    zeros when a program begins, for all layers, and copies.
    """
    height, width = (side + 2 * (zeros - 1) for side in image.shape[:2])
    channels = image.shape[2]
    products = kernel.reshape(36, *kernel.shape[2:])
    num_channels = products.shape[3 - channels_axis]
    tile_rows, tile_columns = -(-height // 4), -(-width // 4)
    num_strips = -(-tile_rows // max(_TILES_AT_ONCE // tile_columns, 1))
    strip_rows = -(-tile_rows // num_strips)
    # A tile sees one row and column before its four and one after; padding to whole blocks of four
    # lets a strip be reshaped.
    below = 4 * (num_strips * strip_rows + 1) - zeros - image.shape[0]
    right = 4 * (tile_columns + 1) - zeros - image.shape[1]
    padded = jnp.pad(image, ((zeros, below), (zeros, right), (0, 0)))
    both_outputs = jnp.asarray(
        np.kron(outputs, outputs).reshape(4, 4, 36).swapaxes(0, 1).reshape(16, 36), jnp.float32
    )

    def strip(rows: Array) -> Array:
        rows = rows.reshape(strip_rows + 1, 4, *rows.shape[1:])
        taps = _taps(rows, axis=0)
        # (6, strip_rows, padded width, channels)
        lines = jnp.stack([_combine(row, taps) for row in inputs])
        lines = lines.reshape(6, strip_rows, tile_columns + 1, 4, channels)
        taps = _taps(lines, axis=2)
        tiles = jnp.stack([_combine(row, taps) for row in inputs]).reshape(
            36, strip_rows * tile_columns, channels
        )
        if products.dtype == jnp.bfloat16:
            # of factors that it rounds itself, the compiler makes no product in bfloat16
            tiles = lax.optimization_barrier(tiles.astype(jnp.bfloat16))
        contracted = ((2,), (channels_axis,)), ((0,), (0,))
        responses = lax.dot_general(
            tiles,
            products,
            contracted,
            precision=lax.Precision.HIGHEST,
            preferred_element_type=jnp.float32,
        )
        pixels = _matmul(both_outputs, responses.reshape(36, -1)).reshape(
            4, 4, strip_rows, tile_columns, num_channels
        )
        return pixels.transpose(2, 0, 3, 1, 4).reshape(
            4 * strip_rows, 4 * tile_columns, num_channels
        )

    shape = 4 * strip_rows * num_strips, 4 * tile_columns, num_channels
    overwrites = num_channels == channels

    def strip_of(array: Array, index: Array) -> Array:
        return strip(lax.dynamic_slice_in_dim(array, 4 * strip_rows * index, 4 * (strip_rows + 1)))

    def put(index: Array, found: Array) -> Array:
        # A strip sees no row that an earlier one has filled.
        responses = strip_of(found if overwrites else padded, index)
        return lax.dynamic_update_slice_in_dim(found, responses, 4 * strip_rows * index, 0)

    if num_strips == 1:
        found = strip(padded)
    elif not in_place:
        found = lax.map(partial(strip_of, padded), jnp.arange(num_strips)).reshape(shape)
    else:
        # Filled with one of the layer's own numbers: a constant would be laid out when the program
        # begins.
        start = padded if overwrites else jnp.broadcast_to(image[0, 0, 0], shape)
        found = lax.fori_loop(0, num_strips, put, start)
    return found[:height, :width]


# A start waits until hundreds of the operations below are traced: by `lax`, which makes that of the
# targets a sixth shorter than `jax.numpy`.
def _taps(blocks: Array, axis: int) -> list[Array]:
    """The values that tiles of six take, at each of the six places.

    They come from blocks of four along `axis`, whose pixels lie along the next axis.
    """
    last = blocks.shape[axis] - 1

    def at(block: int, place: int) -> Array:
        picked = lax.slice_in_dim(blocks, block, last + block, axis=axis)
        return lax.index_in_dim(picked, place, axis + 1, keepdims=False)

    return [at(place // 4, place % 4) for place in range(6)]


def _combine(coefficients: np.ndarray, arrays: list[Array]) -> Array:
    """Σ coefficient · array, without the zeros."""
    terms = [
        array if factor == 1 else lax.mul(array, lax.full_like(array, factor))
        for factor, array in zip(coefficients, arrays, strict=True)
        if factor
    ]
    return reduce(lax.add, terms)


def _matmul(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)
