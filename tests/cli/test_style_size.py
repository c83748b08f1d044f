"""The size at which style images are read is that of their strokes."""

import json

import numpy as np
import pytest
from PIL import Image

import nst_jax as nst
from nst_jax import cli
from nst_jax.jobs.inputs import Sources, _read_images
from nst_jax.jobs.presets import Preset
from nst_jax.jobs.style_sizes import style_sizes_of

QUICK = ["--network", "vgg16", "--size", "48", "--num-steps", "2"]
QUICK += ["--content-layers", "conv2_2"]


@pytest.fixture
def sources(photos, rng):
    """A photograph of 48 × 40, and paintings of 40 × 56 and 120 × 90."""
    nst.write_image("other.png", rng.random((120, 90, 3)))
    paths = {name: photos / f"{name}.png" for name in ("painting", "other")}
    return Sources({"photo": photos / "photo.jpg"}, paths)


@pytest.mark.parametrize(
    "settings, shapes",
    [
        ({}, [(34, 48), (48, 36)]),
        ({"style_size": ("0.5x",)}, [(17, 24), (24, 18)]),
        ({"style_size": ("56", "2x")}, [(40, 56), (96, 72)]),
        ({"style_size": ("1.5x",), "size": None, "rows": 24}, [(36, 50), (36, 27)]),
        ({"style_size": ("0.5x",), "size": None}, [(20, 28), (60, 45)]),
    ],
)
def test_styles_are_read_at_their_size(sources, settings, shapes):
    _, styles, *_ = _read_images(sources, Preset(**{"size": 48} | settings), 10**6, None)
    assert [style.shape[:2] for style in styles.values()] == shapes


def test_twice_the_size_has_the_files_own_detail(sources, said):
    _, styles, *_ = _read_images(sources, Preset(size=60, style_size=("2x",)), 10**6, None)
    np.testing.assert_array_equal(styles["other"], nst.read_image("other.png"))  # as it is
    assert [line.rpartition("/")[2] for line in said] == [
        "painting.png: has 56 pixels on its longest side, and is enlarged to 120"
    ]


def test_a_lane_has_the_sizes_of_its_own_styles():
    sizes, names = ("300", "0.5x"), ["a", "b"]
    assert style_sizes_of(sizes, names, ["b"]) == ("0.5x",)
    assert style_sizes_of(sizes, names, names) == ("300", "0.5x")
    assert style_sizes_of(("20",), names, ["b"]) == ("20",)


@pytest.mark.slow
def test_a_study_and_a_lane_of_it_keep_the_sizes(sources):
    (sources.style["painting"].parent / "styles").mkdir()
    for path in sources.style.values():
        path.rename(path.parent / "styles" / path.name)
    command = ["study", "photo.jpg", "styles", *QUICK, "--style-layers", "conv1_1"]
    assert cli.main([*command, "--style-size", "60+0.5x", "--output-dir", "study"]) == 0
    folder = sources.content["photo"].parent
    record = json.loads((folder / "study" / "study.json").read_text())
    assert record["settings"]["style_size"] == ["60", "0.5x"]
    (style,) = (Image.open(folder / "study" / "style_painting.png"),)
    assert style.size == (24, 17)  # by name: other, then painting
    lane = "study/lanes/style=painting"
    assert json.loads((folder / f"{lane}.json").read_text())["settings"]["style_size"] == ["0.5x"]
    assert cli.main(["rerun", f"{lane}.json", "--output", "again.png"]) == 0
    np.testing.assert_array_equal(nst.read_image("again.png"), nst.read_image(f"{lane}.png"))
    assert cli.main(["rerun", "study/study.json", "--output", "again"]) == 0
    np.testing.assert_array_equal(
        nst.read_image(f"{lane}.png"), nst.read_image(f"again/lanes/{lane[12:]}.png")
    )


@pytest.mark.slow
def test_sizes_are_an_axis_of_a_study(sources, said):
    command = ["study", "photo.jpg", "painting.png", "other.png", *QUICK]
    command += ["--style-layers", "conv1_1", "--output-dir", "study"]
    sizes = ["--style-size", "24", "2x", "30+24"]
    assert cli.main([*command, *sizes]) == 0
    folder = sources.content["photo"].parent
    record = json.loads((folder / "study" / "study.json").read_text())
    assert record["axes"]["style_size"] == ["24", "2x", "30+24"]
    assert len(record["lanes"]) == 6 and "style_size" not in record["settings"]
    lane = "study/lanes/style=other,style_size=30+24"
    settings = json.loads((folder / f"{lane}.json").read_text())["settings"]
    assert settings["style_size"] == ["24"] and settings["inputs"]["style"]["path"] == "other.png"
    # a lane is the run of those settings
    own = ["stylize", "photo.jpg", "other.png", *QUICK, "--style-layers", "conv1_1"]
    assert cli.main([*own, "--style-size", "24", "--output", "own.png"]) == 0
    np.testing.assert_array_equal(nst.read_image("own.png"), nst.read_image(f"{lane}.png"))
    first, second = (
        nst.read_image(f"study/lanes/style=painting,style_size={size}.png") for size in ("24", "2x")
    )
    assert np.abs(first - second).max() > 0
    assert cli.main(["rerun", f"{lane}.json", "--output", "again.png"]) == 0
    np.testing.assert_array_equal(nst.read_image("again.png"), nst.read_image("own.png"))
    assert len([line for line in said if "is enlarged to 96" in line]) == 1
    assert cli.main([*command, *sizes]) == 0  # all are there
    # in a file, with another size, which alone is missing
    (folder / "grid.toml").write_text('style_size = ["24", 32, "2x", "30+24"]\n')
    assert cli.main([*command, "--grid", "grid.toml"]) == 0
    assert "6 of 8 lanes are there already" in said


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["half"], "--style-size is half; it must be pixels of the longest side, such as 300"),
        (["-1x"], "--style-size"),
        (["0x"], "--style-size is 0x, which brings painting.png to 0 pixels"),
        (["9"], "--style-size is 9, which brings painting.png to 9 pixels"),
        (["1", "2", "3"], "--style-size has 3 values, but the style images are 1"),
        (["9999x"], "take a smaller size"),
        (["20", "--squash-style"], "--style-size is given, but squash_style"),
    ],
)
def test_a_size_that_cannot_be_is_one_line(photos, capfd, arguments, said):
    command = ["stylize", "photo.jpg", "painting.png", *QUICK, "--style-layers", "conv1_1"]
    assert cli.main([*command, "--output", "out.png", "--style-size", *arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()  # nothing of an image that is not enlarged
    assert "error" in line and said in line
    assert not list(photos.glob("out*"))
