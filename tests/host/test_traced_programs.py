import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.host import traced_programs
from nst_jax.host.traced_programs import keep_in, kept
from nst_jax.pytrees import pytree

PACKAGE = Path(nst.__file__).parent


@pytest.fixture
def folder(tmp_path):
    """A folder where programs are kept, as long as the test lasts."""
    folder = tmp_path / "traced"
    keep_in(folder)
    yield folder
    keep_in(None)


@pytest.fixture
def traced():
    """A program, and its static argument of each time that it was traced."""
    times = []

    @partial(jax.jit, static_argnames="name", donate_argnums=1)
    def program(others, donated, name):
        times.append(name)
        return {"sum": donated + others["a"] * others["b"], "name": len(name)}

    return program, times


OTHERS = {"a": np.float32(2), "b": np.arange(4, dtype=np.float32)}


def call(program, others=OTHERS, given=None, name="one", **options):
    """Calls it as another process would."""
    program.clear_cache()
    traced_programs._found.clear()
    arguments = others, jnp.zeros(4) if given is None else given
    return kept(program, arguments, {"name": name}, donated=1, **options)(*arguments)


def test_a_program_is_traced_once(folder, traced):
    program, times = traced
    for number in range(3):
        given = jnp.full(4, number, jnp.float32)
        found = call(program, given=given)
        np.testing.assert_array_equal(found["sum"], number + 2 * np.arange(4))
        assert int(found["name"]) == 3
        assert given.is_deleted()
    assert times == ["one"]
    assert len(list(folder.iterdir())) == 1
    assert folder.stat().st_mode & 0o777 == 0o700


def test_other_arguments_are_another_program(folder, traced):
    program, times = traced
    for _ in range(2):
        call(program)
        call(program, given=jnp.zeros((4, 4)))
        call(program, given=jnp.zeros(4, jnp.int32))
        call(program, given=0.0)
        call(program, {"a": OTHERS["b"], "b": OTHERS["a"]})
        call(program, {**OTHERS, "c": 0.0})
        call(program, name="other")
        with jax.default_matmul_precision("bfloat16"):
            call(program)
    assert len(times) == 8


def test_what_is_wrong_raises_as_ever(folder, traced):
    program, _ = traced
    with pytest.raises(TypeError, match="shapes"):
        call(program, given=jnp.zeros(3))
    assert not folder.exists()


@pytree
class Theirs:
    a: object
    b: object

    def __getitem__(self, name):
        return getattr(self, name)


class Name:
    def __init__(self, text):
        self.text = text

    def __len__(self):
        return 2

    def __repr__(self):
        return self.text


@pytest.mark.parametrize(
    ("others", "name"),
    [(Theirs(1.0, 2.0), "one"), (OTHERS, Name("one")), (OTHERS, (lambda: 0, "two"))],
)
def test_what_is_somebody_elses_is_traced_every_time(folder, traced, others, name):
    program, times = traced
    for _ in range(2):
        call(program, others, name=name)
    assert len(times) == 2
    assert not folder.exists()


def test_within_a_transformation_it_is_the_function_itself(folder, traced):
    program, _ = traced
    assert float(jax.grad(lambda given: call(program, given=given)["sum"][1])(jnp.ones(4))[1]) == 1
    assert not folder.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"nonsense",
        lambda content: content[:-9],
        lambda content: content[:100] + bytes(len(content) - 200) + content[-100:],
    ],
)
def test_a_damaged_file_is_replaced(folder, traced, damage):
    program, times = traced
    call(program)
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):
        np.testing.assert_array_equal(call(program)["sum"], 2 * np.arange(4))
    assert len(times) == 2
    assert list(folder.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path, traced):
    (tmp_path / "file").write_text("")
    keep_in(tmp_path / "file" / "traced")
    try:
        program, times = traced
        for _ in range(2):
            np.testing.assert_array_equal(call(program)["sum"], 2 * np.arange(4))
        assert len(times) == 2
    finally:
        keep_in(None)


def test_the_least_recently_used_goes_first(folder, traced, monkeypatch):
    monkeypatch.setattr(traced_programs, "_MOST_FILES", 2)
    program, times = traced
    call(program, name="one")
    (first,) = folder.iterdir()
    os.utime(first, (1, 1))
    call(program, name="other")
    (second,) = set(folder.iterdir()) - {first}
    os.utime(second, (2, 2))
    call(program, name="one")  # now the last one used
    call(program, name="another")
    assert first.exists()
    assert not second.exists()
    assert times == ["one", "other", "another"]


RUN = """
import jax, numpy as np, nst_jax as nst
{first}
images = np.random.default_rng(0).random((2, 48, 40, 3)).astype(np.float32)
config = nst.TransferConfig(num_steps=6, content_layers=("conv1_2",), style_layers=("conv1_1",))
jax.config.update("jax_log_compiles", True)
weights = nst.LossWeights(grain={grain})
np.save("found.npy", nst.stylize(nst.load_params("vgg16"), *images, config, weights).image)
"""


def run(folder, package=PACKAGE, grain=0.0, devices=1, first="nst.keep_programs()"):
    """Whether a process traces a run to keep it, with a copy of the package, and its picture."""
    environment = os.environ | {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": str(package.parent),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    code = RUN.format(grain=grain, first=first)
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    logged = [line for line in ended.stderr.splitlines() if "Finished tracing" in line]
    assert any("init_lanes" in line for line in logged)  # the log has what is looked for
    return any(" flat " in line for line in logged), np.load(folder / "found.npy")


@pytest.mark.slow
@pytest.mark.parametrize("grain", [0.0, 0.1])
def test_a_run_is_the_same_without_being_traced(tmp_path, grain):
    (first, picture), (second, again) = (run(tmp_path, grain=grain) for _ in range(2))
    assert (first, second) == (True, False)
    _, alone = run(tmp_path, grain=grain, first="")
    np.testing.assert_array_equal(picture, alone)
    np.testing.assert_array_equal(again, alone)


@pytest.mark.slow
def test_other_sources_are_traced(tmp_path):
    package = shutil.copytree(PACKAGE, tmp_path / "copy" / "nst_jax")
    assert run(tmp_path, package)[0]
    change = f"open({str(package / 'objective' / 'losses.py')!r}, 'a').write('# changed')"
    # a process that has the sources from before they changed keeps nothing under the new ones
    run(tmp_path, package, first=f"{change}; nst.keep_programs()")
    assert run(tmp_path, package)[0]
    assert not run(tmp_path, package)[0]


@pytest.mark.slow
def test_with_several_devices_nothing_is_kept(tmp_path):
    kept_in = tmp_path / "cache" / "nst_jax" / "traced"
    for _ in range(2):
        run(tmp_path, devices=2)
    assert not list(kept_in.iterdir())
    run(tmp_path)
    assert list(kept_in.iterdir())
