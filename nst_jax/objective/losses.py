"""The losses, each an equation.

N is a layer's number of channels and M its number of positions, as in Gatys, Ecker and Bethge,
"Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016). What each term is multiplied
by is a matter of the objective's scaling, not of the equation.
"""

from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from nst_jax.checks import ConfigError, check_one_of
from nst_jax.config import Precision
from nst_jax.dtypes import accumulation_type
from nst_jax.pixels import check_floating


def gram_matrix(
    features: Float[Array | np.ndarray, "height width channels"], precision: Precision = "highest"
) -> Float[Array, "channels channels"]:
    """Mean product of every pair of channels over all positions.

    G = Fᵀ F / M, with F the features as M positions × N channels.

    Args:
        features: One layer's activations after ReLU.
        precision: As in `TransferConfig`; sums are float32 at least.

    Returns:
        Symmetric, positive semidefinite; independent of where in the image each feature lies.

    Raises:
        ConfigError: The features are not of one image, (height, width, channels), or there is no
            such precision.

    Example:
        >>> gram_matrix(np.ones((4, 5, 2))).tolist()
        [[1.0, 1.0], [1.0, 1.0]]

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equation 3, which sums where this averages, so that
        images of any two sizes compare.
    """
    if np.ndim(features) != 3:
        raise ConfigError(
            f"features has shape {np.shape(features)}; give one image's (height, width, "
            "channels); jax.vmap takes a batch"
        )
    check_floating("features", features)
    check_one_of("precision", precision, get_args(Precision))
    features = jnp.asarray(features)
    return _mean_products(precision, features.reshape(-1, features.shape[-1]))  # (M, N)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _mean_products(precision: Precision, positions: Array) -> Array:
    return _products(positions, positions, precision)


@_mean_products.defjvp
def _mean_products_tangent(
    precision: Precision, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    # Backwards this takes one product, where autodiff, which does not know that both factors are
    # the same, takes two.
    (positions,), (tangent,) = primals, tangents
    half = _products(positions, tangent, precision)
    return _mean_products(precision, positions), half + half.T


def _products(first: Array, second: Array, precision: Precision) -> Array:
    return _sums_of_products(first, second, precision) / first.shape[0]


def _sums_of_products(first: Array, second: Array, precision: Precision) -> Array:
    # Over thousands of positions: in float32 at least, whatever the activations are.
    rounds = lax.Precision.HIGHEST if precision == "highest" else lax.Precision.DEFAULT
    return jnp.matmul(
        first.T, second, precision=rounds, preferred_element_type=accumulation_type(first.dtype)
    )


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def weighted_gram_matrix(precision: Precision, features: Array, shares: Array) -> Array:
    """Σ share · f fᵀ over the positions of features.

    Features are (height, width, channels), shares (height, width, 1). Shares have no derivative.
    """
    return _share_products(features, features, shares, precision)


@weighted_gram_matrix.defjvp
def _weighted_gram_tangent(
    precision: Precision, primals: tuple[Array, Array], tangents: tuple[Array, Any]
) -> tuple[Array, Array]:
    (features, shares), (tangent, _) = primals, tangents
    # Weighed before the product: after it, backwards, the compiler would round weights and sums as
    # one or as two, in a batch of lanes otherwise than in a single run.
    half = _share_products(features, tangent, shares, precision)
    return weighted_gram_matrix(precision, features, shares), half + half.T


def _share_products(first: Array, second: Array, shares: Array, precision: Precision) -> Array:
    kind = accumulation_type(first.dtype)
    # As fractions of the largest, since a tile's positions count 0 or alike, and so 0 or 1, of
    # which half precision loses nothing.
    largest = jnp.max(shares)
    fractions = shares / jnp.where(largest > 0, largest, 1)
    weighed = (first * fractions.astype(first.dtype)).reshape(-1, first.shape[-1])
    products = _sums_of_products(weighed, second.reshape(-1, second.shape[-1]), precision)
    return largest.astype(kind) * products


def content_loss(
    features: Float[Array | np.ndarray, "height width channels"],
    content_features: Float[Array | np.ndarray, "height width channels"],
) -> Float[Array, ""]:
    """Squared distance between two images' features at one layer.

    ‖F − P‖² = Σ (F − P)²

    Args:
        features: The generated image's activations, F.
        content_features: The content image's, P.

    Raises:
        ConfigError: They are no floating-point numbers, or of two shapes.

    Example:
        >>> float(content_loss(np.ones((2, 2, 3)), np.zeros((2, 2, 3))))
        12.0

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equation 1, without its factor 1/2.
    """
    check_floating("features", features)
    if np.shape(features) != np.shape(content_features):
        raise ConfigError(
            f"features has shape {np.shape(features)}, content_features "
            f"{np.shape(content_features)}; both must be of images of one size, at one layer"
        )
    missing = jnp.subtract(features, content_features)
    return jnp.sum(jnp.square(missing.astype(accumulation_type(missing.dtype))))


def style_loss(
    gram: Float[Array | np.ndarray, "channels channels"],
    style_gram: Float[Array | np.ndarray, "channels channels"],
) -> Float[Array, ""]:
    """Squared distance between two images' Gram matrices at one layer.

    ‖G − A‖² = Σ (G − A)²

    Args:
        gram: The generated image's Gram matrix, G.
        style_gram: The style image's, A.

    Example:
        >>> float(style_loss(np.eye(3), np.zeros((3, 3))))
        3.0

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equation 4, without its factor 1 / (4 N² M²) and on
        means instead of sums.
    """
    return jnp.sum(jnp.square(gram - style_gram))


def total_variation(image: Float[Array | np.ndarray, "height width 3"]) -> Float[Array, ""]:
    """Roughness of an image: the summed power of its gradient's length.

    TV = Σ (Δ_rows² + Δ_columns²)^1.25, over every position with a neighbour below and to the right,
    and every channel.

    Args:
        image: Any range; TV grows with its 2.5th power.

    Raises:
        ConfigError: It is not one image of floating-point numbers.

    Example:
        >>> float(total_variation(np.full((8, 8, 3), 0.5)))
        0.0

    References:
        Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them" (CVPR
        2015), section 3.2, with β = 2.5.
    """
    check_floating("image", image)
    if np.ndim(image) != 3:
        raise ConfigError(
            f"image has shape {np.shape(image)}; give one image's (height, width, channels); "
            "jax.vmap takes a batch"
        )
    return jnp.sum(variation(image))


def variation(
    image: Float[Array | np.ndarray, "height width 3"],
) -> Float[Array, "_height _width 3"]:
    """(Δ_rows² + Δ_columns²)^1.25 at every position with neighbours below and to the right.

    So the result has one row and one column fewer.
    """
    rows = image[1:, :-1] - image[:-1, :-1]
    columns = image[:-1, 1:] - image[:-1, :-1]
    squares = jnp.square(rows) + jnp.square(columns)
    # x · x^¼ by square roots, which are quicker than a power, but have no derivative at 0.
    return squares * jnp.sqrt(jnp.sqrt(jnp.where(squares == 0, 1, squares)))
