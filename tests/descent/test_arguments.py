"""What the library takes for an argument, and what it refuses with a sentence."""

from pathlib import Path

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent.arguments import checked_keys
from nst_jax.pytrees import pytree

SHALLOW = nst.TransferConfig(("conv1_1",), ("conv1_1",), num_steps=1, optimizer="sgd")


@pytest.fixture
def pair(rng):
    return rng.random((24, 20, 3)), rng.random((20, 24, 3))


@pytest.mark.slow
def test_a_seed_is_the_key_that_jax_makes_of_it(vgg16_params, pair):
    config = SHALLOW.replace(init="noise")
    paint = lambda key: nst.stylize(vgg16_params, *pair, config, key=key).image
    np.testing.assert_array_equal(paint(3), paint(jax.random.key(3)))
    assert np.abs(paint(np.uint32(3)) - paint(4)).max() > 0.1
    batch = nst.stylize_batch(vgg16_params, *pair, config, keys=[3, 4])
    np.testing.assert_array_equal(batch.image, [paint(3), paint(4)])


@pytest.mark.parametrize("key", [-1, 2**32, 0.5, True, "0", [0]])
def test_what_is_no_seed_is_refused(key, vgg16_params, pair):
    with pytest.raises(nst.ConfigError, match="key is"):
        nst.stylize(vgg16_params, *pair, SHALLOW, key=key)


@pytest.mark.parametrize("layer", ["conv4_2", "relu4_2", "block4_conv2"])
def test_layers_go_by_the_names_of_other_programs_too(layer):
    assert nst.TransferConfig(content_layers=(layer,)).content_layers == ("conv4_2",)
    assert nst.TransferConfig(("conv1_1",), (layer,)) == nst.TransferConfig(
        ("conv1_1",), ("conv4_2",)
    )
    assert nst.style((layer,)).layers == nst.content((layer,)).layers == ("conv4_2",)
    config = nst.TransferConfig(content_layers=(layer,))
    loss = nst.default_loss(config, nst.LossWeights(content_layers={layer: 2.0}))
    assert loss["content"].part_weights == {"conv4_2": 2.0}


@pytest.mark.parametrize("layer", ["relu4", "relu6_1", "block4_conv5", "block4_pool", "xrelu1_1"])
def test_other_names_are_refused(layer):
    with pytest.raises(nst.ConfigError, match=f"unknown layer '{layer}'"):
        nst.TransferConfig(content_layers=(layer,))
    with pytest.raises(nst.ConfigError, match="names a layer twice"):
        nst.TransferConfig(content_layers=("conv4_2", "relu4_2"))


@pytest.mark.parametrize("weights", [{"style": 20.0}, (1.0, 20.0), 20.0])
def test_weights_of_another_kind_are_refused(weights, vgg16_params, pair):
    images = (vgg16_params, *pair)
    for run in (nst.stylize, nst.stylize_batch, nst.descend, nst.descend_batch, nst.balanced):
        with pytest.raises(nst.ConfigError, match=r"weights is .*; give nst\.LossWeights"):
            run(*images, SHALLOW, weights)
    with pytest.raises(nst.ConfigError, match=r"weights is .*; give nst\.LossWeights"):
        nst.run_study(*images, {}, SHALLOW, weights)


def test_weights_by_layer_of_another_kind_are_refused(vgg16_params, pair):
    with pytest.raises(nst.ConfigError, match=r"style_layers is .*; give a weight by layer"):
        nst.stylize(vgg16_params, *pair, SHALLOW, nst.LossWeights(style_layers=(1.0,)))


def test_a_config_is_replaced_field_by_field_and_checked():
    config = nst.TransferConfig(pooling="max")
    assert config.replace(num_steps=7) == nst.TransferConfig(pooling="max", num_steps=7)
    with pytest.raises(nst.ConfigError, match="num_steps is 0"):
        config.replace(num_steps=0)


def test_weights_are_replaced_field_by_field():
    weights = nst.LossWeights(content=2.0)
    assert weights.replace(style=7.0) == nst.LossWeights(content=2.0, style=7.0)


def test_pytrees_of_two_classes_have_structures_of_their_own():
    """So that no program compiled for one is run for the other."""
    first, second = (pytree(type("Pair", (), {"__annotations__": {"a": int}})) for _ in range(2))
    leaves, structure = jax.tree.flatten(first(1))
    assert jax.tree.unflatten(structure, [2]) == first(2) and leaves == [1]
    assert structure != jax.tree.structure(second(1))


