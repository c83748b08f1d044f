"""Maps of regions: whatever a file format or a brush does to them, their colours are found."""

import io
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import nst_jax as nst
from nst_jax.files import region_maps
from nst_jax.files.region_maps import read_colour_map, read_regions, snap

LEVELS = (0, 100, 200)  # colours far from each other
COLOURS = np.array(list(itertools.product(LEVELS, repeat=3)), np.uint8)
BLOCK = 24


def paint(blocks, how):
    """Blocks of colours as pixels, after what happens to maps on their way."""
    height, width = BLOCK * len(blocks), BLOCK * len(blocks[0])
    small = Image.fromarray(COLOURS[np.array(blocks)])
    whole = small.resize((width, height), Image.Resampling.NEAREST)
    if how == "soft edges":  # each pixel is the mean of those of a larger map, moved by half of one
        large = small.resize((width * 4 + 6, height * 4 + 6), Image.Resampling.NEAREST)
        return np.asarray(large.resize((width, height), Image.Resampling.LANCZOS))
    if how == "palette":
        return np.asarray(whole.quantize(32, dither=Image.Dither.NONE).convert("RGB"))
    if how == "jpeg":
        stream = io.BytesIO()
        whole.save(stream, "JPEG", quality=70)
        return np.asarray(Image.open(stream))
    return np.asarray(whole)


@settings(deadline=None, max_examples=40)
@example([[4, 1], [12, 24]], "jpeg")  # the edge of 12 is 29 away from it
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, len(COLOURS) - 1), min_size=width, max_size=width),
            min_size=1,
            max_size=4,
        )
    ),
    st.sampled_from(["as it is", "soft edges", "palette", "jpeg"]),
)
def test_a_maps_colours_are_found_whatever_became_of_it(blocks, how):
    found = snap(paint(blocks, how))
    blocks = np.array(blocks)
    assert len(found.colours) == len(np.unique(blocks)) and found.is_flat
    middles = found.labels[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK]
    assert np.abs(found.colours[middles] - COLOURS[blocks].astype(int)).max() <= 12
    assert (np.diff(found.shares()) <= 0).all()
    if how == "as it is":
        whole = blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)
        np.testing.assert_array_equal(found.colours[found.labels], COLOURS[whole])


def test_specks_are_taken_for_the_nearest_region():
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[50:] = 255
    pixels[10:12, 10:14] = 240, 10, 10  # 0.08 %: nearer to black than to white
    pixels[70:73, 10:15] = 10, 240, 10  # 0.15 %
    found = snap(pixels)
    assert [tuple(colour) for colour in found.colours] == [
        (0, 0, 0), (255, 255, 255), (10, 240, 10)
    ]  # fmt: skip
    np.testing.assert_allclose(found.shares(), [0.5, 0.4985, 0.0015])


@pytest.fixture
def maps(tmp_path):
    """Of a content image with three regions, and of styles that have one, and two of them."""

    def save(name, rows):
        path = tmp_path / name
        Image.fromarray(np.uint8(rows).repeat(20, 0)[:, None].repeat(40, 1)).save(path)
        return path

    blue, red, white = (0, 0, 255), (255, 0, 0), (255, 255, 255)
    content = save("content.png", [blue, blue, red, white])
    reddish = 255, 51, 31
    return content, save("first.png", [blue, (0, 255, 0)]), save("second.png", [reddish, blue])


def test_equal_colours_belong_together_and_the_others_stay(maps):
    content, *styles = maps
    found = read_regions(content, styles, (40, 20), [(20, 20), (40, 40)])
    assert [(own.name, own.share, own.styles) for own in found] == [
        ("blue", 0.5, (0, 1)),
        ("red", 0.25, (1,)),
        ("white", 0.25, ()),
    ]
    blue, red, white = found
    np.testing.assert_array_equal(blue.mask, np.repeat([1, 0], 20)[:, None].repeat(20, 1))
    np.testing.assert_array_equal(blue.mask + red.mask + white.mask, np.ones((40, 20)))
    np.testing.assert_array_equal(blue.style_masks[0], np.repeat([1, 0], 10)[:, None].repeat(20, 1))
    np.testing.assert_array_equal(blue.style_masks[1], 1 - red.style_masks[0])


