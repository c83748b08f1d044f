import numpy as np
import pytest

import nst_jax as nst
from nst_jax.objective.boxes import Box, boxes_of
from nst_jax.objective.regions import shares_of, small_regions, with_regions
from nst_jax.objective.targets import targets_of
from nst_jax.objective.tiles import Tiles
from tests import reference
from tests.runs import loss_and_gradient

LAYERS = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1", "conv3_1"))
CONFIG = nst.TransferConfig(num_steps=3, optimizer="adam", **LAYERS)


TILED = dict(content_layers=("conv1_2",), style_layers=("conv1_1", "conv2_1"))


def check_tiles(params, shape, config):
    """Makes sure that an image of that shape is really cut, where the config has tiles."""
    layers = config.content_layers + config.style_layers
    assert not config.tile or not Tiles(shape, config.tile, params, layers).is_one


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(7)
    shapes = (64, 96, 3), (48, 80, 3), (50, 33, 3)
    return [
        rng.random(shape, np.float32) ** power
        for shape, power in zip(shapes, (1, 2, 3), strict=True)
    ]


def left_half(shape, soft=False):
    """1 at the left, 0 at the right, from one to the other in the middle or all the way."""
    edge = np.linspace(1, 0, shape[1]) if soft else np.arange(shape[1]) < shape[1] // 2
    return np.broadcast_to(edge.astype(np.float32), shape[:2]).copy()


def first_loss(params, content, styles, regions, config=CONFIG, **arguments):
    """The loss and its parts at the content, where each run begins."""
    result = nst.stylize(params, content, styles, config, regions=regions, **arguments)
    parts = {
        name: {part: rows[0] for part, rows in own.items()} for name, own in result.terms.items()
    }
    return result.losses[0], parts


