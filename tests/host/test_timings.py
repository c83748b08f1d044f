import jax
import pytest

from nst_jax.host.timings import keep_rates, read_rates


@pytest.fixture
def folder(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def test_what_was_kept_is_read_by_program_and_size(folder):
    assert read_rates("a") == {}
    keep_rates("a", {(3, 4): 1e-5})
    keep_rates("b", {(3, 4): 2e-5})
    keep_rates("a", {(5, 6): 3e-5})
    assert read_rates("a") == {(3, 4): 1e-5, (5, 6): 3e-5} and read_rates("b") == {(3, 4): 2e-5}
    for number in range(300):
        keep_rates(str(number), {(3, 4): 1e-5})
    assert read_rates("a") == {} and read_rates("299") == {(3, 4): 1e-5}
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"a": 3}', '{"a": {"3x4": "1", "x": 1e-5, "3x4x5": 1e-5}}', "[" * 100_000]
)
def test_a_damaged_file_counts_for_nothing(folder, text):
    (folder / "nst_jax_timings.json").write_text(text)
    assert read_rates("a") == {}
    keep_rates("a", {(3, 4): 1e-5})
    assert read_rates("a") == {(3, 4): 1e-5}


def test_without_a_folder_nothing_is_kept():
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        keep_rates("a", {(3, 4): 1e-5})
        assert read_rates("a") == {}
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
