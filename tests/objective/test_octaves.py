"""The objective over octaves: it is the mean of what it is of images made smaller by hand."""

import numpy as np
import pytest

import nst_jax as nst
from nst_jax.objective.octaves import halved, num_octaves
from tests.runs import finished, followed, loss_and_gradient, total_loss

SHALLOW = {"content_layers": ("conv2_1",), "style_layers": ("conv1_1", "conv2_1")}


def means_of_cells(image, times):
    for _ in range(times):
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        image = sum(image[row::2, column::2] for row in (0, 1) for column in (0, 1)) / 4
    return image


@pytest.fixture
def images(rng):
    return tuple(rng.random((*shape, 3), np.float32) for shape in ((70, 67), (68, 90), (70, 67)))


def test_an_odd_line_at_the_end_is_left_out(images):
    for times in (1, 2):
        found = halved(images[1], times)
        np.testing.assert_allclose(found, means_of_cells(images[1], times), atol=1e-6)


@pytest.mark.parametrize(
    ("most", "border", "shape", "count"),
    [
        (1, "zero", (512, 512, 3), 1),
        (4, "zero", (512, 300, 3), 4),
        (4, "zero", (512, 255, 3), 3),
        (8, "zero", (40, 512, 3), 1),
        (8, "wrap", (160, 512, 3), 2),
        (8, "wrap", (160, 240, 3), 1),
        (8, "wrap_x", (160, 512, 3), 3),
        (8, "wrap_y", (160, 333, 3), 2),
    ],
)
def test_octaves_end_where_nothing_can_be_told_or_a_side_would_not_wrap(most, border, shape, count):
    assert num_octaves(most, border, shape) == count


def loss_of(params, image, pair, weights, config):
    targets = nst.make_targets(params, *pair, config, nst.default_loss(config, weights))
    return total_loss(params, image, targets, weights, config)


def test_targets_of_unlike_octaves_are_refused(vgg16_params, images):
    config = nst.TransferConfig(octaves=2, **SHALLOW)
    several, one = (
        nst.make_targets(vgg16_params, *images[:2], each, nst.default_loss(config))
        for each in (config, config.replace(octaves=1))
    )
    mixed = several | {"grain": one["grain"]}
    with pytest.raises(nst.ConfigError, match=r"unlike octaves, content 2, grain 1, .*; make all"):
        total_loss(vgg16_params, images[2], mixed, nst.LossWeights(), config)


@pytest.mark.slow
def test_a_style_too_small_for_an_octave_counts_in_the_others(vgg16_params, images):
    """As much as it would; and a lane of a study is its single run, whatever other lanes are."""
    content, style = images[:2]
    small = style[:50]
    several = nst.TransferConfig(octaves=2, num_steps=2, coarse_to_fine=False, **SHALLOW)
    plain = nst.LossWeights(grain=None)
    one = several.replace(octaves=1)
    found, alone, half = (
        loss_of(vgg16_params, *arguments)
        for arguments in (
            (images[2], (content, small), plain, several),
            (images[2], (content, small), plain.replace(content=0.0), one),
            (means_of_cells(images[2], 1), (means_of_cells(content, 1), small), plain, one),
        )
    )
    whole = loss_of(vgg16_params, images[2], (content, small), plain.replace(style=0.0), one)
    content_part = half[1]["content"]["conv2_1"]
    expected = alone[0] + (whole[0] + content_part) / 2
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    study = nst.run_study(vgg16_params, content, {"small": small, "large": style}, {}, several)
    for lane, own in enumerate((small, style)):
        single = nst.stylize(vgg16_params, content, own, several)
        np.testing.assert_allclose(study.losses[lane], single.losses, rtol=1e-5)


@pytest.mark.slow
def test_a_region_too_small_for_an_octave_does_not_explode(vgg16_params, rng):
    content, style = rng.random((78, 280, 3), np.float32), rng.random((78, 280, 3), np.float32)
    last = np.zeros((78, 280), np.float32)
    last[-10:] = 1
    layers = {"content_layers": ("conv2_1",), "style_layers": ("conv4_1",)}
    regions = [nst.Region(np.ones((78, 280), np.float32), style_mask=last)]
    first = [
        nst.stylize(
            vgg16_params,
            content,
            style,
            nst.TransferConfig(octaves=octaves, num_steps=2, coarse_to_fine=False, **layers),
            regions=regions,
        ).losses[0]
        for octaves in (1, 2)
    ]
    # met in the first octave alone, it counts there for both; the content is where it begins
    np.testing.assert_allclose(first[1], first[0], rtol=1e-5)