@pytest.mark.slow
def test_a_region_is_compared_by_the_gram_matrix_of_its_positions(vgg16_params, pictures):
    content, style, _ = pictures
    regions = [nst.Region(left_half(content.shape), name="left", style_mask=left_half(style.shape))]
    _, parts = first_loss(vgg16_params, content, style, regions)
    image, wanted = (
        reference.features(vgg16_params, picture.astype(np.float64)) for picture in (content, style)
    )
    for layer in CONFIG.style_layers:
        # The edge lies between two positions of each layer.
        found = reference.gram(image[layer][:, : image[layer].shape[1] // 2])
        aim = reference.gram(wanted[layer][:, : wanted[layer].shape[1] // 2])
        distance = ((found - aim) ** 2).sum() / (aim**2).sum()
        np.testing.assert_allclose(parts["style_left"][layer], distance, rtol=1e-4)


@pytest.mark.slow
def test_nothing_pulls_outside_of_a_region(vgg16_params, pictures):
    content, style, _ = pictures
    mask = np.zeros(content.shape[:2], np.float32)
    mask[:, :32] = 1
    config = nst.TransferConfig(num_steps=2, optimizer="sgd", learning_rate=100.0, **LAYERS)
    weights = nst.LossWeights(content=0.0, style=1.0)
    start = np.clip(content + 0.1, 0.2, 0.8)
    run = nst.descend(
        vgg16_params, content, style, config, weights, regions=[nst.Region(mask)], initial=start
    )
    *_, last = run
    moved = np.abs(np.asarray(last.snapshot()["states/image"])[0] - start).max((0, 2))
    # conv3_1 sees 12 pixels beyond its own four.
    assert (moved[:32] > 0).all() and (moved[32 + 16 :] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("tile", [0, 64])
def test_a_partition_adds_up_to_the_whole(vgg16_params, rng, tile):
    content, style = rng.random((200, 130, 3), np.float32), rng.random((60, 70, 3), np.float32) ** 2
    soft = left_half(content.shape, soft=True)
    config = nst.TransferConfig(num_steps=1, optimizer="adam", tile=tile, scaling="mean", **TILED)
    check_tiles(vgg16_params, content.shape, config)
    targets = nst.make_targets(vgg16_params, content, style, config)
    (whole, _), _ = loss_and_gradient(vgg16_params, content, targets, nst.LossWeights(), config)
    # Half and half everywhere: each region's Gram matrix is the whole's.
    half = np.full(content.shape[:2], 0.5, np.float32)
    loss, _ = first_loss(vgg16_params, content, style, [nst.Region(half), nst.Region(half)], config)
    np.testing.assert_allclose(loss, whole, rtol=1e-5)
    # Σ area ‖G_r − A‖² = ‖G − A‖² + Σ area ‖G_r − G‖², and so never less.
    loss, _ = first_loss(
        vgg16_params, content, style, [nst.Region(soft), nst.Region(1 - soft)], config
    )
    assert whole < loss < 1.5 * whole


@pytest.mark.slow
def test_tiles_see_the_regions_of_the_whole(vgg16_params, rng):
    content, style = rng.random((200, 130, 3), np.float32), rng.random((150, 140, 3), np.float32)
    soft = left_half(content.shape, soft=True)
    part = left_half(style.shape)
    regions = [nst.Region(soft, style=1, style_mask=part), nst.Region(1 - soft, style=0)]
    configs = [
        nst.TransferConfig(num_steps=2, optimizer="adam", tile=tile, **TILED) for tile in (0, 64)
    ]
    check_tiles(vgg16_params, content.shape, configs[1])
    check_tiles(vgg16_params, style.shape, configs[1])
    whole, tiled = (
        nst.stylize(
            vgg16_params, content, [style, style[::-1].copy() ** 2], config, regions=regions
        )
        for config in configs
    )
    np.testing.assert_allclose(tiled.losses, whole.losses, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("border", ["zero", "reflect", "wrap_x"])
def test_regions_and_what_is_kept_are_those_of_the_whole_in_tiles(vgg16_params, rng, border):
    content, style = rng.random((2, 160, 176, 3), np.float32)
    mask = left_half(content.shape)
    regions = [nst.Region(mask), nst.Region(1 - mask, style=1)]
    keep = np.zeros(content.shape[:2], np.float32)
    keep[50:90, 60:130], keep[90:100] = 1, 0.5  # over tiles and regions
    how = dict(num_steps=2, optimizer="adam", border=border, **TILED)
    configs = [nst.TransferConfig(tile=tile, **how) for tile in (0, 64)]
    check_tiles(vgg16_params, content.shape, configs[1])
    whole, tiled = (
        nst.stylize(vgg16_params, content, [style, style**3], config, regions=regions, keep=keep)
        for config in configs
    )
    np.testing.assert_allclose(tiled.losses, whole.losses, rtol=1e-5)
    for name in ("style_1", "style_2"):
        for layer, rows in whole.terms[name].items():
            np.testing.assert_allclose(tiled.terms[name][layer], rows, rtol=1e-4, err_msg=layer)
    for found in (whole, tiled):
        np.testing.assert_array_equal(np.asarray(found.image)[keep == 1], content[keep == 1])


@pytest.mark.slow
@pytest.mark.parametrize("term", [nst.Gram, nst.Covariance, nst.NearestNeighbours])
def test_a_term_finds_in_the_box_of_a_region_all_that_it_finds_in_the_layer(
    vgg16_params, rng, term
):
    image, style = rng.random((2, 50, 66, 3), np.float32)
    mask = np.zeros(image.shape[:2], np.float32)
    mask[18:31, 20:46], mask[24, 50] = 1, 0.3
    layers, config = ("conv1_1", "conv2_1"), nst.TransferConfig()
    loss = nst.Loss({"style": term(layers=layers)})
    shares = shares_of(mask, layers, image.shape, "zero")
    boxes = boxes_of(shares)
    assert boxes == {"conv1_1": Box(16, 32, 16, 64), "conv2_1": Box(8, 16, 8, 32)}
    (aim,) = targets_of(vgg16_params, style, "style", loss, config, image.shape).values()
    found = [
        nst.loss_and_gradient(vgg16_params, image, {"style": own}, loss, config)
        for own in (aim._replace(shares=shares), aim._replace(shares=shares, boxes=boxes))
    ]
    ((whole, _), gradient), ((boxed, _), of_boxed) = found
    np.testing.assert_allclose(boxed, whole, rtol=1e-5)
    np.testing.assert_allclose(of_boxed, gradient, atol=1e-5 * np.abs(gradient).max())


def test_the_box_of_a_region_ends_with_the_layer():
    mask = np.zeros((50, 66, 1), np.float32)
    mask[-1, -1] = 1
    assert boxes_of({"conv1_1": mask}) == {"conv1_1": Box(48, 50, 64, 66)}
    assert boxes_of({"conv1_1": np.ones_like(mask)}) == {}
    assert boxes_of({"conv1_1": np.zeros_like(mask)}) == {}


@pytest.mark.slow
def test_one_region_of_the_whole_picture_is_none(vgg16_params, pictures):
    content, style, _ = pictures
    full = nst.Region(np.ones(content.shape[:2], np.float32))
    found = nst.stylize(vgg16_params, content, style, CONFIG, regions=[full])
    wanted = nst.stylize(vgg16_params, content, style, CONFIG)
    np.testing.assert_array_equal(found.image, wanted.image)
    np.testing.assert_allclose(found.losses, wanted.losses, rtol=1e-6)  # as compilers add up


@pytest.mark.slow
def test_one_region_of_a_small_picture_keeps_all_layers(vgg16_params, rng):
    content, style = rng.random((32, 32, 3), np.float32), rng.random((32, 32, 3), np.float32) ** 2
    config = nst.TransferConfig(num_steps=1, optimizer="adam")
    full = nst.Region(np.ones(content.shape[:2], np.float32))
    found = nst.stylize(vgg16_params, content, style, config, regions=[full])
    wanted = nst.stylize(vgg16_params, content, style, config)
    np.testing.assert_allclose(found.losses, wanted.losses, rtol=1e-6)


def test_layers_that_are_left_out_leave_their_weight_to_the_others():
    mask = np.zeros((64, 96), np.float32)
    mask[:10, :10] = 1  # 6 positions at conv3_1
    config = nst.TransferConfig(**LAYERS)
    plain = nst.default_loss(config)
    spelt = with_regions(plain, [nst.Region(mask, weight=1.0, name="a")])
    assert sum(spelt["style_a"].part_weights.values()) == pytest.approx(1)
    assert small_regions(plain, spelt) == ["region a is too small for conv3_1, left out there"]
    alike = with_regions(nst.style(config.style_layers) + nst.content(), [nst.Region(mask)])
    assert alike["style_1"].part_weights is None  # which weighs its layers alike, summing to 1
    assert alike["style_1"].layers == spelt["style_a"].layers == ("conv1_1", "conv2_1")


@pytest.mark.slow
def test_a_region_goes_on_bit_for_bit(vgg16_params, pictures):
    content, *styles = pictures
    mask = left_half(content.shape, soft=True)
    regions = [nst.Region(mask), nst.Region(1 - mask, style=1)]
    run = lambda **how: nst.descend(
        vgg16_params, content, styles, CONFIG, regions=regions, every=2, seconds=0, **how
    )
    first = next(iter(run()))
    *_, again = run(start={name: np.array(leaf) for name, leaf in first.snapshot().items()})
    whole = nst.stylize(vgg16_params, content, styles, CONFIG, regions=regions)
    np.testing.assert_array_equal(again.result().image, whole.image)


@pytest.mark.slow
def test_regions_swap_as_their_styles_do(vgg16_params, pictures):
    content, *styles = pictures
    mask = left_half(content.shape)
    regions = [nst.Region(mask, style=0), nst.Region(1 - mask, style=1)]
    swapped = [nst.Region(1 - mask, style=0), nst.Region(mask, style=1)]
    first, _ = first_loss(vgg16_params, content, styles, regions)
    second, _ = first_loss(vgg16_params, content, styles[::-1], swapped)
    np.testing.assert_allclose(first, second, rtol=1e-6)


def test_masks_that_overlap_share_the_pixel(vgg16_params, pictures):
    content, *styles = pictures
    ones = np.ones(content.shape[:2], np.float32)
    both, _ = first_loss(
        vgg16_params, content, styles, [nst.Region(ones), nst.Region(ones, style=1)]
    )
    half, _ = first_loss(
        vgg16_params, content, styles, [nst.Region(ones / 2), nst.Region(ones / 2, style=1)]
    )
    assert both == half


@pytest.mark.slow
def test_lanes_with_regions_equal_single_runs(vgg16_params, pictures):
    content, *styles = pictures
    mask = left_half(content.shape, soft=True)
    regions = [nst.Region(mask, name="a"), nst.Region(1 - mask, style=1, name="b", weight=0.3)]
    batch = nst.stylize_batch(
        vgg16_params,
        content,
        styles,
        CONFIG,
        nst.LossWeights(style=[5.0, 80.0]),
        regions=regions,
    )
    assert set(batch.terms) == {
        "content",
        "style_a",
        "style_b",
        "grain_a",
        "grain_b",
        "total_variation",
    }
    for lane, weight in enumerate((5.0, 80.0)):
        single = nst.stylize(
            vgg16_params, content, styles, CONFIG, nst.LossWeights(style=weight), regions=regions
        )
        np.testing.assert_array_equal(batch.image[lane], single.image)
        np.testing.assert_array_equal(batch.losses[lane], single.losses)


@pytest.mark.slow
def test_deep_layers_of_a_small_region_are_left_out(vgg16_params, pictures):
    content, style, _ = pictures
    mask = np.zeros(content.shape[:2], np.float32)
    mask[:10, :10] = 1  # 6 positions at conv3_1
    _, parts = first_loss(vgg16_params, content, style, [nst.Region(mask)])
    assert set(parts["style_1"]) == {"conv1_1", "conv2_1"}


def test_a_term_that_has_no_layer_in_a_small_region_is_left_out_there_alone():
    mask = np.zeros((64, 96), np.float32)
    mask[:10, :10] = 1
    regions = [nst.Region(mask, name="sun"), nst.Region(1 - mask, name="sky")]
    loss = nst.style(("conv1_1",)) + nst.NearestNeighbours(layers=("conv3_1",))
    parted = with_regions(loss, regions)
    assert set(parted) == {"style_sun", "style_sky", "nearest_neighbours_sky"}
    assert small_regions(loss, parted) == ["region sun is too small for conv3_1, left out there"]
    assert small_regions(loss, loss) == []
    alone = nst.Loss({"style": nst.NearestNeighbours(layers=("conv3_1",))})
    with pytest.raises(nst.ConfigError, match="region sun is too small for the layers of style"):
        with_regions(alone, regions)


SHAPE = (64, 96)
DOT = np.zeros((48, 80))
DOT[0, 0] = 1


@pytest.mark.parametrize(
    "regions, said",
    [
        ([nst.Region(np.ones((3, 4), np.float32))], r"has shape \(3, 4\), its image \(64, 96\)"),
        ([nst.Region(np.ones(SHAPE, np.uint8))], "mask of region 1 is of uint8"),
        ([nst.Region(np.full(SHAPE, 2.0))], r"holds values outside \[0, 1\]"),
        ([nst.Region(np.full(SHAPE, np.nan))], r"holds values outside \[0, 1\]"),
        ([nst.Region(np.zeros(SHAPE))], "is empty; leave the region out"),
        ([nst.Region(np.ones(SHAPE), style=2)], "has style 2, but the style images are numbered"),
        ([nst.Region(np.ones(SHAPE), name="a")] * 2, "two regions are called a"),
        (
            [nst.Region(np.ones(SHAPE), style_mask=np.ones((2, 2)))],
            "the style mask of region 1 has shape",
        ),
        ([nst.Region(np.eye(64, 96) * 0.01, name="thin")], "region thin is too small"),
        ([nst.Region(np.ones(SHAPE), style_mask=DOT)], "region 1 is too small"),
        ([nst.Region(np.ones(SHAPE), weight=-3.0)], "the weight of region 1 is -3.0"),
        ([nst.Region(np.ones(SHAPE), style=0.5)], "region 1 has style 0.5"),
        (nst.Region(np.ones(SHAPE)), "give a list of nst.Region"),
        ([np.ones(SHAPE)], "give a list of nst.Region"),
    ],
)
def test_regions_that_cannot_be_are_named(vgg16_params, pictures, regions, said):
    content, *styles = pictures
    with pytest.raises(nst.ConfigError, match=said):
        nst.stylize(vgg16_params, content, styles, CONFIG, regions=regions)


def test_two_terms_of_one_name_are_refused():
    loss = nst.Loss({"style": nst.style(), "style_a": nst.style()})
    regions = [nst.Region(np.ones(SHAPE), name=name) for name in ("a_a", "a")]
    with pytest.raises(nst.ConfigError, match="two terms would be called style_a"):
        with_regions(loss, regions)


def test_a_mixture_beside_regions_is_refused(vgg16_params, pictures):
    content, *styles = pictures
    config = nst.TransferConfig(style_mix=(1, 2), **LAYERS)
    regions = [nst.Region(np.ones(SHAPE))]
    with pytest.raises(nst.ConfigError, match="leave one of the two out"):
        nst.stylize(vgg16_params, content, styles, config, regions=regions)


@pytest.mark.slow
def test_lanes_with_regions_in_boxes_equal_single_runs(vgg16_params, pictures, optimised):
    content, *styles = pictures
    mask = left_half(content.shape)
    regions = [nst.Region(mask, name="a"), nst.Region(1 - mask, style=1, name="b")]
    run = lambda make, weight: make(
        vgg16_params, content, styles, CONFIG, nst.LossWeights(style=weight), regions=regions
    )
    batch = run(nst.stylize_batch, [5.0, 80.0])
    for lane, weight in enumerate((5.0, 80.0)):
        single = run(nst.stylize, weight)
        np.testing.assert_array_equal(batch.image[lane], single.image)
        np.testing.assert_array_equal(batch.losses[lane], single.losses)


@pytest.mark.parametrize("border", ["zero", "replicate"])
def test_a_mask_never_comes_to_nothing_at_a_small_size(border):
    """As at the last row of 25, which the network leaves out when it pools."""
    mask = np.zeros((25, 32), np.float32)
    mask[-1] = 1
    layers = "conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"
    found = shares_of(mask, layers, (25, 32, 3), border)
    for layer in layers:
        np.testing.assert_allclose(np.sum(found[layer]), 1, rtol=1e-5)
        assert np.asarray(found[layer])[-1].sum() > 0.5
    whole = shares_of(np.ones((25, 31), np.float32), layers, (25, 31, 3), border)
    assert all(np.ptp(whole[layer]) == 0 for layer in layers)
