import dataclasses

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent.resizing import carry_up
from nst_jax.descent.schedule import make_schedule

SHALLOW = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1"))
TWO_SIZES = dict(coarse_steps=(0.5,), **SHALLOW)


@pytest.fixture
def images(rng):
    return rng.random((40, 32, 3), np.float32), rng.random((24, 37, 3), np.float32)


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((288, 383), [383]),
        ((288, 384), [192, 384]),
        ((2731, 4096), [2048, 4096]),
        ((31, 1600), [1600]),
        ((33, 1600), [800, 1600]),
    ],
)
def test_the_schedule_begins_at_half_the_size_and_makes_all_steps(shape, sizes):
    for num_steps in (300, 7, 1):
        scales = make_schedule(shape, nst.TransferConfig(num_steps=num_steps))
        assert sum(scale.num_steps for scale in scales) == num_steps
        assert scales[-1].shape == shape and all(
            scale.num_steps > 0 and min(scale.shape) >= 16 for scale in scales
        )
        if num_steps == 300:
            assert [max(scale.shape) for scale in scales] == sizes
    assert make_schedule(shape, nst.TransferConfig(num_steps=300, coarse_to_fine=False)) == [
        (shape, 300)
    ]
    for name in ("paper", "notebook"):
        assert len(make_schedule(shape, nst.PRESETS[name].config)) == 1


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((47, 63), [63]),
        ((64, 48), [64]),
        ((128, 96), [64, 128]),
        ((384, 512), [64, 128, 256, 512]),
        ((70, 1600), [800, 1600]),
    ],
)
def test_noise_begins_as_small_as_the_network_can_judge(shape, sizes):
    config = nst.TransferConfig(init="noise")
    scales = make_schedule(shape, config)
    assert [max(scale.shape) for scale in scales] == sizes and scales[-1].shape == shape
    assert [scale.num_steps for scale in scales] == [
        50,
        50,
        50,
        100,
        500 - sum([50, 50, 100][4 - len(sizes) :]),
    ][-len(sizes) :]
    assert make_schedule(shape, dataclasses.replace(config, coarse_to_fine=False)) == [(shape, 500)]
    assert (
        sum(
            scale.num_steps
            for scale in make_schedule(shape, dataclasses.replace(config, num_steps=9))
        )
        == 9
    )


def test_steps_at_smaller_sizes_can_be_asked_for():
    config = nst.TransferConfig(num_steps=100, coarse_steps=(0.3, 0.1))
    assert make_schedule((80, 64), config) == [((20, 16), 10), ((40, 32), 30), ((80, 64), 60)]
    for shape, num_steps, said in (((80, 48), 100, "of 48 × 80"), ((80, 64), 5, "0 of 5 steps")):
        with pytest.raises(nst.ConfigError, match=said):
            make_schedule(shape, dataclasses.replace(config, num_steps=num_steps))
    for wrong in ((0.6, 0.4), (0.0,), 0.5, "0.5", (True,)):
        with pytest.raises(nst.ConfigError, match="coarse_steps"):
            nst.TransferConfig(coarse_steps=wrong)
    with pytest.raises(nst.ConfigError, match="coarse_to_fine is off"):
        nst.TransferConfig(coarse_steps=(0.1,), coarse_to_fine=False)


