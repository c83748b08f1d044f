"""A style counts as the mean of its four quarter turns."""

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.objective.regions import with_regions
from nst_jax.objective.styles import make_style
from tests import reference
from tests.runs import total_loss

LAYERS = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1"))
CONFIG = nst.TransferConfig(num_steps=3, optimizer="adam", style_turns=True, **LAYERS)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(6)
    shapes = (40, 32, 3), (24, 37, 3), (33, 20, 3)
    return [
        rng.random(shape, np.float32) ** power
        for shape, power in zip(shapes, (1, 2, 3), strict=True)
    ]


def grams(params, style):
    found = reference.features(params, style.astype(np.float64))
    return {layer: reference.gram(found[layer]) for layer in CONFIG.style_layers}


def test_the_target_is_the_mean_of_the_turns_gram_matrices(vgg16_params, pictures):
    content, style, _ = pictures
    targets = nst.make_targets(vgg16_params, content, style, CONFIG)
    turned = [grams(vgg16_params, np.rot90(style, turn)) for turn in range(4)]
    for layer in CONFIG.style_layers:
        mean = np.mean([own[layer] for own in turned], 0)
        found = targets["style"].wanted[layer]
        np.testing.assert_allclose(found, mean, rtol=2e-5, atol=1e-6 * mean.max())
        np.testing.assert_allclose(targets["style"].scale[layer], 1 / (mean**2).sum(), rtol=2e-5)


def test_a_style_and_its_turn_are_one(vgg16_params, pictures):
    content, style, other = pictures
    for styles, turned in (
        (style, np.rot90(style).copy()),
        ([style, other], [np.rot90(style, 3).copy(), np.rot90(other, 2).copy()]),
    ):
        first, second = (
            nst.make_targets(vgg16_params, content, own, CONFIG)["style"].wanted
            for own in (styles, turned)
        )
        for layer in CONFIG.style_layers:
            bound = 1e-6 * np.abs(first[layer]).max()
            np.testing.assert_allclose(first[layer], second[layer], atol=bound)


def test_shares_are_divided_by_four_and_alike_turns_counted_once(pictures):
    _, first, second = map(jax.numpy.asarray, pictures)
    style = make_style([first, second], (3, 1), turns=True)
    assert style.shares == (3 / 16,) * 4 + (1 / 16,) * 4
    flat = jax.numpy.full((20, 20, 3), 0.5)
    assert make_style([flat], (), turns=True).shares == (1.0,)
    upright = jax.numpy.concatenate([first, first[::-1, ::-1]])  # two turns of it are alike
    assert make_style([upright], (), turns=True).shares == (0.5, 0.5)
    part = jax.numpy.zeros(upright.shape[:2]).at[:5].set(1)  # but not with that mask
    assert make_style([upright], (), turns=True, masks=[part]).shares == (0.25,) * 4


def test_turns_go_on_bit_for_bit_and_start_from_the_style_as_it_is(vgg16_params, pictures):
    content, style, _ = pictures
    config = nst.TransferConfig(
        num_steps=4, optimizer="adam", style_turns=True, init="style", **LAYERS
    )
    first = next(iter(nst.descend(vgg16_params, content, style, config, every=2, seconds=0)))
    saved = {name: np.array(leaf) for name, leaf in first.snapshot().items()}
    *_, again = nst.descend(vgg16_params, content, style, config, start=saved)
    whole = nst.stylize(vgg16_params, content, style, config)
    np.testing.assert_array_equal(again.result().image, whole.image)
    start = np.clip(jax.image.resize(style, content.shape, "lanczos3"), 0, 1)
    targets = nst.make_targets(vgg16_params, content, style, config)
    loss, _ = total_loss(vgg16_params, start, targets, nst.LossWeights(), config)
    np.testing.assert_allclose(whole.losses[0], loss, rtol=1e-5)


@pytest.mark.slow
def test_turns_are_an_axis_of_one_program(vgg16_params, pictures, traces):
    content, style, _ = pictures
    config = nst.TransferConfig(num_steps=3, optimizer="adam", **LAYERS)
    axes = {"style_turns": [False, True]}
    result = nst.run_study(vgg16_params, content, style, axes, config)
    assert len(traces) == 1
    for turns, image in zip((False, True), result.image, strict=True):
        own = nst.TransferConfig(num_steps=3, optimizer="adam", style_turns=turns, **LAYERS)
        np.testing.assert_array_equal(image, nst.stylize(vgg16_params, content, style, own).image)
    assert (result.image[0] != result.image[1]).any()


@pytest.mark.slow
@pytest.mark.parametrize("turns", [False, True])
def test_a_region_blends_its_styles_with_their_masks(vgg16_params, pictures, turns):
    content, *styles = pictures
    masks = []
    for style in styles:  # the edge lies between two positions of each layer
        masks.append(np.zeros(style.shape[:2], np.float32))
        masks[-1][:16, :12] = 1
    full = np.ones(content.shape[:2], np.float32)
    regions = [nst.Region(full, style=(0, 1), style_mask=(masks[0], masks[1]), name="a")]
    config = nst.TransferConfig(
        num_steps=1, optimizer="adam", style_turns=turns, scaling="mean", **LAYERS
    )
    found = nst.stylize(vgg16_params, content, styles, config, regions=regions)
    image = grams(vgg16_params, content)
    for layer in CONFIG.style_layers:
        each = []
        for style, mask in zip(styles, masks, strict=True):
            for turn in range(4 if turns else 1):
                seen = reference.features(vgg16_params, np.rot90(style, turn).astype(np.float64))
                shares = np.rot90(mask, turn).astype(np.float64)
                if layer == "conv2_1":
                    height, width = (side // 2 for side in shares.shape)
                    cells = shares[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
                    shares = cells.mean((1, 3))
                weighed = seen[layer] * shares[..., None]
                each.append(np.einsum("ija,ijb->ab", weighed, seen[layer]) / shares.sum())
        distance = ((image[layer] - np.mean(each, 0)) ** 2).mean()
        np.testing.assert_allclose(found.terms["style_a"][layer][0], distance, rtol=1e-4)


@pytest.mark.parametrize(
    "region, said",
    [
        (dict(style=(0, 2)), "region 1 has style 2, but the style images are numbered from 0 to 1"),
        (dict(style=()), "region 1 has style None"),
        (dict(style=(0, 1), style_mask=(None,)), "has 2 styles, but 1 style masks; give one for"),
        (dict(style=(0, 1), style_mask=(None, np.zeros((33, 20)))), "style mask of region 1 is em"),
    ],
)
def test_styles_of_a_region_that_cannot_be_are_named(vgg16_params, pictures, region, said):
    content, *styles = pictures
    regions = [nst.Region(np.ones(content.shape[:2]), **region)]
    with pytest.raises(nst.ConfigError, match=said):
        nst.stylize(vgg16_params, content, styles, CONFIG, regions=regions)


def test_a_layer_without_positions_in_one_of_the_style_masks_is_left_out(pictures):
    dot = np.zeros((33, 20), np.float32)
    dot[:6, :6] = 1  # 9 positions at conv2_1
    region = nst.Region(np.ones((40, 32)), style=(0, 1), style_mask=(None, dot))
    assert with_regions(nst.default_loss(CONFIG), [region])["style_1"].layers == ("conv1_1",)
    with pytest.raises(nst.ConfigError, match="style_turns is 2"):
        nst.TransferConfig(style_turns=2)