COLOURS = np.zeros((24, 20, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"style": [np.zeros((8, 8)), COLOURS]}, r"style image has shape \(8, 8\)"),
        ({"content": [[0.0], [0.0, 1.0]]}, "content image has rows of unequal lengths"),
        ({"content": "a.jpg"}, "content image is the path a.jpg; give what read_image reads there"),
        ({"style": Path("b.jpg")}, "style image is the path b.jpg; give what read_image reads"),
        ({"content": np.zeros(720, np.float32)}, r"content image has shape \(720,\)"),
        ({"weights": nst.LossWeights(style=[5.0, 20.0])}, "one run takes one number"),
        ({"loss": nst.content() + np.ones(2) * nst.style()}, "one run takes one number"),
        ({"devices": jax.devices()[0]}, "devices is .*; give a list of them"),
        ({"devices": 2}, "devices is 2; give a list of them"),
        ({"devices": jax.devices()[:1] * 2}, "devices names one twice"),
    ],
)
def test_what_one_run_cannot_take_is_said(arguments, said, vgg16_params, pair):
    content, style = arguments.pop("content", pair[0]), arguments.pop("style", pair[1])
    for run in (nst.stylize, nst.descend):
        with pytest.raises(nst.ConfigError, match=said):
            run(vgg16_params, content, style, SHALLOW, **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"weights": nst.LossWeights(style=[])}, r"weights\.style is \[\]; it must be a finite"),
        ({"keys": [[1], [2, 3]]}, "keys is .*; give one key a lane"),
    ],
)
def test_what_is_no_lane_is_said(arguments, said, vgg16_params, pair):
    with pytest.raises(nst.ConfigError, match=said):
        nst.stylize_batch(vgg16_params, *pair, SHALLOW, **arguments)


def test_random_keys_may_be_a_list():
    keys = [jax.random.key(3), jax.random.key(5)]
    found = checked_keys("keys", keys, 1)
    np.testing.assert_array_equal(
        jax.random.key_data(found), [jax.random.key_data(key) for key in keys]
    )


def test_every_is_no_negative_number(vgg16_params, pair):
    with pytest.raises(nst.ConfigError, match="every is -1"):
        next(nst.descend(vgg16_params, *pair, SHALLOW, every=-1))


def test_layers_are_names():
    with pytest.raises(nst.ConfigError, match="content_layers is None; give a tuple of names"):
        nst.TransferConfig(content_layers=None)


def test_a_texture_has_no_content_layers_and_two_sides(vgg16_params, pair):
    with pytest.raises(nst.ConfigError, match="content_layers are conv1_1, but there is no"):
        nst.descend(vgg16_params, (32, 32), pair[1], SHALLOW.replace(init="noise"))
    with pytest.raises(nst.ConfigError, match=r"shape is 32; give \(height, width\)"):
        nst.texture(vgg16_params, pair[1], 32)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"weights": nst.LossWeights(style=[5.0, 20.0])}, "one run takes one number"),
        ({"weights": nst.LossWeights(style=-20.0)}, r"weights\.style is .*at least 0"),
        ({"style": {0: COLOURS, 1: COLOURS}}, "a style image is called 0; give a text"),
        ({"axes": None}, "axes is None; map names to values"),
    ],
)
def test_what_a_study_cannot_take_is_said(arguments, said, vgg16_params, pair):
    style, axes = arguments.pop("style", pair[1]), arguments.pop("axes", {"seed": [0]})
    with pytest.raises(nst.ConfigError, match=said):
        nst.run_study(vgg16_params, pair[0], style, axes, SHALLOW, **arguments)


def test_a_study_may_average_where_no_lane_is_lbfgs(vgg16_params, pair):
    config = nst.TransferConfig(("conv1_1",), ("conv1_1",), num_steps=1, average=0.9)
    found = nst.run_study(vgg16_params, *pair, {"optimizer": ["sgd", "adam"]}, config)
    assert found.image.shape[0] == 2
    with pytest.raises(nst.ConfigError, match="lbfgs keeps the best image"):
        nst.run_study(vgg16_params, *pair, {"optimizer": ["sgd", "lbfgs"]}, config)


def test_regions_may_be_an_iterator(vgg16_params, pair):
    content, style = pair
    mask = np.ones(content.shape[:2], np.float32)
    mask[:, :10] = 0
    regions = [nst.Region(mask, name="right"), nst.Region(1 - mask, name="left")]
    config = nst.TransferConfig(("conv1_2",), ("conv1_1",), num_steps=1, optimizer="sgd")
    wanted = nst.stylize(vgg16_params, content, style, config, regions=regions)
    found = nst.stylize(vgg16_params, content, style, config, regions=iter(regions))
    assert set(found.terms) == set(wanted.terms) >= {"style_right", "style_left"}


def test_a_callback_may_keep_images(vgg16_params, pair):
    frames = []
    config = SHALLOW.replace(num_steps=4)
    weights = nst.LossWeights(style=[5.0, 20.0])
    keep = lambda progress: frames.append(progress.image)
    found = nst.stylize_batch(vgg16_params, *pair, config, weights, callback=keep)
    assert len(frames) > 1 and all(np.isfinite(frame).all() for frame in frames)
    np.testing.assert_array_equal(frames[-1], found.image)


def test_a_snapshot_serves_more_than_once(vgg16_params, pair):
    config = SHALLOW.replace(num_steps=4)
    first = next(nst.descend(vgg16_params, *pair, config, every=2))
    saved = first.snapshot()
    ends = [[*nst.descend(vgg16_params, *pair, config, start=saved)][-1].result() for _ in range(2)]
    np.testing.assert_array_equal(*[end.losses for end in ends])