@pytest.mark.slow
def test_the_loss_is_the_mean_over_octaves(vgg16_params, images):
    config, weights = nst.TransferConfig(**SHALLOW), nst.LossWeights(total_variation=0.1)
    several = config.replace(octaves=2)
    targets = nst.make_targets(vgg16_params, *images[:2], several)
    (found, parts), gradient = loss_and_gradient(vgg16_params, images[2], targets, weights, several)
    values, expected, part = [], 0.0, 0.0
    for times in (0, 1):
        content, style, image = (means_of_cells(own, times) for own in images)
        own = nst.make_targets(vgg16_params, content, style, config)
        (value, own_parts), slope = loss_and_gradient(vgg16_params, image, own, weights, config)
        values.append(value)
        part += own_parts["style"]["conv2_1"] / 2
        back = np.repeat(np.repeat(slope, 2**times, 0), 2**times, 1) / 4**times / 2
        expected += np.pad(back, [*((0, side % 2**times) for side in (70, 67)), (0, 0)])
    np.testing.assert_allclose(found, np.mean(values), rtol=1e-6)
    np.testing.assert_allclose(parts["style"]["conv2_1"], part, rtol=1e-6)
    assert np.abs(gradient - expected).max() <= 1e-5 * np.abs(expected).max()
    alone, _ = total_loss(vgg16_params, images[2], targets, weights, several)
    np.testing.assert_allclose(alone, found, rtol=1e-6)


@pytest.mark.slow
def test_in_tiles_as_whole(vgg16_params, rng):
    content, style, image = (rng.random((*own, 3), np.float32) for own in ((150, 134),) * 3)
    found = []
    for tile in (0, 64):
        config = nst.TransferConfig(octaves=3, tile=tile, **SHALLOW)
        targets = nst.make_targets(vgg16_params, content, style, config)
        assert len(targets["style"].octaves) == 2
        found.append(loss_and_gradient(vgg16_params, image, targets, nst.LossWeights(), config))
    ((whole, _), gradient), ((tiled, _), of_tiles) = found
    np.testing.assert_allclose(tiled, whole, rtol=1e-5)
    assert np.abs(of_tiles - gradient).max() <= 1e-5 * np.abs(gradient).max()


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_lanes_equal_single_runs_which_go_on_bit_for_bit(vgg16_params, images):
    config = nst.TransferConfig(
        octaves=2, num_steps=4, optimizer="adam", coarse_to_fine=False, **SHALLOW
    )
    weights = nst.LossWeights(style=[5.0, 50.0])
    batch = nst.stylize_batch(vgg16_params, *images[:2], config, weights)
    for lane, style in enumerate(weights.style):
        own = nst.LossWeights(style=style)
        run = lambda own=own, **how: nst.descend(
            vgg16_params, *images[:2], config, own, every=2, **how
        )
        single, (saved, *_) = followed(run())
        np.testing.assert_array_equal(batch.losses[lane], single.losses)
        np.testing.assert_array_equal(batch.image[lane], single.image)
        np.testing.assert_array_equal(finished(run(start=saved)).image, single.image)
    # what it begins with is what the public parts say of it
    targets = nst.make_targets(vgg16_params, *images[:2], config)
    first, _ = total_loss(vgg16_params, images[0], targets, nst.LossWeights(style=5.0), config)
    np.testing.assert_allclose(batch.losses[0, 0], first, rtol=1e-5)


@pytest.mark.slow
def test_regions_and_mixtures_of_one_style_are_the_run_without_them(vgg16_params, images, said):
    content, style = images[:2]
    config = nst.TransferConfig(octaves=2, num_steps=2, coarse_to_fine=False, **SHALLOW)
    half = np.full(content.shape[:2], 0.5, np.float32)
    plain = nst.stylize(vgg16_params, content, style, config)
    parted = nst.stylize(
        vgg16_params, content, style, config, regions=[nst.Region(half), nst.Region(half)]
    )
    mixed = nst.stylize(vgg16_params, content, [style, style], config)
    for found in (parted, mixed):
        np.testing.assert_allclose(found.losses, plain.losses, rtol=1e-5)
    assert not said
    few = nst.stylize(vgg16_params, content, style, config.replace(octaves=4))
    np.testing.assert_array_equal(few.image, plain.image)
    assert said[0].startswith("octaves: 2 of 4, for the next has a side of fewer than 32 pixels")
    one = nst.stylize(vgg16_params, content, style, config.replace(octaves=1))
    assert abs(one.losses[0] / plain.losses[0] - 1) > 1e-3
