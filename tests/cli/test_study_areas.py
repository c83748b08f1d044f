"""Areas of the picture in a study, and its styles by file."""

import json

import numpy as np
import pytest
from PIL import Image

import nst_jax as nst
from nst_jax import cli
from tests.runs import QUICK, QUICK_STUDY

STYLES = ["painting.png", "other.png"]
COMMAND = ["study", "photo.png", *STYLES, *QUICK_STUDY, "--output-dir", "study"]
WEIGHTS = ["--style-weight", "5", "50"]


@pytest.fixture
def pictures(photos, rng):
    """A photograph with a hole, two paintings, and masks of the photograph's halves and top."""
    left, top = np.zeros((48, 40), np.uint8), np.zeros((48, 40), np.uint8)
    left[:, :20], top[:12] = 255, 255
    masks = {"left": left, "right": 255 - left, "top": top}
    for name, mask in masks.items():
        Image.fromarray(mask).save(f"{name}.png")
    nst.write_image("other.png", rng.random((44, 52, 3)) ** 3)
    pixels = rng.integers(0, 256, (48, 40, 3), np.uint8)
    Image.fromarray(np.dstack([pixels, 255 - top // 2])).save("photo.png")
    maps = {"map.png": left, "map_a.png": left[:40], "map_b.png": left.T}
    for name, where in maps.items():
        sizes = {"map.png": (40, 48), "map_a.png": (56, 40), "map_b.png": (52, 44)}
        image = Image.fromarray(np.dstack([where, 0 * where, 255 - where]))
        image.resize(sizes[name], Image.Resampling.NEAREST).save(name)
    return photos


def pixels(name):
    with Image.open(name) as image:
        return np.asarray(image)


AREAS = {
    "masks": ["--mask", "left.png", "right.png", "--keep", "top.png", "--keep-alpha"],
    "maps": ["--regions", "map.png", "map_a.png", "map_b.png"],
}


@pytest.mark.slow
@pytest.mark.parametrize("areas", AREAS)
def test_lanes_have_areas_and_again_from_their_records(pictures, capfd, areas):
    areas = AREAS[areas]
    assert cli.main([*COMMAND, *WEIGHTS, *areas]) == 0
    # each lane is the run of the same settings
    own = ["stylize", "photo.png", *STYLES, *QUICK, *areas, "--output", "own.png"]
    assert cli.main([*own, "--style-weight", "50"]) == 0
    lane = "study/lanes/style_weight=50"
    np.testing.assert_array_equal(pixels("own.png"), pixels(f"{lane}.png"))
    assert cli.main(["rerun", f"{lane}.json", "--output", "again.png"]) == 0
    np.testing.assert_array_equal(pixels("again.png"), pixels(f"{lane}.png"))
    assert cli.main(["rerun", "study/study.json", "--output", "again"]) == 0
    np.testing.assert_array_equal(pixels(f"again/lanes/{lane[12:]}.png"), pixels(f"{lane}.png"))
    inputs = json.loads((pictures / "study" / "study.json").read_text())["settings"]["inputs"]
    assert json.loads((pictures / f"{lane}.json").read_text())["settings"]["inputs"] == {
        **{kind: files for kind, files in inputs.items() if kind not in ("content", "style")},
        "content": inputs["content"]["photo"],
        "style": [inputs["style"][name] for name in ("painting", "other")],
    }
    capfd.readouterr()
    assert cli.main([*COMMAND, *WEIGHTS, *areas]) == 0  # all are there
    assert "2 of 2 lanes are there already" in capfd.readouterr().err
    changed = areas[1]
    Image.fromarray(pixels(changed)[:, ::-1].copy()).save(changed)
    assert cli.main([*COMMAND, *WEIGHTS, *areas]) == 2
    assert "holds a study of other settings (inputs differs at style_" in capfd.readouterr().err
    assert cli.main(["rerun", "study/study.json", "--output", "other"]) == 2


@pytest.mark.slow
def test_several_styles_are_an_axis(pictures):
    assert cli.main([*COMMAND, "--num-steps", "1"]) == 0
    record = json.loads((pictures / "study" / "study.json").read_text())
    assert record["lanes"] == ["style=painting", "style=other"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--mask", "left.png"], "--mask names 1, but the style images are 2"),
        (["--mask", "left.png", "none.png"], "none.png: cannot be read"),
        ([*AREAS["masks"][:3], "--style-mix", "1+2"], "leave one of the two out"),
        ([*AREAS["maps"], "--style-size", "30", "2x"], "--style-size has several; give one"),
        (["--style-size", "half"], "--style-size is half; it must be pixels"),
        (["--style-size", "30+40+50"], "--style-size has 3 values, but the style images are 2"),
        (["--style-size", "2x", "9999x"], "take a smaller size"),
    ],
)
def test_what_cannot_be_is_one_line(pictures, capfd, arguments, said):
    assert cli.main([*COMMAND, *arguments]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and said in lines[0]
    assert not (pictures / "study").exists() or not list((pictures / "study").iterdir())


@pytest.mark.parametrize("areas", [["--keep", "top.png"], ["--keep-alpha"]])
def test_areas_are_of_one_photograph(pictures, capfd, areas):
    (pictures / "photos").mkdir()
    for name in ("photo.png", "left.png"):
        (pictures / name).rename(pictures / "photos" / name)
    command = ["photos" if word == "photo.png" else word for word in COMMAND]
    assert cli.main([*command, *areas]) == 2
    assert "are of one photograph, but there are 2" in capfd.readouterr().err
