"""An area of the picture is kept: y = m · content + (1 − m) · x."""

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.objective.tiles import Tiles
from tests.runs import loss_and_gradient, total_loss

SHALLOW = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1"))
CONFIG = nst.TransferConfig(num_steps=4, **SHALLOW)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    return rng.random((40, 32, 3), np.float32), rng.random((24, 37, 3), np.float32) ** 2


def disc(shape):
    """1 within a disc, 0 far from it, soft between the two."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2)
    return np.clip((shape[1] / 3 - distance) / 4, 0, 1).astype(np.float32)


def check_kept(image, content, mask):
    image = np.asarray(image)
    np.testing.assert_array_equal(image[mask == 1], content[mask == 1])
    assert (mask == 1).any() and image.min() >= 0 and image.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"optimizer": "adam"}, {"colours": "luminance"}])
def test_what_is_kept_is_the_content(vgg16_params, pictures, how):
    content, style = pictures
    mask = disc(content.shape)
    config = nst.TransferConfig(num_steps=4, **how, **SHALLOW)
    *_, last = nst.descend(vgg16_params, content, style, config, keep=mask)
    check_kept(last.result().image, content, mask)
    assert np.abs(np.asarray(last.result().image) - content)[mask == 0].max() > 0.01
    np.testing.assert_array_equal(last.progress.image, last.result().image)


def test_the_loss_is_that_of_the_picture(vgg16_params, pictures):
    content, style = pictures
    found = nst.stylize(vgg16_params, content, style, CONFIG, keep=disc(content.shape))
    targets = nst.make_targets(vgg16_params, content, style, CONFIG)
    loss, _ = total_loss(vgg16_params, found.image, targets, nst.LossWeights(), CONFIG)
    np.testing.assert_allclose(loss, found.loss, rtol=1e-5)
    assert found.loss < 0.9 * found.losses[0]


@pytest.mark.slow
def test_the_gradient_is_that_of_the_picture_times_what_is_free(vgg16_params, pictures, rng):
    content, style = pictures
    mask = disc(content.shape)
    start = np.clip(rng.random(content.shape, np.float32), 0.3, 0.7)
    rate = 1.0
    config = nst.TransferConfig(num_steps=1, optimizer="sgd", learning_rate=rate, **SHALLOW)
    *_, last = nst.descend(vgg16_params, content, style, config, initial=start, keep=mask)
    moved = start - np.asarray(last.snapshot()["states/image"])[0]
    free = 1 - mask[..., None].astype(np.float64)
    seen = ((1 - free) * content + free * start).astype(np.float32)
    targets = nst.make_targets(vgg16_params, content, style, config)
    (loss, _), gradient = loss_and_gradient(vgg16_params, seen, targets, nst.LossWeights(), config)
    np.testing.assert_allclose(last.result().losses[0], loss, rtol=1e-6)
    wanted = rate * free * np.asarray(gradient, np.float64)
    # A pixel of about a half has a last digit of 6e-8.
    np.testing.assert_allclose(moved, wanted, atol=2e-7)
    assert 0.01 < np.abs(wanted).max() < 0.3 and (moved[mask == 1] == 0).all()
    # The loss rises along a direction as the gradient in x says: it is a function of x.
    direction = (0.005 * np.sign(moved)).astype(np.float32)
    run = lambda image: nst.stylize(vgg16_params, content, style, config, initial=image, keep=mask)
    high, low = run(start + direction), run(start - direction)
    slope = (high.losses[0].astype(np.float64) - low.losses[0]) / 2
    np.testing.assert_allclose(slope, np.vdot(moved / rate, direction), rtol=0.02)


@pytest.mark.slow
def test_nothing_kept_is_a_plain_run(vgg16_params, pictures):
    content, style = pictures
    nothing = np.zeros(content.shape[:2], np.float32)
    found = nst.stylize(vgg16_params, content, style, CONFIG, keep=nothing)
    wanted = nst.stylize(vgg16_params, content, style, CONFIG)
    np.testing.assert_array_equal(found.image, wanted.image)
    np.testing.assert_array_equal(found.losses, wanted.losses)


@pytest.mark.slow
def test_it_is_kept_in_tiles(vgg16_params, rng):
    content, style = rng.random((200, 130, 3), np.float32), rng.random((60, 70, 3), np.float32) ** 2
    layers = dict(content_layers=("conv1_2",), style_layers=("conv1_1", "conv2_1"))
    configs = [
        nst.TransferConfig(num_steps=2, optimizer="adam", tile=tile, **layers) for tile in (0, 64)
    ]
    assert not Tiles(content.shape, 64, vgg16_params, ("conv1_2", "conv2_1")).is_one
    mask = disc(content.shape)
    whole, tiled = (
        nst.stylize(vgg16_params, content, style, config, keep=mask) for config in configs
    )
    np.testing.assert_allclose(tiled.losses, whole.losses, rtol=1e-5)
    check_kept(tiled.image, content, mask)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_lanes_that_keep_equal_single_runs(vgg16_params, pictures):
    content, style = pictures
    mask = disc(content.shape)
    config, weights = CONFIG.replace(optimizer="adam"), nst.LossWeights(style=[5.0, 80.0])
    batch = nst.stylize_batch(vgg16_params, content, style, config, weights, keep=mask)
    for lane, weight in enumerate((5.0, 80.0)):
        own = nst.LossWeights(style=weight)
        single = nst.stylize(vgg16_params, content, style, config, own, keep=mask)
        np.testing.assert_array_equal(batch.image[lane], single.image)
        np.testing.assert_array_equal(batch.losses[lane], single.losses)


def test_a_run_that_keeps_goes_on_bit_for_bit(vgg16_params, pictures):
    content, style = pictures
    mask = disc(content.shape)
    run = lambda **how: nst.descend(vgg16_params, content, style, CONFIG, keep=mask, **how)
    first = next(iter(run(every=2, seconds=0)))
    saved = {name: np.array(leaf) for name, leaf in first.snapshot().items()}
    *_, again = run(start=saved)
    whole = nst.stylize(vgg16_params, content, style, CONFIG, keep=mask)
    np.testing.assert_array_equal(again.result().image, whole.image)


@pytest.mark.slow
@pytest.mark.parametrize("init", ["content", "noise"])
def test_it_is_kept_at_each_size(vgg16_params, pictures, init):
    content, style = pictures
    mask = disc(content.shape)
    config = nst.TransferConfig(num_steps=6, init=init, coarse_steps=(0.5,), **SHALLOW)
    seen = []
    for chunk in nst.descend(
        vgg16_params, content, style, config, keep=mask, key=jax.random.key(1), every=1, seconds=0
    ):
        seen.append(chunk.progress.step)
        check_kept(chunk.progress.image, content, mask)
        if len(seen) == 1:
            early = chunk.result()  # evaluated once at full size
            check_kept(early.image, content, mask)
    assert seen[0] == 1 and chunk.result().sizes.tolist() == [20] * 3 + [40] * 3
    targets = nst.make_targets(vgg16_params, content, style, config)
    loss, _ = total_loss(vgg16_params, early.image, targets, nst.LossWeights(), config)
    np.testing.assert_allclose(loss, early.loss, rtol=1e-5)


@pytest.mark.parametrize(
    "keep, said",
    [
        (np.ones((3, 4), np.float32), r"keep has shape \(3, 4\), its image \(40, 32\)"),
        (np.ones((40, 32), np.float32), "leaves nothing to paint"),
        (np.full((40, 32), 0.9995, np.float32), "leaves nothing to paint"),
        (np.ones((40, 32), np.uint8), "keep is of uint8"),
        (np.full((40, 32), 1.5, np.float32), r"outside \[0, 1\]"),
        (np.full((40, 32), np.nan, np.float32), r"outside \[0, 1\]"),
    ],
)
def test_a_mask_that_cannot_be_is_named(vgg16_params, pictures, keep, said):
    with pytest.raises(nst.ConfigError, match=said):
        nst.stylize(vgg16_params, *pictures, CONFIG, keep=keep)
