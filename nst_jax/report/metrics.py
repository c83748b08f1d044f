"""How far apart two images are, or the features of two: each an equation, in float64 NumPy.

Nothing here is shared with the losses, so that neither takes over a mistake of the other.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Positions = Float[np.ndarray, "_positions channels"]
"""Features of an image at one layer, a row for each of its positions."""

_PAIRS, _PIXELS = 2**20, 2**12  # looked at together: of positions, of an image; 8 MB and 2 MB

_SPREAD, _BINS, _REACH, _LEAST = 0.02, 64, 3.0, 1e-6  # HistoGAN's τ, h, its u and v, its ε


def structure_distance(content: Positions, result: Positions) -> float:
    """How differently the positions of two images resemble one another (CFSD).

    mean_i Σ_j P_ij (ln P_ij − ln Q_ij), P and Q the softmax over j of f_i · f_j / C² for content
    and result, C the number of channels. Features are not normalised, so that a result of stronger
    contrast is farther.

    Args:
        content: The content's features.
        result: The result's, at the same positions.

    Returns:
        0 for the same; the same for features in any common order of positions.

    References:
        Chung, Hyun and Heo, "Style Injection in Diffusion" (CVPR 2024), which takes the sum over i
        in place of the mean, so that its numbers grow with the image.
    """
    # whose import takes a fifth of a second, which not every start is to wait for
    from scipy.special import log_softmax

    count, channels = content.shape
    rows, total = max(_PAIRS // count, 1), 0.0
    for start in range(0, count, rows):
        wanted, found = (
            log_softmax(features[start : start + rows] @ features.T / channels**2, axis=1)
            for features in (content, result)
        )
        total += float(np.sum(np.exp(wanted) * (wanted - found)))
    return total / count


def gram_distance(found: Positions, wanted: Positions) -> float:
    """‖G − A‖² / ‖A‖², G and A the mean products of channels that are found and wanted.

    Returns:
        The fraction still missing, as the loss has it under the scaling `relative`.

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equation 4.
    """
    gram, style_gram = _products(found), _products(wanted)
    return float(np.sum((gram - style_gram) ** 2) / np.sum(style_gram**2))


def gaussian_distance(found: Positions, wanted: Positions) -> float:
    """The Wasserstein distance of two Gaussians with the features' means and covariances.

    (‖μ − μ'‖² + tr Σ + tr Σ' − 2 tr (Σ'^½ Σ Σ'^½)^½) / (‖μ'‖² + tr Σ'), μ' and Σ' wanted.

    Returns:
        0 for equal moments, 1 for features that are all 0.

    References:
        Dowson and Landau, "The Fréchet distance between multivariate normal distributions" (1982).
    """
    (mean, covariance), (wanted_mean, wanted_covariance) = _moments(found), _moments(wanted)
    # The trace of the root is the sum of the singular values of Σ^½ Σ'^½.
    cross = np.linalg.svd(_root(covariance) @ _root(wanted_covariance), compute_uv=False).sum()
    spread = np.trace(covariance) + np.trace(wanted_covariance) - 2 * cross
    distance = np.sum((mean - wanted_mean) ** 2) + max(spread, 0.0)
    return float(distance / (np.sum(wanted_mean**2) + np.trace(wanted_covariance)))


def sliced_distance(
    found: Positions, wanted: Positions, directions: Float[np.ndarray, "num_directions channels"]
) -> float:
    """The Wasserstein distance of the features along directions, on average over these.

    Σ_v ∫ (q_v(u) − q'_v(u))² du / Σ_v ∫ q'_v(u)² du, q_v the quantiles of the features along v.

    Args:
        found: The features of an image.
        wanted: Those of another, of any number of positions.
        directions: The directions v.

    Returns:
        0 for the same features in any order, 1 for features that are all 0.

    References:
        Heitz, Vanhoey, Chambon and Belcour, "A Sliced Wasserstein Loss for Neural Texture
        Synthesis" (CVPR 2021), equation 3; sets of different sizes are compared by the exact
        integral, where the paper repeats the smaller one.
    """
    first, second, shares = _coupling(len(found), len(wanted))
    missing = size = 0.0
    for along, wanted_along in zip(
        *(np.sort(directions @ positions.T, axis=1) for positions in (found, wanted)), strict=True
    ):
        missing += float(shares @ (along[first] - wanted_along[second]) ** 2)
        size += float(np.mean(wanted_along**2))
    return missing / size


def colour_distance(
    first: Float[np.ndarray, "height width 3"], second: Float[np.ndarray, "_height _width 3"]
) -> float:
    """The Hellinger distance of two images' colours, of which brightness only decides the weight.

    ‖√H − √H'‖ / √2, H the histogram of log-ratios of channels: for red, the pixels at
    u = ln R/G and v = ln R/B, each spread over 64 × 64 bins of [−3, 3]² by 1 / (1 + (Δ/0.02)²)
    and weighed by √(R² + G² + B²); for green and blue likewise; all summing to 1.

    Returns:
        Between 0 and 1.

    References:
        Afifi, Brubaker and Brown, "HistoGAN" (CVPR 2021), equations 1 to 3 and 6; every pixel
        counts, where its code shrinks images to 150 × 150.
    """
    missing = np.sqrt(_histogram(first)) - np.sqrt(_histogram(second))
    return float(np.sqrt(np.sum(missing**2) / 2))


def halved(image: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "_height _width 3"]:
    """The means of squares of 2 × 2 pixels; an odd last row or column is left out."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean((1, 3))


def _products(positions: Positions) -> np.ndarray:
    return positions.T @ positions / len(positions)


def _moments(positions: Positions) -> tuple[np.ndarray, np.ndarray]:
    mean = positions.mean(0)
    return mean, _products(positions - mean)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _coupling(count: int, other: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of `count` sorted numbers meets which of `other`, and for which share of [0, 1]."""
    # Quantiles are constant between these, in units of 1 / (count · other).
    edges = np.union1d(np.arange(1, count + 1) * other, np.arange(1, other + 1) * count)
    shares = np.diff(edges, prepend=0) / (count * other)
    return (edges - 1) // other, (edges - 1) // count, shares


def _histogram(image: np.ndarray) -> np.ndarray:
    pixels = np.clip(np.asarray(image, np.float64).reshape(-1, 3), 0, 1)
    counts = sum(
        _counts(pixels[start : start + _PIXELS]) for start in range(0, len(pixels), _PIXELS)
    )
    return counts / np.sum(counts)


def _counts(pixels: np.ndarray) -> np.ndarray:
    """(3, bins, bins): what pixels count at u and v, for red, green and blue."""
    weights = np.sqrt(np.sum(pixels**2, axis=1) + _LEAST)
    logs = np.log(pixels + _LEAST).T
    others: Sequence[tuple[int, int, int]] = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
    return np.stack(
        [
            (weights * _spread(logs[own] - logs[first])) @ _spread(logs[own] - logs[second]).T
            for own, first, second in others
        ]
    )


def _spread(values: np.ndarray) -> np.ndarray:
    """(bins, values): what each value counts at each bin."""
    bins = np.linspace(-_REACH, _REACH, _BINS)[:, None]
    return 1 / (1 + ((values - bins) / _SPREAD) ** 2)
