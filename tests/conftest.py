"""Shapes and types of the library's annotations are checked at run time in every test."""

import gc
import logging
import os
import tempfile
from importlib.metadata import version

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("KERAS_BACKEND", "jax")
# NumPy's and PyTorch's threads wait for each other by turning round and round.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Most of the tests' time was the optimisation of small programs, which takes longer than they run.
# `JAX_DISABLE_MOST_OPTIMIZATIONS=0 XLA_FLAGS= pytest` tests them as users have them, and so do the
# tests of an accelerator.
_ON_CPU = os.environ["JAX_PLATFORMS"] == "cpu"
if _ON_CPU:
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# later versions end the process at a flag they do not know
if _ON_CPU and version("jaxlib").startswith("0.10."):
    # Each part of a program that is cut up for threads costs as much again as a small program. What
    # is optimised (below) is so at the lowest level, which rounds two programs alike as well.
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
        "--xla_backend_optimization_level=1",
    )
# What one test or command has compiled, the next reads; the user's cache is no place for tests.
os.environ.pop("JAX_ENABLE_COMPILATION_CACHE", None)
# whose processes share the folder of the one that starts them
if "PYTEST_XDIST_WORKER" not in os.environ:
    _PROGRAMS = tempfile.TemporaryDirectory()
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": _PROGRAMS.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import install_import_hook

_CHECKED = (
    "network.convolution",
    "network.vgg",
    "network.normalisation",
    "objective.losses",
    "objective.targets",
    "objective.loss",
)
_CHECKED += ("optim.lbfgs", "descent.step", "descent.history")

with install_import_hook([f"nst_jax.{name}" for name in _CHECKED], "beartype.beartype"):
    import nst_jax as nst
    from nst_jax.cli.lines import Lines
    from nst_jax.objective import loss as loss_module

import jax

from . import reference

SHARED = Path(__file__).parents[2] / "shared"


def pytest_collection_modifyitems(items):
    """In each module, tests of `optimised` programs come last: others after them are, too."""
    modules = {path: place for place, path in enumerate(dict.fromkeys(one.path for one in items))}
    items.sort(key=lambda one: (modules[one.path], "optimised" in one.fixturenames))


def pytest_collection_finish():
    """Python's garbage collector leaves alone what was imported, and comes seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


# A ninth of the channels, which serves most tests as well, and sooner: too few for Winograd's
# algorithm, whose programs take longer to compile. `tests/network` has the networks as they are.
@pytest.fixture(scope="session")
def vgg16_params():
    return reference.random_params("vgg16", narrow=9)


# A fifth: the deeper half of the layers has enough for Winograd's algorithm, and from conv4_2 on
# enough for factors in bfloat16.
@pytest.fixture(scope="session")
def vgg19_params():
    return reference.random_params("vgg19", narrow=5)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture
def photos(tmp_path, monkeypatch, rng):
    """A folder, the working one, with a photograph and a painting."""
    monkeypatch.chdir(tmp_path)
    nst.write_image("photo.jpg", rng.random((48, 40, 3)))
    nst.write_image("painting.png", rng.random((40, 56, 3)))
    return tmp_path


@pytest.fixture(autouse=True)
def no_weights_of_this_machine(tmp_path_factory, monkeypatch):
    """Tests see an empty folder of converted weights, whatever the user has, and fetch none."""
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path_factory.mktemp("weights")))
    monkeypatch.setenv("NST_JAX_OFFLINE", "1")


@pytest.fixture
def said():
    """What the library tells from here on, as the command shows it: a line each."""
    handler, lines, log = Lines(), [], logging.getLogger("nst_jax")
    handler.write = lines.append
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(handler)
    log.setLevel(before)


@pytest.fixture(scope="module")
def optimised():
    """Programs are optimised, as where two of them must round alike.

    Also in the module's tests after the first that asks for it, and in commands.
    """
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
        yield
    jax.config.update("jax_disable_most_optimizations", before)
    jax.clear_caches()


@pytest.fixture
def traces(monkeypatch):
    """Grows by one whenever the loss is traced for a run."""
    seen, total_loss = [], nst.total_loss

    def counted(*args):
        seen.append(1)
        return total_loss(*args)

    monkeypatch.setattr(loss_module, "total_loss", counted)
    jax.clear_caches()
    return seen
