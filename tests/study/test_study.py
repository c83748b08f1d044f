import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import nst_jax as nst
from nst_jax.host import memory
from nst_jax.jobs.study_folder import lane_names
from nst_jax.study import group
from nst_jax.study.grid import make_grid
from nst_jax.study.result import FinishedLane
from nst_jax.study.run import check_study
from tests import reference

NUM_STEPS = 50
LOSS_TOLERANCE = 1e-3  # relative, after all steps: descent amplifies rounding
FIRST_LOSS_TOLERANCE = 1e-5  # relative, at the first evaluation
GRADIENT_TOLERANCE = 1e-5  # of the largest component

STYLE_WEIGHTS, SEEDS = (2.0, 20.0, 50.0, 200.0), (0, 1)
SHALLOW = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1"), memory=7)
CONFIG = nst.TransferConfig(num_steps=NUM_STEPS, init="noise", **SHALLOW)
AXES = {"style_weight": STYLE_WEIGHTS, "seed": SEEDS}


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(1)
    ramp = np.linspace(0, 1, 40)[:, None, None] * np.ones((40, 32, 3))
    return (0.5 * ramp + 0.5 * rng.random((40, 32, 3))).astype(np.float32), rng.random(
        (24, 36, 3)
    ).astype(np.float32)


def run_singly(params, content, style):
    return [
        nst.stylize(
            params, content, style, CONFIG, nst.LossWeights(style=weight), key=jax.random.key(seed)
        )
        for weight in STYLE_WEIGHTS
        for seed in SEEDS
    ]


@pytest.fixture(scope="module")
def single_runs(optimised, vgg16_params, images):
    return run_singly(vgg16_params, *images)


def assert_same_as_single_runs(result, single_runs):
    assert result.image.shape[0] == len(single_runs)
    for lane, single in enumerate(single_runs):
        np.testing.assert_allclose(
            result.losses[lane, 0], single.losses[0], rtol=FIRST_LOSS_TOLERANCE
        )
        np.testing.assert_allclose(result.loss[lane], single.loss, rtol=LOSS_TOLERANCE)
        assert result.num_steps[lane] == NUM_STEPS


@pytest.mark.slow
@pytest.mark.parametrize("lanes_at_once", [None, 3, 8])
@pytest.mark.usefixtures("optimised")
def test_every_lane_equals_its_single_run_and_a_group_is_traced_once(
    vgg16_params, images, single_runs, traces, lanes_at_once
):
    result = nst.run_study(vgg16_params, *images, AXES, CONFIG, lanes_at_once=lanes_at_once)
    assert len(traces) == 1
    assert [(lane.weights.style_weight, lane.seed) for lane in result.lanes] == [
        (weight, seed) for weight in STYLE_WEIGHTS for seed in SEEDS
    ]
    assert_same_as_single_runs(result, single_runs)
    assert result.seconds.min() > 0


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_lanes_of_several_learning_rates_are_one_program(vgg16_params, images, traces, optimizer):
    rates = (0.01, 0.5)
    config = nst.TransferConfig(num_steps=3, optimizer=optimizer, decay=0.5, **SHALLOW)
    result = nst.run_study(vgg16_params, *images, {"learning_rate": rates}, config)
    assert len(traces) == 1
    for lane, rate in enumerate(rates):
        own = dataclasses.replace(config, learning_rate=rate)
        single = nst.stylize(vgg16_params, *images, own)
        np.testing.assert_array_equal(result.losses[lane], single.losses)
    assert result.losses[0, 1] != result.losses[1, 1]
    assert len(traces) == 2  # that of the single runs, whose start is put otherwise


@pytest.mark.slow
def test_a_lane_moves_along_the_gradient(vgg16_params, images):
    rate = 5.0  # short enough for the step to go down
    config = nst.TransferConfig(num_steps=2, optimizer="sgd", learning_rate=rate, **SHALLOW)
    result = nst.run_study(vgg16_params, *images, {"style_weight": (1.0, 3.0)}, config)
    targets = nst.make_targets(vgg16_params, *images, config)
    evaluate = jax.jit(nst.loss_and_gradient, static_argnames="config")
    for lane, weight in enumerate((1.0, 3.0)):
        weights = nst.LossWeights(style=weight)
        _, expected = evaluate(vgg16_params, images[0], targets, weights, config)
        assert result.best_step[lane] == 2
        inside = (result.image[lane] > 0) & (result.image[lane] < 1)  # the result alone is clipped
        moved = (images[0] - result.image[lane]) / rate
        np.testing.assert_allclose(
            moved[inside], expected[inside], atol=GRADIENT_TOLERANCE * np.abs(expected).max()
        )


