from functools import partial

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent import fit
from nst_jax.descent.placement import Placement
from nst_jax.descent.run_arguments import RunArguments
from tests import reference

# Estimates are of what the compiler makes, which takes it long for deep layers; most memory goes to
# the first ones.
LOSS = nst.content(("conv1_2",)) + 20 * nst.style(("conv1_1", "conv1_2"))

GB = 10**9


@pytest.fixture
def pair(rng):
    return rng.random((512, 400, 3)).astype(np.float32), rng.random((256, 256, 3)).astype(
        np.float32
    )


def fitted(params, content, style, free):
    """What becomes of the default settings where so many bytes are free."""
    return fit.fitting_config(
        params, content, style, LOSS, nst.TransferConfig(), free_of=lambda device: free
    )


def test_with_plenty_of_memory_nothing_changes(vgg16_params, pair):
    for amount in (1000 * GB, None):
        assert fitted(vgg16_params, *pair, amount) == (nst.TransferConfig(), "")


@pytest.mark.slow
def test_a_run_that_fits_whole_is_left_whole_and_says_what_it_needs(vgg16_params, pair):
    config, line = fitted(vgg16_params, *pair, 3 * GB)
    assert config == nst.TransferConfig() and "GB of 3.0 GB free, whole" in line


@pytest.mark.slow
def test_a_run_that_does_not_fit_is_cut_into_tiles(vgg16_params, pair):
    whole = max(fit._bytes_needed(vgg16_params, *pair, LOSS, nst.TransferConfig()))
    config, line = fitted(vgg16_params, *pair, int(0.9 * whole))
    assert config.tile in (256, 512) or config.memory < nst.TransferConfig().memory
    assert max(fit._bytes_needed(vgg16_params, *pair, LOSS, config)) <= 0.85 * 0.9 * whole
    assert line.startswith("memory: ")


@pytest.mark.slow
@pytest.mark.parametrize(("content_size", "style_size"), [(96, 2048), (400, 1024)])
def test_a_style_image_too_large_for_the_memory_takes_tiles_not_pairs(
    pair, content_size, style_size
):
    params = reference.random_params("vgg16")  # whose layers need what a user's do
    content = pair[0][:content_size, :content_size]
    style = np.zeros((style_size, style_size, 3), np.float32)
    config, line = fitted(params, content, style, GB)
    assert config.tile and config.memory == nst.TransferConfig().memory, line


@pytest.mark.slow
def test_a_run_that_cannot_fit_names_a_size_that_can(vgg16_params, pair):
    with pytest.raises(
        nst.ConfigError,
        match=r"this needs \d\.\d GB, of which 0\.0 GB are free; take a size of \d+ or less",
    ):
        fitted(vgg16_params, *pair, 10_000_000)


@pytest.mark.slow
def test_the_estimate_is_what_the_program_takes(vgg16_params, pair):
    """It grows by two images a pair of L-BFGS."""
    few, many = (
        fit._bytes_needed(vgg16_params, *pair, LOSS, nst.TransferConfig(memory=memory))[1]
        for memory in (5, 25)
    )
    assert abs((many - few) / (fit._OVERHEAD * 20 * 24 * 512 * 400) - 1) < 0.1
    tiled = fit._bytes_needed(vgg16_params, *pair, LOSS, nst.TransferConfig(memory=5, tile=64))[1]
    assert tiled < few


@pytest.mark.slow
def test_the_library_looks_at_the_memory_as_the_command_does(vgg16_params, pair, said):
    """In what is left it takes tiles, and where nothing is left it says so before it begins."""
    import psutil

    from nst_jax.host.memory import limit_memory

    config = nst.TransferConfig(("conv1_2",), ("conv1_2",), num_steps=1, optimizer="sgd")
    loss = nst.content(("conv1_2",)) + 20 * nst.style(("conv1_2",))
    whole = max(fit._bytes_needed(vgg16_params, *pair, loss, config))
    used = psutil.Process().memory_info().rss
    try:
        limit_memory(used + int(0.9 * whole))
        assert np.isfinite(nst.stylize(vgg16_params, *pair, config).loss)
        assert any("in tiles of" in line and "memory: " in line for line in said), said
        limit_memory(1)
        for run in (nst.stylize, nst.stylize_batch):
            with pytest.raises(nst.ConfigError, match="GB are free; make room"):
                run(vgg16_params, *pair, config)
        with pytest.raises(nst.ConfigError, match="GB are free; make room"):
            nst.texture(vgg16_params, pair[1], (320, 320), config)
    finally:
        limit_memory(None)


@pytest.mark.parametrize("in_turn", [True, False])
def test_lanes_count_where_they_are_evaluated_at_once(vgg16_params, pair, monkeypatch, in_turn):
    seen = []
    monkeypatch.setattr(Placement, "runs_in_turn", in_turn)
    monkeypatch.setattr(
        fit, "fitting_config", lambda *images, lanes, **others: (seen.append(lanes), "")
    )
    run = partial(RunArguments, vgg16_params, *pair, nst.TransferConfig())
    for arguments in (
        run(weights=nst.LossWeights(style=[5.0, 20.0, 80.0])),
        run(keys=[0, 1, 2, 3]),
        run(keys=jax.random.split(jax.random.key(0), 5)),
        run().single(7),
    ):
        fit.fitting_run(arguments)
    assert seen == ([1, 1, 1, 1] if in_turn else [3, 4, 5, 1])


@pytest.mark.slow
def test_each_lane_that_is_evaluated_at_once_needs_as_much(vgg16_params, pair):
    small = pair[0][:96, :96]
    one, two, three = (
        fit._bytes_needed(vgg16_params, small, small, LOSS, nst.TransferConfig(), num_lanes=count)[
            1
        ]
        for count in (1, 2, 3)
    )
    assert two > one and abs((three - two) - (two - one)) <= 1
