import os
import subprocess
import sys

import pytest

import nst_jax as nst


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "given", "kept"),
    [([], "", "ours"), (["--no-compilation-cache"], "", ""), ([], "theirs", "theirs")],
)
def test_programs_are_kept_where_the_user_wants_them(tmp_path, rng, words, given, kept):
    for name in ("a.png", "b.png"):
        nst.write_image(tmp_path / name, rng.random((32, 32, 3)))
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR")
    if given:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / given)
    command = [
        sys.executable,
        "-m",
        "nst_jax",
        "stylize",
        "a.png",
        "b.png",
        "--size",
        "32",
        "--num-steps",
        "1",
        "--network",
        "vgg16",
        "--content-layers",
        "conv1_1",
        "--style-layers",
        "conv1_1",
        "--optimizer",
        "sgd",
        *words,
    ]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    folders = {"ours": tmp_path / "cache" / "nst_jax" / "programs", "theirs": tmp_path / "theirs"}
    assert {
        name
        for name, folder in folders.items()
        if folder.is_dir() and list(folder.glob("jit__run_piece*"))
    } == ({kept} if kept else set())


@pytest.mark.slow
def test_python_keeps_programs_by_one_call(tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        environment.pop(name)
    for call in ("", "nst.keep_programs(); "):
        code = f"import jax, nst_jax as nst; {call}jax.jit(lambda x: 2 * x)(1.0)"
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        assert any(tmp_path.glob("nst_jax/programs/*")) == bool(call)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["programs", "traced"])
def test_nothing_is_kept_where_others_may_write(tmp_path, name):
    folder = tmp_path / "nst_jax" / name
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        environment.pop(name)
    code = "import jax, nst_jax as nst; nst.keep_programs(); jax.jit(lambda x: 2 * x)(1.0)"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.glob("nst_jax/*/*"))
