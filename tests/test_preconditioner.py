import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.preconditioner import favour_coarse


@pytest.mark.parametrize("shape", [(16, 16), (15, 22), (17, 13)])
def test_it_is_linear_symmetric_and_positive_definite(shape):
    size = shape[0] * shape[1] * 3
    basis = np.eye(size, dtype=np.float32).reshape(size, *shape, 3)
    matrix = np.stack([np.asarray(favour_coarse(jnp.asarray(image))).ravel() for image in basis[:: max(size // 60, 1)]])
    picked = matrix[:, :: max(size // 60, 1)]
    np.testing.assert_allclose(picked, picked.T, atol=1e-6)
    assert np.linalg.eigvalsh(picked.astype(np.float64)).min() > 0
    image, other = np.random.default_rng(0).random((2, *shape, 3), np.float32)
    np.testing.assert_allclose(favour_coarse(2 * image - other), 2 * favour_coarse(image) - favour_coarse(other), atol=1e-4)


def test_a_wave_is_divided_by_the_root_of_its_frequency():
    rows, columns = np.mgrid[:24, :32].astype(np.float32)
    for cycles_down, cycles_across in ((0, 1), (3, 0), (2, 5), (12, 16)):
        wave = np.cos(2 * np.pi * (cycles_down * rows / 24 + cycles_across * columns / 32))[..., None] * np.ones(3, np.float32)
        frequency = np.hypot(cycles_down / 24, cycles_across / 32)
        np.testing.assert_allclose(favour_coarse(wave), wave * frequency**-0.5, atol=2e-5)
    np.testing.assert_allclose(favour_coarse(np.ones((24, 32, 3), np.float32)), 32**0.5, rtol=1e-5)