DEVICES_CODE = """
import sys, jax, numpy as np, nst_jax as nst

sys.path.insert(0, sys.argv[1])
from tests import reference
from tests.study import test_study

assert len(jax.local_devices()) == 4
images = np.load(sys.argv[2])
content, style = images["content"], images["style"]
params = reference.random_params("vgg16", narrow=9)
single_runs = test_study.run_singly(params, content, style)
losses = []
for lanes_at_once in (4, 6):
    result = nst.run_study(
        params, content, style, test_study.AXES, test_study.CONFIG, lanes_at_once=lanes_at_once
    )
    test_study.assert_same_as_single_runs(result, single_runs)
    losses.append(result.losses)
np.save(sys.argv[3], losses)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_lanes_on_four_devices_equal_single_runs(images, single_runs, tmp_path):
    # The single runs are made in the process of four devices too: XLA's threads, of which there are
    # then more, decide how sums are rounded.
    np.savez(tmp_path / "images.npz", content=images[0], style=images[1])
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "4",
        "JAX_PLATFORMS": "cpu",
    }
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-c",
        DEVICES_CODE,
        root,
        tmp_path / "images.npz",
        tmp_path / "losses.npy",
    ]
    subprocess.run(command, env=environment, check=True, cwd=tmp_path)
    for losses in np.load(tmp_path / "losses.npy"):
        np.testing.assert_allclose(
            losses[:, 0], [single.losses[0] for single in single_runs], rtol=FIRST_LOSS_TOLERANCE
        )


NOT_SAVED = lambda lanes, size: None


def group_of(params, images, axes, config, **settings):
    """The lanes of a study that are one group."""
    grid = make_grid(axes, ["content"], ["style"], config, nst.LossWeights())
    named = {"content": images[0]}, {"style": images[1]}
    lanes = range(len(grid.lanes))
    return group.Group(params, *named, grid, config.group(), lanes, None, **settings)


@pytest.mark.slow
def test_lanes_under_vmap_start_as_single_runs_do(
    vgg16_params, images, single_runs, monkeypatch, said
):
    # What accelerators do. Rounded otherwise, the descents part after some steps.
    monkeypatch.setattr(group, "lanes_that_fit", lambda free, shared, own: 3)
    config = dataclasses.replace(CONFIG, num_steps=4)
    events = group_of(vgg16_params, images, AXES, config, in_turn=False).run(None, NOT_SAVED, 2.0)
    found = [event for event in events if isinstance(event, FinishedLane)]
    assert [lane.index for lane in found] == list(range(8)) and "3 at once" in said[0]
    for lane, single in zip(found, single_runs, strict=True):
        np.testing.assert_allclose(
            lane.result.losses[:2], single.losses[:2], rtol=FIRST_LOSS_TOLERANCE
        )
        assert lane.result.num_steps == 4


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_layers_and_pooling_make_groups_and_images_make_lanes(vgg16_params, images, traces):
    content, style = images
    styles = {"first": style, "second": style[:16, :20].copy()}
    contents = {"upright": content, "flipped": content[::-1].copy()}
    axes = {"pooling": ("avg", "max"), "content_layers": (("conv1_2",), ("conv2_2", "conv1_1"))}
    config = nst.TransferConfig(num_steps=3, optimizer="adam", **SHALLOW)
    result = nst.run_study(vgg16_params, contents, styles, axes, config)
    assert len(traces) == 4 and len(result.lanes) == 16
    assert (
        np.isnan(result.terms["content"]["conv2_2"][0]).all()
        and np.isfinite(result.terms["content"]["conv2_2"][-1]).all()
    )
    for index, lane in enumerate(result.lanes):
        single = nst.stylize(vgg16_params, contents[lane.content], styles[lane.style], lane.config)
        np.testing.assert_array_equal(result.losses[index], single.losses)
        np.testing.assert_array_equal(result.image[index], single.image)


@pytest.mark.slow
def test_sets_of_layer_weights_zipped_with_init_equal_single_runs(vgg16_params, images):
    sets = {"fine": {"conv1_1": 0.7}, "both": {"conv1_1": 0.25, "conv2_1": 0.5, "conv2_2": 2.0}}
    config = nst.TransferConfig(num_steps=3, **SHALLOW)
    result = nst.run_study(
        vgg16_params,
        *images,
        {"layer_weights": sets, "init": ("noise", "style")},
        config,
        zipped=True,
    )
    assert len(result.lanes) == 2
    for lane, (kind, content, first, second) in enumerate(
        [("noise", 1.0, 0.7, 0.0), ("style", 2.0, 0.25, 0.5)]
    ):
        weights = nst.LossWeights(
            content_layers={"conv2_2": content}, style_layers={"conv1_1": first, "conv2_1": second}
        )
        single = nst.stylize(vgg16_params, *images, dataclasses.replace(config, init=kind), weights)
        np.testing.assert_allclose(result.losses[lane], single.losses, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("lanes_at_once", [1, 3])
@pytest.mark.usefixtures("optimised")
def test_a_lane_that_overflows_fails_alone(vgg16_params, images, lanes_at_once):
    config = nst.TransferConfig(num_steps=12, **SHALLOW)
    result = nst.run_study(
        vgg16_params,
        *images,
        {"style_weight": (5.0, 1e30, 80.0)},
        config,
        lanes_at_once=lanes_at_once,
    )
    assert [bool(failure) for failure in result.failure] == [False, True, False]
    assert "step 1 is not finite" in result.failure[1] and result.num_steps[1] == 1
    for lane in (0, 2):
        single = nst.stylize(
            vgg16_params,
            *images,
            config,
            nst.LossWeights(style=result.lanes[lane].weights.style_weight),
        )
        np.testing.assert_array_equal(result.losses[lane], single.losses)
        np.testing.assert_array_equal(result.image[lane], single.image)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_a_converged_lane_ends_and_the_others_go_on(images):
    params = reference.random_params("vgg16")  # a narrow network's loss falls on for longer
    # With hardly any style the content image is nearly where it should be from the start.
    config = nst.TransferConfig(num_steps=30, tolerance=1e-3, **SHALLOW)
    weights, axes = nst.LossWeights(grain=None), {"style_weight": (1e-3, 20.0)}
    result = nst.run_study(params, *images, axes, config, weights, lanes_at_once=2)
    assert result.num_steps[0] < result.num_steps[1] == 30
    assert result.converged.tolist() == [True, False]
    assert (
        np.isnan(result.losses[0, result.num_steps[0] :]).all()
        and np.isfinite(result.losses[1]).all()
    )
    alone = nst.run_study(params, *images, {"style_weight": (20.0,)}, config, weights)
    np.testing.assert_array_equal(result.image[1], alone.image[0])


def test_a_study_that_does_not_fit_is_refused(vgg16_params, images):
    # enough for the images when it is first asked, and too little for the program later
    amounts = iter([10**12, 10**4])
    config = nst.TransferConfig(num_steps=1, **SHALLOW)
    one = group_of(vgg16_params, images, {"seed": (0,)}, config, free_of=lambda _: next(amounts))
    with pytest.raises(
        nst.ConfigError,
        match=r"one lane needs 0\.\d GB, of which 0\.0 GB are free; take smaller images",
    ):
        next(one.run(None, NOT_SAVED, 2.0))


@pytest.mark.parametrize("fitting", [1, 3])
def test_as_many_lanes_run_in_turn_as_fit(vgg16_params, images, said, fitting):
    config = nst.TransferConfig(num_steps=1, init="noise", **SHALLOW)
    axes, free = {"seed": tuple(range(8))}, 10**12
    lanes = group_of(vgg16_params, images, axes, config, free_of=lambda _: free)
    fit, too_many = (sum(lanes._bytes_for(count)) for count in (fitting, fitting + 1))
    free = int((fit + too_many) / 2 / 0.85)
    next(lanes.run(8, NOT_SAVED, 2.0))
    assert f"8 lanes, {fitting} at once" in said[-1]
    free = int(0.99 * sum(lanes._bytes_for(1)))
    with pytest.raises(nst.ConfigError, match="one lane needs"):
        next(lanes.run(8, NOT_SAVED, 2.0))


def test_the_table_has_a_row_a_lane(vgg16_params, images):
    pandas = pytest.importorskip("pandas")
    result = nst.run_study(
        vgg16_params,
        *images,
        {"seed": (3, 4)},
        nst.TransferConfig(num_steps=2, init="noise", **SHALLOW),
    )
    table = result.to_dataframe()
    assert isinstance(table, pandas.DataFrame) and table["seed"].tolist() == [3, 4]
    best = result.terms["style"]["conv2_1"][np.arange(2), result.best_step - 1]
    np.testing.assert_array_equal(table["style_conv2_1"], best)
    # what the table of a study's folder calls so, too, and the records of its lanes
    assert {"status", "reason", "steps", "best_step", "best_loss"} <= set(table)
    assert table["status"].tolist() == ["finished"] * 2 and table["loss"].tolist() == [None] * 2
    np.testing.assert_array_equal(table["best_loss"], result.loss)


@pytest.mark.slow
def test_the_table_has_no_terms_of_a_lane_without_a_best_step(vgg16_params, images):
    pytest.importorskip("pandas")
    # whose content term is far above 1
    config = nst.TransferConfig(num_steps=1, init="noise", scaling="paper", **SHALLOW)
    result = nst.run_study(vgg16_params, *images, {"content_weight": (1.0, 2.9e38)}, config)
    assert result.best_step.tolist() == [1, 0]
    table = result.to_dataframe()
    assert (
        table["style_conv2_1"].isna().tolist()
        == table["total_variation"].isna().tolist()
        == [False, True]
    )


@pytest.mark.slow
def test_callbacks_see_no_padding(vgg16_params, images):
    seen = []
    config = nst.TransferConfig(num_steps=1, **SHALLOW)
    axes = {"style_weight": (5.0, 20.0, 80.0)}
    nst.run_study(
        vgg16_params,
        *images,
        axes,
        config,
        lanes_at_once=2,
        callback=lambda progress: seen.append(progress),
    )
    assert [(progress.loss.shape, progress.image.shape[0]) for progress in seen] == [
        ((2,), 2),
        ((1,), 1),
    ]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"weight": (1,)}, "unknown axis 'weight'; a study varies content, style, content_weight"),
        ({"seed": ()}, "axis seed is \\(\\); give the values"),
        ({"seed": (1, 1)}, "axis seed has a value twice: 1, 1"),
        ({"seed": (-1,)}, "a value of axis seed is -1; it must be a whole number, between 0 and"),
        (
            {"style_weight": (float("inf"),)},
            "a value of axis style_weight is inf; it must be a finite number",
        ),
        (
            {"style_weight": ("5",)},
            "a value of axis style_weight is '5'; it must be a finite number",
        ),
        ({"pooling": ("mean",)}, "pooling is 'mean'; it must be one of avg, max"),
        ({"content_layers": ("conv4_2",)}, "each value is a tuple of layers"),
        ({"content_layers": (("conv9_9",),)}, "unknown layer 'conv9_9'"),
        ({"style": ("other",)}, "the style images are style"),
        (
            {"layer_weights": {"fine": {"conv4_1": 1.0}}},
            "layer_weights fine weighs conv4_1, which is not among the layers",
        ),
        (
            {"layer_weights": {"fine": {"conv1_1": -1.0}}},
            "layer_weights fine, conv1_1, is -1.0; it must be a finite number",
        ),
        (
            {"layer_weights": {"fine": {"conv1_1": True}}},
            "layer_weights fine, conv1_1, is True; it must be a finite number",
        ),
        ({"seed": {"a": 1}}, "axis seed is {'a': 1}; give the values"),
        (
            {"layer_weights": {"fine": {"conv1_1": 10**400}}},
            "layer_weights fine, conv1_1, is 10+; it must be a finite number",
        ),
        ({"layer_weights": ("fine",)}, "axis layer_weights must map"),
    ],
)
def test_wrong_axes_are_refused(vgg16_params, images, axes, message):
    with pytest.raises(nst.ConfigError, match=message):
        nst.run_study(vgg16_params, *images, axes, nst.TransferConfig(**SHALLOW))


def test_wrong_studies_are_refused(vgg16_params, images):
    config = nst.TransferConfig(num_steps=1, **SHALLOW)
    with pytest.raises(
        nst.ConfigError, match="zipped axes must have equally many values: seed has 2, init has 3"
    ):
        nst.run_study(
            vgg16_params,
            *images,
            {"seed": (0, 1), "init": ("noise", "style", "content")},
            config,
            zipped=True,
        )
    with pytest.raises(nst.ConfigError, match="must have one size, but a is 40 × 32, b is 24 × 32"):
        nst.run_study(vgg16_params, {"a": images[0], "b": images[0][:24]}, images[1], {}, config)
    with pytest.raises(nst.ConfigError, match="there is no style image; give at least one"):
        nst.run_study(vgg16_params, images[0], {}, {}, config)
    with pytest.raises(nst.ConfigError, match="lanes at once is 0; it must be at least 1"):
        nst.run_study(vgg16_params, *images, {}, config, lanes_at_once=0)
    shares = {"coarse_steps": [(0.5,), (0.01,)]}
    with pytest.raises(nst.ConfigError, match="coarse_steps asks for 0 of 4 steps"):
        check_study(
            vgg16_params,
            {"content": images[0]},
            {"style": images[1]},
            make_grid(
                shares, ["content"], ["style"], config.replace(num_steps=4), nst.LossWeights()
            ),
        )


def test_names_are_file_names():
    axes = {"content": ("a/b", 'x"<y>'), "seed": (0, 1)}
    grid = make_grid(axes, ["a/b", 'x"<y>'], ["s"], nst.TransferConfig(), nst.LossWeights())
    assert lane_names(grid) == (
        "content=a_b,seed=0",
        "content=a_b,seed=1",
        "content=x__y_,seed=0",
        "content=x__y_,seed=1",
    )
    long = make_grid(
        {"style": ("s" * 300, "s" * 301)},
        ["c"],
        ["s" * 300, "s" * 301],
        nst.TransferConfig(),
        nst.LossWeights(),
    )
    assert (
        len(set(lane_names(long))) == 2
        and max(len(name.encode()) for name in lane_names(long)) <= 160
    )


def test_how_many_lanes_fit():
    # (0.85 · 1000 − 100) / 50
    assert memory.lanes_that_fit(free=1000, shared=100, per_lane=50) == 15
    assert memory.lanes_that_fit(free=100, shared=100, per_lane=1) == 0
    assert 0 < memory.free_bytes(jax.local_devices()[0]) < 2**50


@pytest.mark.slow
def test_any_setting_can_be_an_axis(vgg16_params, images):
    axes = {
        "num_steps": [3, 5],
        "optimizer": ["adam", "sgd"],
        "learning_rate": [0.01],
        "scaling": ["relative", "mean"],
    }
    result = nst.run_study(vgg16_params, *images, axes, CONFIG)
    assert [
        (lane.config.num_steps, lane.config.optimizer, lane.config.scaling) for lane in result.lanes
    ] == [
        (steps, optimizer, scaling)
        for steps in (3, 5)
        for optimizer in ("adam", "sgd")
        for scaling in ("relative", "mean")
    ]
    assert result.num_steps.tolist() == [3] * 4 + [5] * 4 and np.isnan(result.losses[:4, 3:]).all()
    for place, lane in enumerate(result.lanes):
        assert lane.config.learning_rate == 0.01
        single = nst.stylize(vgg16_params, *images, lane.config)
        np.testing.assert_array_equal(result.image[place], single.image)


@pytest.mark.slow
def test_a_table_has_the_settings(vgg16_params, images):
    table = nst.run_study(
        vgg16_params, *images, {"num_steps": [2, 3], "scaling": ["mean"]}, CONFIG
    ).to_dataframe()
    assert table["num_steps"].tolist() == table["steps"].tolist() == [2, 3] and set(
        table["scaling"]
    ) == {"mean"}
    assert {"pooling", "content_layers", "learning_rate", "style_conv1_1"} <= set(
        table
    ) and "config" not in table


def test_an_axis_of_the_default_loss_beside_others_is_refused(vgg16_params, images):
    with pytest.raises(
        nst.ConfigError, match="axis scaling varies the default loss, but axis loss gives others"
    ):
        nst.run_study(
            vgg16_params,
            *images,
            {"loss": {"a": nst.style(("conv1_1",))}, "scaling": ["mean", "paper"]},
            CONFIG,
        )


@pytest.mark.parametrize(
    "axes",
    [{"learning_rate": ["fast"]}, {"tolerance": ["a"]}, {"decay": [True]}, {"num_steps": [2.5]}],
)
def test_values_that_no_setting_can_have_are_named(vgg16_params, images, axes):
    with pytest.raises(nst.ConfigError, match=next(iter(axes))):
        nst.run_study(vgg16_params, *images, axes, CONFIG)


def test_an_axis_that_a_given_optimizer_leaves_without_effect_is_refused(vgg16_params, images):
    with pytest.raises(
        nst.ConfigError, match="axis learning_rate varies the optimisers that go by a name"
    ):
        nst.run_study(
            vgg16_params,
            *images,
            {"learning_rate": [0.1, 0.2]},
            CONFIG,
            optimizer=optax.adamw(0.02),
        )
