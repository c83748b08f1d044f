"""The node against a stand-in of ComfyUI: its two modules, and tensors as far as nodes see them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import nst_jax as nst

FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui"


class Tensor:
    """Torch's, in single or half precision."""

    def __init__(self, array, dtype=np.float32):
        self._array = np.asarray(array, dtype)
        self.shape = self._array.shape

    def cpu(self):
        return self

    def float(self):
        return Tensor(self._array)

    def numpy(self):
        return self._array

    def new_tensor(self, data):
        return Tensor(data, self._array.dtype)


class Interrupted(Exception):
    pass


class Comfy:
    """Its bars, and whether somebody has pressed Cancel."""

    def __init__(self):
        self.bars, self.cancelled_after = [], None

    def make_bar(self, total):
        self.bars.append((total, []))
        return self

    def update_absolute(self, value, total=None, preview=None):
        self.bars[-1][1].append(value)

    def throw_exception_if_processing_interrupted(self):
        if self.cancelled_after is not None and len(self.bars[-1][1]) >= self.cancelled_after:
            raise Interrupted


@pytest.fixture
def comfy(monkeypatch):
    stand_in = Comfy()
    utils, management = ModuleType("comfy.utils"), ModuleType("comfy.model_management")
    utils.ProgressBar = stand_in.make_bar
    management.throw_exception_if_processing_interrupted = (
        stand_in.throw_exception_if_processing_interrupted
    )
    package = ModuleType("comfy")
    package.utils, package.model_management = utils, management
    for module in (package, utils, management):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # which the node sets, else
    return stand_in


@pytest.fixture
def node(comfy, vgg16_params, monkeypatch):
    """As ComfyUI loads a folder of its custom_nodes, with a network of random weights."""
    spec = importlib.util.spec_from_file_location("custom_nodes_nst_jax", FOLDER / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(nst, "load_params", lambda network: vgg16_params)
    assert module.NODE_CLASS_MAPPINGS.keys() == module.NODE_DISPLAY_NAME_MAPPINGS.keys()
    return module.NODE_CLASS_MAPPINGS["NSTJaxStyleTransfer"]()


@pytest.fixture
def paint(node):
    """Runs the node as ComfyUI does: by the name of its function and those of its inputs."""

    def run(**given):
        said = node.INPUT_TYPES()
        assert set(given) <= {*said["required"], *said["optional"]}
        for name, (kind, options) in said["required"].items():
            if kind != "IMAGE":
                given.setdefault(name, kind[0] if isinstance(kind, list) else options["default"])
        assert node.RETURN_TYPES == ("IMAGE",)
        (image,) = getattr(node, node.FUNCTION)(**given)
        return image

    return run


@pytest.mark.slow
def test_each_image_of_a_batch_is_painted_by_itself_at_its_size(paint, comfy, rng, vgg16_params):
    contents, style = rng.random((2, 24, 32, 3)), rng.random((1, 20, 28, 3))
    painted = paint(
        image=Tensor(contents), style=Tensor(style), style_weight=5.0, num_steps=3
    ).numpy()
    assert painted.shape == contents.shape and painted.dtype == np.float32
    config, weights = nst.TransferConfig(num_steps=3), nst.LossWeights(style=5.0)
    for content, found in zip(contents, painted, strict=True):
        content = content.astype(np.float32)
        single = nst.stylize(vgg16_params, content, style[0].astype(np.float32), config, weights)
        np.testing.assert_array_equal(found, single.image)
    total, shown = comfy.bars[0]
    assert total == 6 and shown == sorted(shown) and {3, 6} <= set(shown)


def test_styles_of_a_batch_are_blended(paint, rng):
    content, styles = Tensor(rng.random((1, 24, 32, 3))), rng.random((2, 20, 28, 3))
    both = paint(image=content, style=Tensor(styles), num_steps=3).numpy()
    turned = paint(image=content, style=Tensor(styles[::-1]), num_steps=3).numpy()
    first = paint(image=content, style=Tensor(styles[:1]), num_steps=3).numpy()
    np.testing.assert_allclose(both, turned, atol=1e-4)
    assert np.abs(both - first).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_the_mask_leaves_out_stays(paint, rng, dtype):
    contents = rng.random((2, 24, 32, 3)).astype(dtype)
    mask = np.zeros((1, 24, 32))
    mask[:, :, :16] = 1
    style = Tensor(rng.random((1, 20, 28, 3)), dtype)
    found = paint(
        image=Tensor(contents, dtype), style=style, mask=Tensor(mask, dtype), num_steps=3
    ).numpy()
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[:, :, 16:], contents[:, :, 16:])
    assert (np.abs(found[:, :, :16] - contents[:, :, :16]).max((1, 2, 3)) > 0.01).all()


def test_images_that_overshoot_are_taken(paint, rng):
    content, style = rng.random((1, 24, 32, 3)) * 1.2 - 0.1, rng.random((1, 20, 28, 3))
    found = paint(image=Tensor(content), style=Tensor(style), num_steps=3).numpy()
    assert found.min() >= 0 and found.max() <= 1


def test_cancel_ends_the_run_as_comfyui_wants(paint, comfy, rng):
    comfy.cancelled_after = 1
    images = Tensor(rng.random((2, 24, 32, 3)))
    with pytest.raises(Interrupted):
        paint(image=images, style=images, num_steps=3)
    assert len(comfy.bars[0][1]) == 1


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((1, 64, 64)), "the mask is 64 × 64 pixels, the image 32 × 24; bring it"),
        (np.ones((3, 24, 32)), "there are 3 masks for 2 images; give one, or one for each"),
        (np.zeros((2, 24, 32)), "0 everywhere; give 1 where to paint"),
    ],
)
def test_a_mask_that_does_not_fit_draws_one_line(paint, rng, mask, said):
    images = Tensor(rng.random((2, 24, 32, 3)))
    with pytest.raises(nst.ConfigError, match=said):
        paint(image=images, style=images, mask=Tensor(mask))
