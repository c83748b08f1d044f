"""Areas of the picture that are kept, from files."""

import json

import numpy as np
import pytest
from PIL import Image

from nst_jax import cli

QUICK = ["--network", "vgg16", "--size", "48", "--num-steps", "3"]
QUICK += ["--style-layers", "conv1_1", "conv2_1", "--content-layers", "conv2_2"]


@pytest.fixture
def pictures(photos, rng):
    """A photograph and a painting, the former also as a PNG with a hole, and its left half."""
    left = np.zeros((48, 40), np.uint8)
    left[:, :20] = 255
    Image.fromarray(left).save("left.png")
    Image.fromarray(255 - left).save("right.png")
    pixels = rng.integers(0, 256, (48, 40, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    Image.fromarray(np.dstack([pixels, left])).save("hole.png")
    return photos


def stylize(*more, content="photo.png"):
    return cli.main(["stylize", content, "painting.png", *QUICK, *more])


def pixels(name):
    with Image.open(name) as image:
        return np.asarray(image)


@pytest.mark.slow
def test_an_area_is_kept_and_again_from_the_record(pictures):
    keep = ["--keep", "left.png", "--output", "out.png"]
    assert stylize(*keep, "--save-every", "1") == 0
    photo = pixels("photo.png")
    for name in ("out.png", "out_at_iteration_1.png", "out_at_iteration_3.png"):
        np.testing.assert_array_equal(pixels(name)[:, :20], photo[:, :20])
    assert (pixels("out.png")[:, 20:] != photo[:, 20:]).any()
    record = json.loads((pictures / "out.json").read_text())
    assert record["settings"]["inputs"]["keep"]["path"] == "left.png"
    assert cli.main(["rerun", "out.json"]) == 0
    np.testing.assert_array_equal(pixels("out.png"), pixels("out_rerun.png"))
    assert stylize(*keep, "--resume") == 0  # it is there, finished
    (pictures / "right.png").rename("left.png")
    assert cli.main(["rerun", "out.json", "--output", "other.png"]) == 2
    assert stylize(*keep, "--resume") == 2


@pytest.mark.slow
def test_what_is_transparent_stays_so(pictures):
    keep = ["--keep-alpha", "--save-every", "1"]
    assert stylize(*keep, "--output", "out.png", content="hole.png") == 0
    for name in ("out.png", "out_at_iteration_1.png"):
        np.testing.assert_array_equal(pixels(name)[..., 3], pixels("left.png"))
    record = json.loads((pictures / "out.json").read_text())
    assert record["settings"]["keep_alpha"] is True
    for name in ("web.webp", "again.tif"):
        assert cli.main(["rerun", "out.json", "--output", name]) == 0
        np.testing.assert_array_equal(pixels(name)[..., 3], pixels("left.png"))
    np.testing.assert_array_equal(pixels("again.tif"), pixels("out.png"))


def paint(name, *colours):
    """A map whose columns have these colours."""
    row = np.uint8(colours).repeat(40 // len(colours), 0)
    Image.fromarray(row[None].repeat(48, 0)).save(name)


BLUE, RED = (0, 0, 255), (255, 0, 0)


@pytest.mark.slow
def test_maps_say_where_styles_go_and_what_stays(pictures, capfd):
    paint("map.png", BLUE, RED)
    Image.open("map.png").resize((56, 40)).save("style_map.png")
    regions = ["--regions", "map.png", "style_map.png", "--output", "out.png"]
    assert stylize(*regions) == 0
    assert "2 regions: blue 50 %, red 50 %" in capfd.readouterr().err
    record = json.loads((pictures / "out.json").read_text())
    assert {"style_blue", "style_red"} < set(record["history"]["terms"])
    maps = [own["path"] for own in record["settings"]["inputs"]["region_maps"]]
    assert maps == ["map.png", "style_map.png"]
    assert cli.main(["rerun", "out.json"]) == 0
    np.testing.assert_array_equal(pixels("out.png"), pixels("out_rerun.png"))
    paint("map.png", (0, 200, 0), RED)  # a colour that no style has
    assert stylize(*regions, "--resume") == 2  # another map
    assert stylize(*regions[:-1], "kept.png") == 0
    assert "2 regions: #00c800 50 % (kept), red 50 %" in capfd.readouterr().err
    # softly, over eight pixels to either side of the edge
    np.testing.assert_array_equal(pixels("kept.png")[:, :12], pixels("photo.png")[:, :12])
    assert (pixels("kept.png")[:, 20:] != pixels("photo.png")[:, 20:]).any()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--regions", "map.png"], "--regions names 1, but the style images are 1; give the con"),
        (["--regions", "map.png", "map.png", "--mask", "left.png"], "--mask and --regions are"),
        (["--regions", "map.png", "map.png"], "map.png: is 40 × 48 pixels, its picture 48 × 34"),
        (["--regions", "white.png", "map.png"], "white.png: is of one colour"),
        (["--regions", "photo.png", "map.png"], "photo.png: is no map of regions"),
        (["--regions", "none.png", "map.png"], "none.png: cannot be read"),
        (["--keep", "wide.png"], "make the mask of the picture's aspect ratio"),
        (["--keep", "white.png"], "--keep is 1 everywhere, which leaves nothing to paint"),
        (["--keep", "none.png"], "none.png: cannot be read"),
        (["--keep", "labels.png"], "labels.png: the brightest of the mask is 1 of 255"),
        (["--keep-alpha"], "photo.png: has no transparent parts that could be kept"),
        (["--keep-alpha", "--output", "out.jpg"], "out.jpg: JPEG knows no transparency"),
        (["--keep", "left.png", "--output", "left.png", "--overwrite"], "left.png: is the keep"),
    ],
)
def test_what_cannot_be_kept_is_one_line(pictures, capfd, arguments, said):
    Image.fromarray(np.full((48, 40), 255, np.uint8)).save("white.png")
    Image.fromarray(np.eye(48, 40, dtype=np.uint8)).save("labels.png")
    paint("map.png", BLUE, RED)
    Image.fromarray(np.full((20, 40), 255, np.uint8)).save("wide.png")
    output = [] if "--output" in arguments else ["--output", "out.png"]
    assert stylize(*arguments, *output) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and said in lines[0]
    assert not list(pictures.glob("out*")) and not list(pictures.glob(".out*"))
