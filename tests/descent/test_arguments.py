"""What the library takes for an argument, and what it refuses with a sentence."""

import jax
import numpy as np
import pytest

import nst_jax as nst

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
