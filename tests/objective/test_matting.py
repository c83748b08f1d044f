"""The matting energy against the sparse matrix of Levin, Lischinski and Weiss, in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import lil_matrix

import nst_jax as nst
from nst_jax.objective.tiles import Tiles
from tests.runs import loss_and_gradient, total_loss


def laplacian(image, epsilon=1e-7):
    """Equation 12, window by window."""
    height, width, _ = image.shape
    found = lil_matrix((height * width, height * width))
    places = np.arange(height * width).reshape(height, width)
    for row in range(height - 2):
        for column in range(width - 2):
            own = places[row : row + 3, column : column + 3].ravel()
            colours = image.reshape(-1, 3)[own]
            centred = colours - colours.mean(0)
            inverse = np.linalg.inv(centred.T @ centred / 9 + epsilon / 9 * np.eye(3))
            found[np.ix_(own, own)] += np.eye(9) - (1 + centred @ inverse @ centred.T) / 9
    return found.tocsr()


def energy_of(params, image, content):
    term = nst.Matting()
    targets = nst.make_targets(params, content, content, nst.TransferConfig(), term)
    (value, _), gradient = loss_and_gradient(params, image, targets, term, nst.TransferConfig())
    return value, gradient


def test_it_is_the_quadratic_form_of_the_sparse_matrix(vgg16_params, rng):
    content, image = (rng.random((14, 11, 3)).astype(np.float32) for _ in range(2))
    content[:6, :5] = 0.5  # flat, where nothing but ε keeps the matrix from being singular
    wide = np.float64(content)
    centred = [
        window - window.mean(0)
        for row in range(12)
        for column in range(9)
        for window in [wide[row : row + 3, column : column + 3].reshape(9, 3)]
    ]
    whole = np.sum(np.square(centred))
    matrix, flat = laplacian(wide), np.float64(image).reshape(-1, 3)
    value, gradient = energy_of(vgg16_params, image, content)
    np.testing.assert_allclose(value, np.sum(flat * (matrix @ flat)) / whole, rtol=1e-5)
    slope = (2 * (matrix @ flat) / whole).reshape(image.shape)
    np.testing.assert_allclose(gradient, slope, atol=1e-5 * np.abs(slope).max())


def test_it_goes_round_where_the_image_wraps(vgg16_params, rng):
    content, image = (rng.random((32, 48, 3)).astype(np.float32) for _ in range(2))
    term, config = nst.Matting(), nst.TransferConfig(border="wrap")
    found = []
    for places in ((0, 0), (5, 17)):
        turned = [np.roll(own, places, (0, 1)) for own in (content, image)]
        targets = nst.make_targets(vgg16_params, turned[0], content, config, term)
        found.append(total_loss(vgg16_params, turned[1], targets, term, config)[0])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_affine_maps_of_the_colours_cost_nothing(vgg16_params, rng):
    content = rng.random((16, 18, 3)).astype(np.float32)
    turned = np.clip(content @ rng.random((3, 3)).astype(np.float32) / 3 + 0.1, 0, 1)
    assert abs(float(energy_of(vgg16_params, turned, content)[0])) < 1e-5
    assert float(energy_of(vgg16_params, content[::-1], content)[0]) > 0.1
    flat, pull = energy_of(vgg16_params, content, np.full_like(content, 0.5))
    assert flat == 0 and not np.any(pull)  # which has no structure to keep


@pytest.mark.slow
@pytest.mark.parametrize(
    ("border", "shape"), [("zero", (130, 141)), ("wrap", (200, 48)), ("wrap_y", (128, 141))]
)
def test_in_tiles_as_whole(vgg16_params, rng, border, shape):
    content, image = (rng.random((*shape, 3)).astype(np.float32) for _ in range(2))
    loss = nst.content(("conv1_2",)) + 5 * nst.Matting()
    assert not Tiles(shape, 64, vgg16_params, loss.layers, loss.reach, border).is_one
    found = []
    for tile in (0, 64):
        config = nst.TransferConfig(tile=tile, border=border)
        targets = nst.make_targets(vgg16_params, content, content, config, loss)
        found.append(loss_and_gradient(vgg16_params, jnp.asarray(image), targets, loss, config))
    ((whole, _), gradient), ((tiled, _), tiled_gradient) = found
    np.testing.assert_allclose(tiled, whole, rtol=1e-5)
    assert np.abs(tiled_gradient - gradient).max() <= 1e-5 * np.abs(gradient).max()