def test_carrying_up_keeps_the_detail_that_the_coarse_image_lacks(rng):
    detail = rng.uniform(0.3, 0.7, (40, 32, 3)).astype(np.float32)
    coarse = carry_up(detail, None, (20, 16))
    # No change is carried as no change, and a constant one as that constant.
    np.testing.assert_allclose(carry_up(coarse, detail, (40, 32)), detail, atol=1e-6)
    np.testing.assert_allclose(
        carry_up(coarse + 0.125, detail, (40, 32)), detail + 0.125, atol=1e-6
    )
    # A change without fine detail of its own arrives whole: here a ramp, which Lanczos' filter
    # keeps to about a tenth of a pixel's share.
    ramp = lambda height: (
        0.1
        * np.broadcast_to(
            ((np.arange(height) + 0.5) / height)[:, None, None], (height, height * 4 // 5, 3)
        )
    )
    carried = np.asarray(carry_up(coarse + ramp(20), detail, (40, 32))) - detail
    np.testing.assert_allclose(carried[8:-8], ramp(40)[8:-8], atol=2.5e-4)
    # which enlarging alone would lose
    assert np.abs(carry_up(coarse, None, (40, 32)) - detail).max() > 0.05
    assert carry_up(np.ones((20, 16, 3), np.float32), detail, (40, 32)).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("init", ["content", "style", "noise", "initial"])
def test_a_run_is_its_scales_one_after_the_other(init, vgg16_params, images, rng):
    content, style = images
    config = nst.TransferConfig(
        num_steps=12, init="content" if init == "initial" else init, **TWO_SIZES
    )
    initial = rng.random(content.shape, np.float32) if init == "initial" else None
    whole = nst.stylize(vgg16_params, content, style, config, initial=initial)

    one_scale = dataclasses.replace(config, num_steps=6, coarse_steps=(), coarse_to_fine=False)
    shrink = lambda image, shape: np.clip(
        np.asarray(jax.image.resize(image, (*shape, 3), "lanczos3")), 0, 1
    )
    key = jax.random.key(0)
    start = {
        "content": content,
        "style": shrink(style, content.shape[:2]),
        "noise": np.asarray(jax.random.uniform(key, content.shape)),
        "initial": initial,
    }[init]
    coarse_start = start[:20, :16] if init == "noise" else shrink(start, (20, 16))
    coarse_content, coarse_style = shrink(content, (20, 16)), shrink(style, (16, 18))
    coarse = nst.stylize(
        vgg16_params, coarse_content, coarse_style, one_scale, initial=coarse_start
    )
    enlarged = lambda image: np.asarray(jax.image.resize(image, content.shape, "lanczos3"))
    middle = (
        enlarged(coarse.image) if init == "noise" else start + enlarged(coarse.image - coarse_start)
    )
    fine = nst.stylize(vgg16_params, content, style, one_scale, initial=np.clip(middle, 0, 1))

    np.testing.assert_allclose(whole.losses, [*coarse.losses, *fine.losses], rtol=1e-3)
    np.testing.assert_allclose(whole.losses[[0, 6]], [coarse.losses[0], fine.losses[0]], rtol=1e-5)
    np.testing.assert_allclose(whole.image, fine.image, atol=1e-3)
    assert (
        whole.loss == whole.losses[6:].min() == whole.losses[whole.best_step - 1]
        and whole.best_step > 6
    )
    assert whole.num_steps == 12 and whole.sizes.tolist() == [20] * 6 + [40] * 6
    assert whole.terms["style"]["conv1_1"].shape == (12,)


def test_callbacks_count_steps_through_all_scales_and_see_full_size(vgg16_params, images):
    config = nst.TransferConfig(num_steps=13, **TWO_SIZES)
    seen = [
        jax.device_get(chunk.progress)
        for chunk in nst.descend(vgg16_params, *images, config, every=4)
    ]
    steps = [progress.step for progress in seen]
    assert steps == sorted(set(steps)) and {4, 6, 8, 12, 13} <= set(steps)
    assert {progress.num_steps for progress in seen} == {13}
    assert all(
        progress.image.shape == images[0].shape
        and 0 <= progress.image.min() <= progress.image.max() <= 1
        for progress in seen
    )


def test_a_chunk_of_a_smaller_size_holds_nothing_when_the_next_is_there(vgg16_params, images):
    chunks = nst.descend(vgg16_params, *images, nst.TransferConfig(num_steps=12, **TWO_SIZES))
    # the last at half the size
    coarse = next(chunk for chunk in chunks if chunk.progress.step == 6)
    result = coarse.result()
    assert next(chunks).progress.step > 6
    with pytest.raises(RuntimeError, match="no longer valid"):
        coarse.result()
    assert result.cut_off and np.isfinite(result.image).all()


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_lanes_equal_single_runs_and_each_ends_by_itself(vgg16_params, images):
    config = nst.TransferConfig(num_steps=60, tolerance=0.02, **TWO_SIZES)
    weights = nst.LossWeights(style=[0.01, 20.0, 1e38])
    batch = nst.stylize_batch(vgg16_params, *images, config, weights)
    assert (
        batch.failure[2]
        and not batch.failure[:2].any()
        and batch.num_steps[2] == 1
        and batch.losses.shape[1] == batch.num_steps.max()
    )
    assert len(set(batch.num_steps.tolist())) > 1
    for lane, weight in enumerate(weights.style):
        single = nst.stylize(vgg16_params, *images, config, nst.LossWeights(style=weight))
        count = int(single.num_steps)
        assert (
            count == batch.num_steps[lane]
            and single.failure == batch.failure[lane]
            and single.converged == batch.converged[lane]
        )
        np.testing.assert_array_equal(batch.losses[lane, :count], single.losses)
        assert np.isnan(batch.losses[lane, count:]).all() and (batch.sizes[lane, count:] == 0).all()
        np.testing.assert_array_equal(batch.sizes[lane, :count], single.sizes)
        np.testing.assert_array_equal(batch.image[lane], single.image)
        assert batch.best_step[lane] == single.best_step and batch.loss[lane] == single.loss


@pytest.mark.slow
def test_a_study_goes_through_the_scales_as_single_runs_do(vgg16_params, images):
    config = nst.TransferConfig(num_steps=8, **TWO_SIZES)
    study = nst.run_study(
        vgg16_params, *images, {"init": ["content", "noise"], "style_weight": [5, 50]}, config
    )
    for index, lane in enumerate(study.lanes):
        single = nst.stylize(
            vgg16_params, *images, lane.config, nst.LossWeights(style=lane.weights.style_weight)
        )
        np.testing.assert_allclose(study.image[index], single.image, atol=1e-3)
        np.testing.assert_allclose(study.losses[index], single.losses, rtol=1e-3)
