"""One image shared by rows among devices, simulated in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nst_jax as nst

PROGRAM = """
import dataclasses, jax, numpy as np, nst_jax as nst
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tests import reference

params, rng = reference.random_params("vgg16", narrow=4), np.random.default_rng(0)
devices = jax.devices()
assert len(devices) == 4
by_rows = NamedSharding(Mesh(np.array(devices), ("rows",)), PartitionSpec("rows"))
evaluate = jax.jit(nst.loss_and_gradient, static_argnums=4)

from nst_jax.network.pooling import pool  # exchanges a row at most where each device has 33

summed = jax.jit(lambda activations: pool(2 * activations, "avg").sum(0))
pooled = summed.lower(jax.device_put(np.ones((132, 64, 8), np.float32), by_rows)).compile()
assert "all-gather" not in pooled.as_text()

# the second's rows do not go round behind the first pooling
# numbers that are multiplied with, wherever the rows are
for pooling, scaling, shape in (("avg", "relative", (128, 97)), ("max", "notebook", (212, 80))):
    content, style, start = (
        rng.random((*shape, 3), np.float32),
        rng.random((64, 70, 3), np.float32),
        rng.random((*shape, 3), np.float32),
    )
    config = nst.TransferConfig(pooling=pooling, scaling=scaling)
    terms = nst.default_loss(config, nst.LossWeights(total_variation=0.1, edges=2.0))
    targets = nst.make_targets(params, content, style, config, terms)
    (loss, _), gradient = evaluate(params, start, targets, terms, config)
    (shared_loss, _), shared_gradient = evaluate(
        params, jax.device_put(start, by_rows), targets, terms, config
    )
    np.testing.assert_allclose(shared_loss, loss, rtol=1e-5)
    assert np.abs(shared_gradient - gradient).max() <= 1e-5 * np.abs(gradient).max()

# What lies beyond the image is beyond the first and the last device's rows, or the other's.
content, start = rng.random((2, 64, 48, 3), np.float32)
for border in ("replicate", "reflect", "wrap", "wrap_x", "wrap_y"):
    config = nst.TransferConfig(
        border=border, content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1")
    )
    weights = nst.LossWeights(total_variation=0.1)
    targets = nst.make_targets(params, content, content, config)
    (loss, _), gradient = evaluate(params, start, targets, weights, config)
    arguments = params, jax.device_put(start, by_rows), targets, weights
    program = evaluate.lower(*arguments, config).compile()
    (shared_loss, _), shared_gradient = program(*arguments)
    np.testing.assert_allclose(shared_loss, loss, rtol=1e-5)
    assert np.abs(shared_gradient - gradient).max() <= 1e-5 * np.abs(gradient).max()
    assert "all-gather" not in program.as_text()  # rows at most

# Other losses, whose samples and moments add up over devices.
layers = {"content_layers": ("conv2_2",), "style_layers": ("conv1_1", "conv2_1")}
for other in ({"style_loss": "wasserstein"}, {"content_loss": "self_similarity"}):
    config = nst.TransferConfig(**other, **layers)
    terms = nst.default_loss(config)
    targets = nst.make_targets(params, content, content[::-1].copy() ** 2, config, terms)
    (loss, _), gradient = evaluate(params, start, targets, terms, config)
    (shared_loss, _), shared_gradient = evaluate(
        params, jax.device_put(start, by_rows), targets, terms, config
    )
    np.testing.assert_allclose(shared_loss, loss, rtol=1e-5)
    assert np.abs(shared_gradient - gradient).max() <= 1e-5 * np.abs(gradient).max(), other

# The deep layers were compared above; descents on them take a minute to compile for four devices.
content, style = rng.random((128, 96, 3), np.float32), rng.random((64, 70, 3), np.float32)
config = nst.TransferConfig(num_steps=20, coarse_steps=(0.1,), **layers)
alone = nst.stylize(params, content, style, config)
shared = nst.stylize(params, content, style, config, devices=devices)
# a descent amplifies rounding, and alone is Winograd's
np.testing.assert_allclose(shared.losses[:2], alone.losses[:2], rtol=1e-4)
np.testing.assert_allclose(shared.loss, alone.loss, rtol=0.02)
assert shared.image.shape == alone.image.shape and shared.sizes.tolist() == alone.sizes.tolist()

keep = np.zeros(content.shape[:2], np.float32)
keep[40:80, 20:60], keep[80:84] = 1, 0.5
config = nst.TransferConfig(num_steps=3, octaves=2, optimizer="adam", **layers)
alone, shared = (
    nst.stylize(params, content, style, config, keep=keep, devices=on) for on in (None, devices)
)
np.testing.assert_allclose(shared.losses, alone.losses, rtol=1e-4)
np.testing.assert_array_equal(np.asarray(shared.image)[keep == 1], content[keep == 1])
alone, shared = (
    nst.balanced(params, content, style, config, devices=on)["style"].part_weights
    for on in (None, devices)
)
for layer, weight in alone.items():
    np.testing.assert_allclose(shared[layer], weight, rtol=1e-4)

try:
    nst.stylize(params, content[:126], style, devices=devices)
except nst.ConfigError as error:
    assert "4 devices cannot share the image's 126 rows evenly" in str(error), error
else:
    raise AssertionError("126 rows for 4 devices were taken")
try:
    nst.stylize(params, content, style, nst.TransferConfig(tile=64), devices=devices)
except nst.ConfigError as error:
    assert "tile" in str(error), error
else:
    raise AssertionError("tiles were taken")

from nst_jax.descent.fit import _bytes_needed  # of each device

config = nst.TransferConfig(optimizer="adam", **layers)
large = jax.ShapeDtypeStruct((1024, 512, 3), np.float32)
alone, shared = (
    _bytes_needed(params, large, large, nst.default_loss(config), config, on)[1]
    for on in (devices[:1], devices)
)
assert shared < 0.5 * alone, (shared, alone)

# One that is not the first computes all by itself.
config, lent = nst.TransferConfig(num_steps=2, optimizer="adam", **layers), devices[2]
result = nst.stylize(params, content, style, config, devices=[lent])
assert result.image.devices() == {lent}
np.testing.assert_array_equal(result.image, nst.stylize(params, content, style, config).image)
print("passed")
"""


@pytest.mark.slow
def test_devices_that_share_an_image_by_rows_find_what_one_does():
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "4",
        "JAX_PLATFORMS": "cpu",
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert ended.stdout == "passed\n", ended.stderr[-3000:]


@pytest.mark.slow
def test_one_device_shares_with_nobody(vgg16_params):
    import jax

    content, style = np.random.default_rng(0).random((2, 40, 32, 3), np.float32)
    layers = {"content_layers": ("conv2_2",), "style_layers": ("conv1_1", "conv2_1")}
    config = nst.TransferConfig(num_steps=2, **layers)
    alone, given = (
        nst.stylize(vgg16_params, content, style, config, devices=devices)
        for devices in (None, jax.devices()[:1])
    )
    np.testing.assert_array_equal(alone.image, given.image)
