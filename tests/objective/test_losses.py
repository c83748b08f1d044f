import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import nst_jax as nst
from tests import reference

TOLERANCE = 1e-5

activations = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).normal(size=(5, 6, 4)).clip(0).astype(np.float32)
)


@settings(max_examples=25, deadline=None)
@given(activations, st.randoms(use_true_random=False))
def test_gram_matrix_is_symmetric_positive_and_blind_to_positions(features, random):
    gram = np.asarray(nst.gram_matrix(features))
    np.testing.assert_allclose(
        gram, reference.gram(features.astype(float)), rtol=TOLERANCE, atol=1e-6
    )
    np.testing.assert_array_equal(gram, gram.T)
    assert np.linalg.eigvalsh(gram.astype(float)).min() >= -1e-6
    order = list(range(30))
    random.shuffle(order)
    shuffled = features.reshape(30, 4)[order].reshape(5, 6, 4)
    np.testing.assert_allclose(nst.gram_matrix(shuffled), gram, rtol=TOLERANCE, atol=1e-6)


def test_gram_matrix_of_a_repeated_image_is_the_same(rng):
    features = rng.random((4, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(
        nst.gram_matrix(np.tile(features, (2, 3, 1))), nst.gram_matrix(features), rtol=TOLERANCE
    )


def test_distances_in_closed_form():
    ones = np.ones((2, 3, 4), np.float32)
    assert nst.content_loss(3 * ones, ones) == 4 * 24
    assert nst.style_loss(3 * np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)) == 16


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1, width=32))
def test_total_variation_of_a_constant_is_zero(value):
    assert nst.total_variation(np.full((4, 5, 3), value, np.float32)) == 0


def test_total_variation_has_a_gradient_where_it_is_flat_and_hides_no_nan():
    image = np.full((4, 5, 3), 0.5, np.float32)
    assert not jax.grad(nst.total_variation)(image).any()
    image[1, 2, 0] = np.nan
    assert np.isnan(nst.total_variation(image))


def test_total_variation_in_closed_form(rng):
    ramp = np.broadcast_to(np.arange(5, dtype=np.float32)[:, None, None], (5, 4, 3))
    assert nst.total_variation(ramp) == 4 * 3 * 3  # a slope of 1 at every inner position
    image = rng.random((6, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(
        nst.total_variation(image),
        reference.total_variation(image.astype(float))[0],
        rtol=TOLERANCE,
    )


@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, (3, 3, 3), elements=st.floats(0, 1, width=32)), st.floats(0.5, 4))
def test_total_variation_grows_with_the_power_two_and_a_half(image, factor):
    one, scaled = nst.total_variation(image), nst.total_variation(image * np.float32(factor))
    np.testing.assert_allclose(scaled, np.float32(factor) ** 2.5 * one, rtol=1e-4, atol=1e-6)