def test_edges_are_soft_and_colours_without_a_name_are_hexadecimal(tmp_path):
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, :13] = 171, 205, 17
    path = tmp_path / "map.png"
    Image.fromarray(pixels).save(path)
    black, green = read_regions(path, [path], (15, 20), [(30, 40)])
    assert (black.name, green.name) == ("black", "#abcd11")
    np.testing.assert_allclose(green.mask[0, 5:8], [1, 0.5, 0], atol=1 / 255)


def test_what_is_no_map_is_named(maps, tmp_path, rng):
    content, *_ = maps
    nst.write_image(tmp_path / "one.png", np.full((40, 40, 3), 0.5))
    nst.write_image(tmp_path / "noise.png", rng.random((40, 40, 3)))
    ramp = np.linspace(0, 1, 40 * 256).reshape(40, 256)
    nst.write_image(tmp_path / "photo.png", np.stack([ramp, ramp.T.reshape(40, 256), ramp**2], -1))
    for name, shape, said in (
        ("one.png", (40, 40), "one.png: is of one colour"),
        ("noise.png", (40, 40), "noise.png: is no map of regions"),
        ("photo.png", (40, 256), "photo.png: is no map of regions"),
        ("content.png", (30, 40), "make the mask of the picture's aspect ratio"),
    ):
        with pytest.raises(nst.ImageError, match=said):
            read_colour_map(tmp_path / name, shape)
    Image.fromarray(np.uint8([[[0, 255, 0], [255, 255, 0]]]).repeat(20, 0).repeat(20, 1)).save(
        tmp_path / "other.png"
    )
    with pytest.raises(nst.ImageError, match="has blue, red, white, of which no style map has any"):
        read_regions(content, [tmp_path / "other.png"], (80, 40), [(20, 40)])


def test_a_near_colour_is_of_a_region_only_where_no_other_is_the_same():
    content = np.array([[100, 100, 100], [255, 0, 0]])
    near, same, red = [140, 140, 140], [101, 100, 100], [250, 0, 0]
    belongs = lambda *colours: region_maps._regions_of(np.array(colours), content).tolist()
    assert belongs(near, red) == [0, 1] and belongs(near, same, red) == [-1, 0, 1]


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_labels_are_regions_each_by_its_number(tmp_path, mode):
    labels = np.repeat(np.uint8([0, 1, 2, 8]), 16)[None].repeat(32, 0)
    of_style = np.where(labels == 0, 9, labels)[:, ::-1].copy()  # 9, which is next to no other
    for name, values in (("content", labels), ("style", of_style)):
        image = Image.fromarray(values)
        if mode == "P":  # as arrays are written without a palette
            image.putpalette(bytes(level for value in range(256) for level in [value] * 3))
        image.convert(mode).save(tmp_path / f"{name}.png")
    paths = tmp_path / "content.png", [tmp_path / "style.png"]
    regions = read_regions(*paths, (32, 64), [(32, 64)])
    assert {region.name: region.styles for region in regions} == {
        "0": (),  # no style has it
        **dict.fromkeys(("1", "2", "8"), (0,)),
    }
    for region in regions:
        np.testing.assert_array_equal(region.mask, labels == int(region.name))
        for mask in region.style_masks:
            np.testing.assert_array_equal(mask, of_style == int(region.name))


def test_a_dark_picture_has_no_labels(rng):
    noise = rng.integers(0, 40, (32, 32, 1), np.uint8)
    assert not region_maps._has_labels(noise.repeat(3, -1))
    assert region_maps._has_labels((noise // 10).repeat(16, 0).repeat(16, 1).repeat(3, -1))
    colours = region_maps._label_colours().astype(int)
    apart = np.linalg.norm(colours[:, None] - colours, axis=-1) + 1000 * np.eye(len(colours))
    assert apart.min() >= 64
