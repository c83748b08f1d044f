"""What a GPU or TPU computes: against float64 NumPy, against itself in lanes and tiles, and against
its memory.

On a machine that has one:  JAX_PLATFORMS=cuda python3 -m pytest tests/accelerator
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import nst_jax as nst
from nst_jax.descent import fit

from .. import reference
from ..runs import finished, followed

pytestmark = [
    pytest.mark.accelerator,
    pytest.mark.skipif(
        jax.default_backend() == "cpu",
        reason="JAX runs on the CPU; on a GPU: JAX_PLATFORMS=cuda pytest tests/accelerator",
    ),
]

PRECISIONS = ("highest", "default", "bfloat16")

# A factor's relative error is at most 2^-24, 2^-11 (TF32) and 2^-9. An activation passes through up
# to 16 layers whose errors add up like √16, two factors each; in float32, sums of 4608 products add
# √4608 · 2^-24. ReLU passes on where the sign is near 0, which costs the gradient more.
FEATURES_WITHIN = {"highest": 5e-6, "default": 2.5e-3, "bfloat16": 1e-2}
GRADIENT_WITHIN = {"highest": 1e-4, "default": 2e-2, "bfloat16": 8e-2}

# A TPU serves one process at a time, and JAX's memory is limited by settings for GPUs alone.
in_a_process_of_its_own = pytest.mark.skipif(
    jax.default_backend() != "gpu", reason="needs a GPU, which a second process may use"
)


@pytest.fixture(scope="session")
def vgg19_params():
    """All channels, whose sums are as long as a user's."""
    return reference.random_params("vgg19")


@pytest.fixture(scope="module")
def images():
    """Smooth pictures, (96, 80, 3) and (64, 96, 3), of whose features not all is noise."""
    shapes, keys = ((96, 80, 3), (64, 96, 3)), jax.random.split(jax.random.key(5), 2)
    coarse = [jax.random.uniform(key, (12, 12, 3)) for key in keys]
    return [
        np.asarray(jnp.clip(jax.image.resize(image, shape, "cubic"), 0, 1))
        for image, shape in zip(coarse, shapes, strict=True)
    ]


