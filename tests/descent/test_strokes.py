"""The size of a style array, in pixels, is that of the strokes in the result."""

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent.scaled_targets import ScaledTargets
from nst_jax.objective.styles import make_style
from tests import reference


@pytest.mark.slow
@pytest.mark.parametrize("enlarged", [1, 2])
def test_strokes_are_as_wide_as_in_the_style_array(enlarged):
    params = reference.random_params("vgg16")  # a narrow network tells too little of a texture
    stripes = np.tile(np.repeat(np.float32([0.1, 0.9]), 4), 8)  # of 8 pixels, on 64
    style = np.broadcast_to(np.repeat(stripes, enlarged)[None, :, None], (64, 64 * enlarged, 3))
    content = np.full((64, 64, 3), 0.5, np.float32)
    layers = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1", "conv3_1"))
    config = nst.TransferConfig(num_steps=60, init="noise", coarse_to_fine=False, **layers)
    weights = nst.LossWeights(content=0.0, style=1.0)
    result = nst.stylize(params, content, style.copy(), config, weights)
    grey = np.asarray(result.image).mean(-1)
    power = np.square(np.abs(np.fft.rfft(grey - grey.mean(), axis=1))).sum(0)
    octaves = {  # by their middle, in pixels
        width: power[round(64 / width / 2**0.5) : round(64 / width * 2**0.5)].sum()
        for width in (4, 8, 16, 32)
    }
    assert max(octaves, key=octaves.get) == 8 * enlarged


def test_styles_shrink_as_the_content_does(vgg16_params, rng):
    content, style = rng.random((40, 32, 3), np.float32), rng.random((48, 80, 3), np.float32)
    config = nst.TransferConfig(content_layers=("conv1_1",), style_layers=("conv1_1",))
    loss = nst.default_loss(config)
    images = jax.device_put(content), jax.device_put(style)
    styles = [{(None, ()): make_style(images[1:], ())}]
    targets = ScaledTargets(vgg16_params, images[:1], styles, config, [loss], [loss])
    found = targets.at((20, 16), lambda image: image)["style"].wanted["conv1_1"][0]
    half = np.clip(jax.image.resize(style, (24, 40, 3), "lanczos3"), 0, 1)
    wanted = reference.gram(reference.features(vgg16_params, half)["conv1_1"])
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
