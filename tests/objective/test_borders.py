"""What the network sees beyond the image."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent.resizing import resize
from nst_jax.network.vgg import features_shapes
from nst_jax.objective.regions import shares_of
from nst_jax.objective.tiles import Tiles
from tests import reference
from tests.runs import features, loss_and_gradient, total_loss

BORDERS = ["replicate", "reflect", "wrap", "wrap_x"]
NUMPY = {  # of rows, and of columns
    "replicate": ("edge", "edge"),
    "reflect": ("reflect", "reflect"),
    "wrap": ("wrap", "wrap"),
    "wrap_x": ("edge", "wrap"),
    "wrap_y": ("wrap", "edge"),
}
LAYERS = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1"))
WEIGHTS = nst.LossWeights(total_variation=0.1, edges=0.5)


def padded(array, border, widths):
    """By NumPy, which cannot mirror a side of one."""
    for axis, own in enumerate(widths):
        kind = "edge" if array.shape[axis] == 1 else NUMPY[border][axis]
        array = np.pad(array, [own if place == axis else (0, 0) for place in range(3)], kind)
    return array


def seen(params, image, border, pooling):
    """conv1_1 … conv3_1 in float64."""
    found, activations = {}, np.asarray(image, float) - np.asarray(params["mean"], float)
    for name in ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"):
        if name in reference.POOLS_BEFORE:
            odd = [(0, side % 2) for side in activations.shape[:2]]
            activations = reference.pool(padded(activations, border, odd), pooling)
        kernel, bias = (np.asarray(params[name][part], float) for part in ("kernel", "bias"))
        around = padded(activations, border, ((1, 1), (1, 1)))
        activations = np.maximum(reference.convolve(around, kernel)[1:-1, 1:-1] + bias, 0)
        found[name] = activations
    return found


@pytest.mark.parametrize(
    "border, shape, pooling",
    [
        ("replicate", (21, 14), "avg"),
        ("reflect", (21, 14), "max"),
        ("reflect", (9, 4), "avg"),  # at conv3_1 one column, which has no other to mirror
        ("wrap", (20, 12), "avg"),
        ("wrap_x", (21, 12), "avg"),
        ("wrap_y", (20, 14), "max"),
    ],
)
def test_features_agree_with_numpy_in_float64(rng, border, shape, pooling):
    vgg16_params = reference.random_params("vgg16")
    image = rng.random((*shape, 3)).astype(np.float32)
    expected = seen(vgg16_params, image, border, pooling)
    sizes = {layer: values.shape for layer, values in expected.items()}
    assert features_shapes(vgg16_params, shape, list(expected), border) == sizes
    # directly, and by Winograd's algorithm where there are channels enough
    prepared = nst.prepare_params(vgg16_params, ("conv3_1",))
    assert prepared["conv2_2"]["kernel"].shape[0] == 6
    for params in (vgg16_params, prepared):
        found = features(params, image, tuple(expected), pooling, border=border)
        for layer, values in expected.items():
            assert np.abs(found[layer] - values).max() <= 1e-5 * values.max(), layer


@pytest.mark.slow
@pytest.mark.parametrize("border", BORDERS)
def test_both_modes_are_the_derivative(rng, border):
    vgg16_params = reference.random_params("vgg16")
    image, direction = (rng.random((20, 12, 3)).astype(np.float32) for _ in range(2))
    params = nst.prepare_params(vgg16_params, ("conv3_1",))
    energy = lambda found: sum((0.5 * values**2).sum() for values in found.values())
    at = lambda step: energy(
        seen(vgg16_params, image + step * np.asarray(direction, float), border, "avg")
    )
    expected = (at(1e-6) - at(-1e-6)) / 2e-6
    layers = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
    loss = jax.jit(lambda image: energy(nst.features(params, image, layers, border=border)))
    np.testing.assert_allclose(
        [jax.jvp(loss, (image,), (direction,))[1], jnp.vdot(jax.grad(loss)(image), direction)],
        expected,
        rtol=1e-4,
    )


def test_a_flat_picture_is_flat_to_the_edge_without_zeros(vgg16_params):
    grey = np.full((16, 24, 3), 0.5, np.float32)

    def unevenness(border):
        found = features(vgg16_params, grey, ("conv1_2", "conv3_1"), border=border)
        return [
            float(jnp.ptp(values, axis=(0, 1)).max() / values.max()) for values in found.values()
        ]

    assert min(unevenness("zero")) > 0.1
    for border in BORDERS:
        assert max(unevenness(border)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "border, by", [("wrap", (32, 16)), ("wrap_x", (0, 16)), ("wrap_y", (16, 0))]
)
def test_a_picture_that_wraps_may_be_rolled(vgg16_params, rng, border, by):
    content, image, style = (rng.random((64, 48, 3), np.float32) for _ in range(3))
    config = nst.TransferConfig(border=border)
    rolled = lambda array: np.roll(array, by, (0, 1))
    params = nst.prepare_params(vgg16_params)
    terms = nst.default_loss(config, WEIGHTS) + nst.Matting()
    aims = [
        nst.make_targets(params, own, style, config, terms) for own in (content, rolled(content))
    ]
    (loss, _), gradient = loss_and_gradient(params, image, aims[0], terms, config)
    (moved_loss, _), moved_gradient = loss_and_gradient(
        params, rolled(image), aims[1], terms, config
    )
    np.testing.assert_allclose(moved_loss, loss, rtol=1e-6)
    np.testing.assert_allclose(moved_gradient, rolled(gradient), atol=1e-5 * np.ptp(gradient))
    if 0 in by:  # but not along the other side
        rolled = lambda array: np.roll(array, by[::-1], (0, 1))
        aims = nst.make_targets(params, rolled(content), style, config, terms)
        (other_loss, _), _ = loss_and_gradient(params, rolled(image), aims, terms, config)
        assert abs(other_loss / loss - 1) > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "border, shape",
    [
        *[("replicate", (213, 147)), ("reflect", (213, 147))],
        *[
            ("wrap", (208, 144)),
            ("wrap", (208, 16)),
            ("wrap_x", (213, 208)),
            ("wrap_y", (208, 147)),
        ],
    ],
)
def test_tiles_are_the_whole(vgg16_params, rng, border, shape):
    content, image = rng.random((2, *shape, 3), np.float32)
    style = rng.random((149, 151, 3), np.float32) / 2
    whole = nst.TransferConfig(border=border, **LAYERS)
    tiled = dataclasses.replace(whole, tile=64)
    layers = (*whole.content_layers, *whole.style_layers)
    terms = nst.default_loss(whole, WEIGHTS)
    assert len(Tiles(shape, 64, vgg16_params, layers, terms.reach, border).places) >= 2
    targets = [nst.make_targets(vgg16_params, content, style, one, terms) for one in (whole, tiled)]
    jax.tree.map(
        lambda found, wanted: np.testing.assert_allclose(
            found, wanted, atol=1e-5 * np.abs(wanted).max()
        ),
        *targets,
    )
    (loss, parts), gradient = loss_and_gradient(vgg16_params, image, targets[0], terms, whole)
    (tiled_loss, tiled_parts), tiled_gradient = loss_and_gradient(
        vgg16_params, image, targets[0], terms, tiled
    )
    np.testing.assert_allclose(tiled_loss, loss, rtol=1e-5)
    for name in parts:
        for part in parts[name]:
            np.testing.assert_allclose(tiled_parts[name][part], parts[name][part], rtol=1e-5)
    np.testing.assert_allclose(tiled_gradient, gradient, atol=1e-5 * np.abs(gradient).max())


@pytest.mark.parametrize("border", ["wrap", "wrap_x", "wrap_y"])
def test_total_variation_of_a_picture_that_wraps_has_the_seam(vgg16_params, rng, border):
    image = rng.random((16, 32, 3), np.float32)
    loss, config = nst.TotalVariation(), nst.TransferConfig(border=border)
    targets = nst.make_targets(vgg16_params, image, image, config, loss)
    found, _ = total_loss(vgg16_params, image, targets, loss, config)
    rough = sum((np.roll(image, -1, axis) - image) ** 2 for axis in (0, 1)) ** 1.25
    rough = rough[: None if border != "wrap_x" else -1, : None if border != "wrap_y" else -1]
    np.testing.assert_allclose(found, rough.sum() / (16 * 32), rtol=1e-5)


def test_shares_of_a_region_have_the_positions_of_the_layer(rng):
    mask = rng.random((9, 6), np.float32)
    for border, rows in (("zero", 4), ("replicate", 5)):
        shares = shares_of(mask, ("conv2_1",), mask.shape, border)["conv2_1"]
        even = mask[:8] if border == "zero" else np.concatenate([mask, mask[-1:]])
        wanted = even.reshape(rows, 2, 3, 2).mean((1, 3))
        np.testing.assert_allclose(shares[..., 0], wanted / wanted.sum(), rtol=1e-5)


def test_one_side_that_wraps_leaves_the_other_free(vgg16_params, rng):
    content = rng.random((66, 50, 3), np.float32)
    for border, said in (("wrap_x", "48 × 66 or 52 × 66"), ("wrap_y", "50 × 64 or 50 × 68")):
        config = nst.TransferConfig(border=border, content_layers=("conv3_1",), style_layers=())
        with pytest.raises(nst.ConfigError, match=f"50 × 66 pixels cannot wrap.* of {said}"):
            nst.stylize(vgg16_params, content, content, config)
    shapes = features_shapes(vgg16_params, (66, 48), ("conv3_1",), "wrap_x")
    assert shapes["conv3_1"][:2] == (17, 12)


def test_what_cannot_wrap_is_told_the_next_sizes(vgg16_params, rng):
    content = rng.random((64, 50, 3), np.float32)
    said = "50 × 64 pixels cannot wrap: conv3_1 .* each 4 pixels, so give it .* 48 × 64 or 52 × 64"
    config = nst.TransferConfig(border="wrap", content_layers=("conv3_1",), style_layers=())
    with pytest.raises(nst.ConfigError, match=said):
        nst.stylize(vgg16_params, content, content, config)
    with pytest.raises(nst.ConfigError, match="border is 'mirror'; it must be one of zero, "):
        nst.TransferConfig(border="mirror")


@pytest.mark.parametrize("shape", [(32, 48), (16, 8), (24, 24)])
def test_resizing_what_wraps_rolls_along(rng, shape):
    image = rng.random((16, 24, 3), np.float32)
    found = np.asarray(resize(image, shape, (True, True)))
    steps = [side // 8 * 2 for side in image.shape[:2]]  # whole pixels of either size
    ahead = [step * new // old for step, new, old in zip(steps, shape, image.shape, strict=False)]
    moved = resize(np.roll(image, steps, (0, 1)), shape, (True, True))
    np.testing.assert_allclose(moved, np.roll(found, ahead, (0, 1)), atol=1e-5)
    for axis in (0, 1):  # along one side alone; the other is as without
        wraps = axis == 0, axis == 1
        one = np.asarray(resize(image, shape, wraps))
        moved = resize(np.roll(image, steps[axis], axis), shape, wraps)
        np.testing.assert_allclose(moved, np.roll(one, ahead[axis], axis), atol=1e-5)
        middle = (slice(None), slice(shape[1] // 2, -shape[1] // 2 + 1))
        middle = middle if axis else (slice(shape[0] // 2, -shape[0] // 2 + 1), slice(None))
        if shape == (32, 48):
            np.testing.assert_allclose(one[middle], resize(image, shape)[middle], atol=1e-5)
    if shape == (32, 48):  # inside, as without a seam
        plain = resize(image, shape)
        np.testing.assert_allclose(found[8:-8, 8:-8], plain[8:-8, 8:-8], atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_lanes_at_several_sizes_equal_single_runs_and_go_on(vgg16_params, rng):
    content, style = rng.random((96, 80, 3), np.float32), rng.random((41, 50, 3), np.float32)
    config = nst.TransferConfig(
        border="wrap", init="noise", num_steps=10, optimizer="adam", **LAYERS
    )
    keys = jax.random.split(jax.random.key(1), 2)
    batch = nst.stylize_batch(vgg16_params, content, style, config, keys=keys)
    assert batch.sizes[0].tolist() == [48, 48] + [96] * 8  # 48 × 40 in multiples of 16
    for lane, key in enumerate(keys):
        alone = nst.stylize(vgg16_params, content, style, config, key=key)
        np.testing.assert_array_equal(batch.image[lane], alone.image)
    chunks = nst.descend(vgg16_params, content, style, config, key=keys[0], every=5)
    saved = next(chunks).snapshot()
    *_, last = nst.descend(vgg16_params, content, style, config, key=keys[0], start=saved)
    np.testing.assert_array_equal(last.result().image, batch.image[0])
