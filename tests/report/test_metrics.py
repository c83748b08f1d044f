"""Each metric against SciPy, a closed form, or loops over its equation."""

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy, special_ortho_group, wasserstein_distance

from nst_jax.report.metrics import (
    colour_distance,
    gaussian_distance,
    gram_distance,
    halved,
    sliced_distance,
    structure_distance,
)


def softmax_rows(features):
    logits = features @ features.T / features.shape[1] ** 2
    weights = np.exp(logits - logits.max())
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("count", [20, 1100])  # in one block of rows, and in two
def test_structure_is_the_mean_divergence_of_the_rows(count, rng):
    content, result = 6 * rng.random((2, count, 5))
    rows = entropy(softmax_rows(content), softmax_rows(result), axis=1)
    assert structure_distance(content, result) == pytest.approx(rows.mean(), rel=1e-9)


def test_structure_knows_no_order_and_no_size(rng):
    content, result = 6 * rng.random((2, 30, 5))
    assert structure_distance(content, content) == 0
    found = structure_distance(content, result)
    order = rng.permutation(30)
    assert structure_distance(content[order], result[order]) == pytest.approx(found, rel=1e-9)
    assert structure_distance(content[order], content) > 0.01  # what lies at one place counts
    twice = [np.concatenate([features, features]) for features in (content, result)]
    assert structure_distance(*twice) == pytest.approx(found, rel=1e-9)


def test_gram_is_the_fraction_missing(rng):
    found, wanted = rng.random((40, 6)), rng.random((30, 6))
    gram, style_gram = (
        np.mean([np.outer(row, row) for row in features], axis=0) for features in (found, wanted)
    )
    expected = (np.linalg.norm(gram - style_gram) / np.linalg.norm(style_gram)) ** 2
    assert gram_distance(found, wanted) == pytest.approx(expected, rel=1e-12)
    assert gram_distance(0 * found, wanted) == 1
    assert gram_distance(2 * wanted, wanted) == pytest.approx(9)


def moments(features):
    return features.mean(0), np.cov(features.T, bias=True)


@pytest.mark.parametrize("count", [50, 4])  # of the latter the covariance has no full rank
def test_gaussians_against_sqrtm(count, rng):
    found, wanted = rng.random((count, 6)), rng.random((60, 6)) ** 2
    (mean, covariance), (wanted_mean, wanted_covariance) = moments(found), moments(wanted)
    root = np.real(sqrtm(wanted_covariance))
    spread = covariance + wanted_covariance - 2 * np.real(sqrtm(root @ covariance @ root))
    expected = np.sum((mean - wanted_mean) ** 2) + np.trace(spread)
    expected /= np.sum(wanted_mean**2) + np.trace(wanted_covariance)
    assert gaussian_distance(found, wanted) == pytest.approx(expected, rel=1e-6)


def test_gaussians_in_closed_form(rng):
    found, wanted = rng.random((40, 1)), 3 * rng.random((30, 1))
    missing = (found.mean() - wanted.mean()) ** 2 + (found.std() - wanted.std()) ** 2
    expected = missing / np.mean(wanted**2)
    assert gaussian_distance(found, wanted) == pytest.approx(expected, rel=1e-9)
    # Covariances along the same axes commute.
    spread = np.array([1.0, 2.0, 0.5])
    cross = np.concatenate([np.eye(3), -np.eye(3)])
    expected = np.sum((spread - 1) ** 2) / 3
    assert gaussian_distance(spread * cross, cross) == pytest.approx(expected, rel=1e-9)


def test_gaussians_are_0_for_the_same_1_for_nothing_and_turn(rng):
    found, wanted = rng.random((5, 8)), rng.random((7, 8))
    assert gaussian_distance(found, found[::-1]) < 1e-12
    assert gaussian_distance(0 * found, wanted) == pytest.approx(1, rel=1e-12)
    turn = special_ortho_group.rvs(8, random_state=0)
    turned = gaussian_distance(found @ turn, wanted @ turn)
    assert turned == pytest.approx(gaussian_distance(found, wanted), rel=1e-6)


@pytest.mark.parametrize("other", [12, 8, 30])
def test_sliced_against_the_best_assignment(other, rng):
    found, wanted, directions = rng.random((12, 3)), rng.random((other, 3)), rng.normal(size=(5, 3))
    common = math.lcm(12, other)
    missing = size = 0.0
    for direction in directions:
        along = np.repeat(found @ direction, common // 12)
        wanted_along = np.repeat(wanted @ direction, common // other)
        costs = np.subtract.outer(along, wanted_along) ** 2
        missing += costs[linear_sum_assignment(costs)].mean()
        size += np.mean(wanted_along**2)
    assert sliced_distance(found, wanted, directions) == pytest.approx(missing / size, rel=1e-9)


def test_sliced_against_scipy_where_the_first_power_decides(rng):
    found = rng.random((9, 1))
    wanted = np.repeat(found, 4, axis=0)[rng.permutation(36)] + 2
    moved = wasserstein_distance(found[:, 0], wanted[:, 0])  # everything by the same
    expected = moved**2 / np.mean(wanted**2)
    assert sliced_distance(found, wanted, np.ones((1, 1))) == pytest.approx(expected, rel=1e-9)


def test_sliced_is_0_in_any_order_and_1_for_nothing(rng):
    features, directions = rng.random((50, 4)), rng.normal(size=(6, 4))
    assert sliced_distance(features, rng.permutation(features), directions) < 1e-24
    assert sliced_distance(np.repeat(features, 3, axis=0), features, directions) < 1e-24
    assert sliced_distance(0 * features, features, directions) == pytest.approx(1, rel=1e-12)


def histogram(image):
    bins, counts = np.linspace(-3, 3, 64), np.zeros((3, 64, 64))
    for pixel in image.reshape(-1, 3):
        for own in range(3):
            first, second = (channel for channel in range(3) if channel != own)
            u, v = (math.log((pixel[own] + 1e-6) / (pixel[c] + 1e-6)) for c in (first, second))
            near = [1 / (1 + (np.abs(ratio - bins) / 0.02) ** 2) for ratio in (u, v)]
            counts[own] += math.sqrt(np.sum(pixel**2) + 1e-6) * np.outer(*near)
    return counts / counts.sum()


def test_colours_against_loops(rng):
    first, second = rng.random((9, 7, 3)), rng.random((5, 4, 3)) ** 2
    overlap = np.sum(np.sqrt(histogram(first) * histogram(second)))
    assert colour_distance(first, second) == pytest.approx(math.sqrt(1 - overlap), rel=1e-9)


def test_colours_know_neither_places_nor_brightness(rng):
    image = rng.uniform(0.2, 1, (70, 72, 3))  # more pixels than are counted together
    shuffled = rng.permutation(image.reshape(-1, 3)).reshape(72, 70, 3)
    assert colour_distance(image, shuffled) < 1e-7
    assert colour_distance(image, 0.5 * image) < 1e-3
    red, blue = np.array([0.9, 0.4, 0.3]), np.array([0.3, 0.4, 0.9])
    assert 0.9 < colour_distance(np.tile(red, (4, 4, 1)), np.tile(blue, (4, 4, 1))) <= 1


def test_halved_is_a_mean(rng):
    image = rng.random((7, 5, 3))
    expected = image[:6:2, :4:2] + image[1:6:2, :4:2] + image[:6:2, 1:4:2] + image[1:6:2, 1:4:2]
    np.testing.assert_allclose(halved(image), expected / 4, rtol=1e-12)
