"""tr (ΣΣ')^½, what two covariances have in common, without eigenvalues and in float32.

With Cholesky factors Σ = LLᵀ and Σ' = L'L'ᵀ, it is the nuclear norm of X = LᵀL', tr UᵀX with U the
nearest orthogonal matrix. Newton–Schulz finds U by products alone. X has the square root of the
condition of Σ'^½ΣΣ'^½, whose square root others take, and no inverse grows beside it. In float32,
with VGG-19 of 8 bits and pictures of 192 pixels, the distance was at most 2e-7 of its unit off what
SciPy finds in float64. Its gradient in the features was at most 5e-5 of the largest off at the
content, and 6e-4 at a finished painting, where it is small.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from nst_jax.objective.terms import TINY

LEAST = 0.01
"""What is added to the diagonal of a covariance, as a share of the layer's mean second moment."""

_NUM_ITERATIONS = 15
_product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def invertible_covariance(mean: Array, second: Array) -> Array:
    """Σ with a little on its diagonal, (channels, channels).

    Args:
        mean: (channels,).
        second: Second moments about 0, (channels, channels).
    """
    least = LEAST * jnp.trace(second) / len(mean) + TINY
    return second - jnp.outer(mean, mean) + least * jnp.eye(len(mean), dtype=mean.dtype)


def _nearest_orthogonal(matrix: Array) -> Array:
    """U of the polar decomposition, by Newton–Schulz: X ← a X (3 − a² XᵀX) / 2.

    References:
        Chen and Chow, "A stable scaling of Newton-Schulz for improving the sign function
        computation of a Hermitian matrix" (2014), for a: the smallest singular value grows by 2.6
        each time instead of 1.5.
    """
    size = matrix.shape[0]
    identity = jnp.eye(size, dtype=matrix.dtype)
    found = matrix / jnp.sqrt(jnp.sum(jnp.square(matrix)))
    least = LEAST / size  # of singular values, by what was added to both covariances
    scales = []
    for _ in range(_NUM_ITERATIONS):
        scales.append((3 / (1 + least + least**2)) ** 0.5)
        least = min(scales[-1] * least * (3 - (scales[-1] * least) ** 2) / 2, 1.0)

    def improve(found: Array, scale: Array) -> tuple[Array, None]:
        step = 3 * identity - scale**2 * _product(found.T, found)
        return scale / 2 * _product(found, step), None

    return lax.scan(improve, found, jnp.asarray(scales, matrix.dtype))[0]


@jax.custom_jvp
def shared_spread(covariance: Array, wanted_factor: Array) -> Array:
    """tr (ΣΣ')^½ of Σ and of the Cholesky factor of Σ'.

    Its derivative is ⟨U, LᵀdL'⟩ + ½ ⟨L⁻ᵀUL'ᵀ, dΣ⟩: neither Cholesky's algorithm nor the iteration
    is differentiated.
    """
    return _spread(covariance, wanted_factor)[0]


def _spread(covariance: Array, wanted_factor: Array) -> tuple[Array, Array, Array]:
    factor = jnp.linalg.cholesky(covariance)
    matrix = _product(factor.T, wanted_factor)
    nearest = _nearest_orthogonal(matrix)
    return jnp.sum(nearest * matrix), nearest, factor


@shared_spread.defjvp
def _shared_spread_tangent(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (_, wanted_factor), (change, wanted_change) = primals, tangents
    value, nearest, factor = _spread(*primals)
    slope = solve_triangular(factor, _product(nearest, wanted_factor.T), lower=True, trans="T")
    slope = (slope + slope.T) / 2  # as it is but for rounding
    by_wanted = jnp.sum(_product(factor, nearest) * wanted_change)
    return value, jnp.sum(slope * change) / 2 + by_wanted