def relative(found, wanted):
    wanted = np.asarray(wanted, np.float64)
    return np.linalg.norm(np.asarray(found, np.float64) - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_features_are_those_of_numpy_in_float64(precision, pooling, vgg19_params, images):
    layers = tuple(nst.NETWORKS["vgg19"])
    wanted = reference.features(vgg19_params, images[0], pooling)
    found = jax.jit(lambda params, image: nst.features(params, image, layers, pooling, precision))(
        vgg19_params, images[0]
    )
    errors = {layer: relative(found[layer], wanted[layer]) for layer in layers}
    print(precision, pooling, {layer: f"{error:.1e}" for layer, error in errors.items()})
    assert max(errors.values()) < FEATURES_WITHIN[precision], errors


@pytest.mark.parametrize("tile", [0, 64])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_loss_and_gradient_are_those_of_numpy_in_float64(
    precision, tile, vgg19_params, images, rng
):
    config = nst.TransferConfig(precision=precision, tile=tile)
    content, style = images
    image = np.clip(content + 0.1 * rng.standard_normal(content.shape), 0, 1).astype(np.float32)
    wanted_loss, wanted_gradient = reference.loss_and_gradient(
        vgg19_params,
        image,
        content,
        style,
        scaling="relative",
        pooling="avg",
        content_layers=config.content_layers,
        style_layers=config.style_layers,
        weights=(1.0, 20.0, 0.1),
    )
    weights = nst.LossWeights(content=1.0, style=20.0, total_variation=0.1, grain=None)
    loss = nst.default_loss(config, weights)
    targets = nst.make_targets(vgg19_params, content, style, config, loss)
    (loss, _), gradient = jax.jit(
        lambda image: nst.loss_and_gradient(vgg19_params, image, targets, weights, config)
    )(image)
    print(
        precision,
        tile,
        (
            f"loss {abs(float(loss) / wanted_loss - 1):.1e}, gradient "
            f"{relative(gradient, wanted_gradient):.1e}"
        ),
    )
    assert abs(float(loss) / wanted_loss - 1) < GRADIENT_WITHIN[precision]
    assert relative(gradient, wanted_gradient) < GRADIENT_WITHIN[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_style_weight_breaks_the_descent(precision, vgg19_params, images):
    weights = nst.LossWeights(style=np.geomspace(1e-3, 1e6, 10).astype(np.float32))
    # From noise, for hardly any style is what the content begins with.
    config = nst.TransferConfig(num_steps=30, precision=precision, init="noise")
    found = nst.stylize_batch(vgg19_params, *images, config, weights)
    assert (
        (np.asarray(found.failure) == "").all()
        and np.isfinite(found.losses).all()
        and np.isfinite(found.image).all()
    )
    assert (np.asarray(found.loss) < np.asarray(found.losses)[:, 0]).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_lanes_are_their_single_runs(precision, vgg19_params, images):
    style = np.array([5.0, 20.0, 80.0], np.float32)
    config = nst.TransferConfig(num_steps=60, precision=precision)
    batch = nst.stylize_batch(vgg19_params, *images, config, nst.LossWeights(style=style))
    singles = [
        nst.stylize(vgg19_params, *images, config, nst.LossWeights(style=float(weight)))
        for weight in style
    ]
    first = [
        float(np.abs(batch.losses[lane][:2] / single.losses[:2] - 1).max())
        for lane, single in enumerate(singles)
    ]
    last = [
        abs(float(batch.loss[lane]) / float(single.loss) - 1) for lane, single in enumerate(singles)
    ]
    print(
        precision,
        "first evaluations",
        [f"{error:.1e}" for error in first],
        "final losses",
        [f"{error:.1e}" for error in last],
    )
    assert max(first) < 1e-4
    assert max(last) < 0.02


def test_a_run_goes_on_bit_for_bit(vgg19_params, images):
    config = nst.TransferConfig(num_steps=40)
    whole, snapshots = followed(nst.descend(vgg19_params, *images, config))
    resumed = finished(nst.descend(vgg19_params, *images, config, start=snapshots[0]))
    assert snapshots[0]["states/step"][0] < 40
    np.testing.assert_array_equal(resumed.losses, whole.losses)
    np.testing.assert_array_equal(resumed.image, whole.image)


def test_a_study_has_its_lanes(vgg19_params, images):
    config = nst.TransferConfig(num_steps=20, precision="default")
    result = nst.run_study(
        vgg19_params, *images, {"style_weight": (1.0, 30.0), "pooling": ("avg", "max")}, config
    )
    assert result.image.shape == (4, 96, 80, 3) and (np.asarray(result.failure) == "").all()
    single = nst.stylize(vgg19_params, *images, config, nst.LossWeights(style=1.0))
    assert abs(float(result.loss[0]) / float(single.loss) - 1) < 0.02


ESTIMATE = """
import json, sys
import jax, numpy as np
import nst_jax as nst
from nst_jax.descent import fit
from tests import reference

params = reference.random_params("vgg19")
image = np.random.default_rng(0).random((1024, 1024, 3), np.float32)
config = nst.TransferConfig(num_steps=3, coarse_to_fine=False, precision=sys.argv[1])
needed = max(fit._bytes_needed(params, image, image, nst.default_loss(config), config))
jax.clear_caches()
nst.stylize(params, image, image, config)
print(
    json.dumps(
        {"needed": needed, "used": jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]}
    )
)
"""


@in_a_process_of_its_own
@pytest.mark.parametrize("precision", ["default", "bfloat16"])
def test_the_estimate_of_memory_is_what_a_run_uses(precision):
    ended = subprocess.run(
        [sys.executable, "-c", ESTIMATE, precision],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    print(precision, found)
    assert 0.8 < found["used"] / found["needed"] < 1.1


def test_what_does_not_fit_is_cut_into_tiles(vgg19_params):
    image = np.zeros((1536, 1536, 3), np.float32)
    config = nst.TransferConfig()
    config, line = fit.fitting_config(
        vgg19_params,
        image,
        image,
        nst.default_loss(config),
        config,
        free_of=lambda device: 6 * 10**9,
    )
    assert config.tile and line.startswith("memory: ")


@in_a_process_of_its_own
def test_what_fits_in_no_way_is_answered_by_one_line(tmp_path):
    """With a quarter of a gigabyte, of which the weights take a third."""
    room, environment = jax.local_devices()[0].memory_stats()["bytes_limit"], dict(os.environ)
    old = environment.pop("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.75")  # JAX takes one name alone
    share = float(environment.get("XLA_CLIENT_MEM_FRACTION", old)) * 0.25e9 / room
    for name in ("content", "style"):
        nst.write_image(tmp_path / f"{name}.png", np.random.default_rng(0).random((1024, 1024, 3)))
    save_file(
        reference.torchvision_names(reference.random_layers("vgg19")),
        tmp_path / "model.safetensors",
    )
    words = [
        "stylize",
        "content.png",
        "style.png",
        "--network",
        "model.safetensors",
        "--size",
        "1024",
        "--num-steps",
        "2",
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "nst_jax", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, "XLA_CLIENT_MEM_FRACTION": f"{share:.6f}"},
        check=False,
    )
    assert ended.returncode == 2, ended.stderr[-2000:]
    assert re.search(r"^nst-jax: error: .*(out of memory|GB).*size", ended.stderr, re.MULTILINE), (
        ended.stderr[-2000:]
    )
    assert "Traceback" not in ended.stderr
