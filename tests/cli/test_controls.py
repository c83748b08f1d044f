"""Several styles, masks and colours, from files."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nst_jax as nst
from nst_jax import cli
from nst_jax.files.masks import read_mask
from nst_jax.jobs import checkpoint
from nst_jax.jobs.inputs import styles_by_name

QUICK = ["--network", "vgg16", "--size", "48", "--num-steps", "3"]
QUICK += ["--style-layers", "conv1_1", "conv2_1", "--content-layers", "conv2_2"]


def test_every_style_of_a_run_has_a_name():
    paths = [Path(name) for name in ("a 3.png", "a.png", "a.jpg")]
    named = styles_by_name(paths)
    assert list(named.values()) == paths and len(named) == 3


@pytest.fixture
def pictures(photos, rng):
    """A photograph, two paintings, and the masks of the photograph's halves."""
    nst.write_image("other.png", rng.random((44, 52, 3)) ** 3)
    left = np.zeros((48, 40), np.uint8)
    left[:, :20] = 255
    Image.fromarray(left).save("left.png")
    Image.fromarray(255 - left).save("right.png")
    return photos


def stylize(*more):
    return cli.main(["stylize", "photo.jpg", "painting.png", "other.png", *QUICK, *more])


def test_several_styles_are_blended(pictures, capfd):
    assert stylize("--style-mix", "3", "7") == 0
    assert " pixels, 2 styles blended, " in capfd.readouterr().err
    record = json.loads((pictures / "photo_painting_other.json").read_text())
    assert record["settings"]["style_mix"] == [3, 7]
    assert [style["path"] for style in record["settings"]["inputs"]["style"]] == [
        "painting.png",
        "other.png",
    ]


@pytest.mark.slow
def test_each_style_goes_where_its_mask_says_and_again_from_the_record(pictures):
    assert stylize("--mask", "left.png", "right.png", "--output", "out.png") == 0
    record = json.loads((pictures / "out.json").read_text())
    assert set(record["history"]["terms"]) == {
        "content",
        *("style_left", "style_right"),
        *("grain_left", "grain_right"),
        "total_variation",
    }
    assert cli.main(["rerun", "out.json"]) == 0
    first, again = (nst.read_image(name) for name in ("out.png", "out_rerun.png"))
    np.testing.assert_array_equal(first, again)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weight", "term", "parts"),
    [
        ("edge", "edges", ["all"]),
        ("matting", "matting", ["all"]),
        ("grain", "grain", ["all"]),
        ("neighbours", "neighbours", ["conv3_1", "conv4_1"]),
    ],
)
def test_terms_have_a_weight_and_come_again_from_the_record(pictures, weight, term, parts):
    assert stylize(f"--{weight}-weight", "2", "--output", "out.png") == 0
    record = json.loads((pictures / "out.json").read_text())
    assert record["settings"][f"{weight}_weight"] == 2
    assert list(record["history"]["terms"][term]) == parts
    assert cli.main(["rerun", "out.json"]) == 0
    first, again = (nst.read_image(name) for name in ("out.png", "out_rerun.png"))
    np.testing.assert_array_equal(first, again)


@pytest.mark.slow
def test_balanced_layers_are_recorded_and_again_from_the_record(pictures):
    # a layer of both images' has a weight of the style's alone
    more = ["--content-layers", "conv2_1", "--balance"]
    assert stylize(*more, "--mask", "left.png", "right.png", "--output", "out.png") == 0
    record = json.loads((pictures / "out.json").read_text())
    found = record["settings"]["weights_by_layer"]
    assert set(found) == {"conv1_1", "conv2_1"} and sum(found.values()) == pytest.approx(1)
    assert found["conv1_1"] != pytest.approx(0.5)
    assert cli.main(["rerun", "out.json"]) == 0
    again = json.loads((pictures / "out_rerun.json").read_text())
    assert again["history"] == record["history"]
    assert again["settings"]["weights_by_layer"] == found
    first, again = (nst.read_image(name) for name in ("out.png", "out_rerun.png"))
    np.testing.assert_array_equal(first, again)
    # finished, whatever weights it found
    assert stylize(*more, "--mask", "left.png", "right.png", "--output", "out.png", "--resume") == 0
    command = ["study", "photo.jpg", "painting.png", *QUICK[:6], "--output-dir", "study"]
    command += ["--style-layers", "conv1_1+conv2_1", "--content-layers", "conv2_2"]
    assert cli.main([*command, "--balance", "False", "True"]) == 0
    assert cli.main([*command, "--balance", "False", "True"]) == 0  # all are there
    lane = "study/lanes/balance=True"
    assert set(json.loads((pictures / f"{lane}.json").read_text())["settings"]["weights_by_layer"])
    assert cli.main(["rerun", f"{lane}.json", "--output", "again.png"]) == 0
    np.testing.assert_array_equal(nst.read_image("again.png"), nst.read_image(f"{lane}.png"))


@pytest.mark.slow
def test_the_average_is_recorded_with_its_own_loss_and_again_from_the_record(pictures):
    assert stylize("--optimizer", "adam", "--average", "0.9", "--output", "out.png") == 0
    record = json.loads((pictures / "out.json").read_text())
    assert record["settings"]["average"] == 0.9 and record["best_step"] == 4
    assert len(record["history"]["loss"]) == 4  # three steps, and the average
    assert record["history"]["loss"][-1] == record["best_loss"]
    assert cli.main(["rerun", "out.json"]) == 0
    first, again = (nst.read_image(name) for name in ("out.png", "out_rerun.png"))
    np.testing.assert_array_equal(first, again)


@pytest.mark.slow
def test_an_average_goes_on_where_it_was_cut_off(pictures, monkeypatch):
    average = ["--optimizer", "adam", "--average", "0.9", "--num-steps", "6", "--output"]
    assert stylize(*average, "whole.png") == 0
    save, seen = checkpoint.Saver.save, []

    def stopping(self, chunk, is_last=False):
        seen.append(chunk)
        if len(seen) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        save(self, chunk, is_last or len(seen) == 1)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.Saver, "save", stopping)
        assert stylize(*average, "cut.png") == 128 + signal.SIGTERM
    cut = json.loads((pictures / "cut.json").read_text())
    assert not cut["finished"] and len(cut["history"]["loss"]) < 7
    assert stylize(*average, "cut.png", "--resume") == 0
    histories = [
        json.loads((pictures / f"{name}.json").read_text())["history"] for name in ("whole", "cut")
    ]
    assert histories[0] == histories[1] and len(histories[0]["loss"]) == 7
    first, again = (nst.read_image(f"{name}.png") for name in ("whole", "cut"))
    np.testing.assert_array_equal(first, again)


@pytest.mark.slow
def test_one_style_may_be_given_twice(pictures):
    masks = ["--mask", "left.png", "right.png"]
    command = ["stylize", "photo.jpg", "painting.png", "painting.png", *QUICK, *masks]
    assert cli.main([*command, "--output", "out.png"]) == 0
    record = json.loads((pictures / "out.json").read_text())
    assert len(record["settings"]["inputs"]["style"]) == 2
    assert cli.main(["rerun", "out.json"]) == 0


@pytest.mark.slow
def test_a_mixture_is_an_axis_of_a_study(pictures):
    folder = pictures / "styles"
    folder.mkdir()
    for name in ("painting.png", "other.png"):
        (pictures / name).rename(folder / name)
    mixes = ["1+0", "0.5+0.5"]
    command = ["study", "photo.jpg", "styles", "--network", "vgg16", "--size", "48"]
    command += ["--num-steps", "2", "--style-layers", "conv1_1", "--content-layers", "conv2_2"]
    assert cli.main([*command, "--style-mix", *mixes, "--output-dir", "study"]) == 0
    record = json.loads((pictures / "study" / "study.json").read_text())
    assert record["axes"] == {"style_mix": mixes}
    assert record["lanes"] == [f"style_mix={mix}" for mix in mixes]
    assert cli.main(["rerun", "study/lanes/style_mix=0.5+0.5.json", "--output", "again.png"]) == 0
    np.testing.assert_array_equal(
        nst.read_image("again.png"), nst.read_image("study/lanes/style_mix=0.5+0.5.png")
    )


@pytest.mark.slow
def test_octaves_are_an_axis_and_come_again_from_a_record(pictures):
    command = ["study", "photo.jpg", "painting.png", "--network", "vgg16", "--size", "80"]
    command += ["--num-steps", "4", "--style-layers", "conv1_1+conv2_1"]
    command += ["--content-layers", "conv2_2", "--octaves", "1", "2", "--style-size", "96"]
    assert cli.main([*command, "--output-dir", "study"]) == 0
    lanes = [nst.read_image(f"study/lanes/octaves={octaves}.png") for octaves in (1, 2)]
    assert np.abs(lanes[0] - lanes[1]).max() > 2 / 255
    assert cli.main(["rerun", "study/lanes/octaves=2.json", "--output", "again.png"]) == 0
    np.testing.assert_array_equal(nst.read_image("again.png"), lanes[1])
    texture = ["texture", "painting.png", "--size", "80", "64", *QUICK[4:6], "--network", "vgg16"]
    for words, octaves in ([], 1), (["--octaves", "3"], 3):
        assert cli.main([*texture, "--style-layers", "conv1_1", *words, "--overwrite"]) == 0
        record = json.loads((pictures / "painting_texture.json").read_text())
        assert record["settings"]["octaves"] == octaves
    assert cli.main([*texture, "--octaves", "0", "-o", "none.png"]) == 2
    assert not (pictures / "none.png").exists()


@pytest.mark.slow
def test_borders_are_an_axis_and_come_again_from_a_record(pictures):
    command = ["study", "photo.jpg", "painting.png", "--network", "vgg16", "--size", "48"]
    command += ["--num-steps", "8", "--style-layers", "conv1_1+conv2_1"]
    command += ["--content-layers", "conv2_2", "--border", "replicate", "wrap"]
    assert cli.main([*command, "--output-dir", "study"]) == 0
    lanes = [nst.read_image(f"study/lanes/border={border}.png") for border in ("replicate", "wrap")]
    assert np.abs(lanes[0] - lanes[1]).max() > 0
    assert cli.main(["rerun", "study/lanes/border=wrap.json", "--output", "again.png"]) == 0
    np.testing.assert_array_equal(nst.read_image("again.png"), lanes[1])


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--mask", "left.png"], "--mask names 1, but the style images are 2"),
        (["--mask", "left.png", "wide.png"], "make the mask of the picture's aspect ratio"),
        (["--mask", "left.png", "black.png"], "black.png: the brightest of the mask is 0 of 255"),
        (["--mask", "left.png", "none.png"], "none.png: cannot be read"),
        (["--style-mix", "1", "2", "3"], "--style-mix has 3 numbers, but there are 2 style images"),
        (["--style-mix", "0", "0"], "--style-mix has no share above 0"),
        (["--style-mix", "1", "2", "--mask", "left.png", "right.png"], "leave one of the two out"),
        (["--colours", "sepia"], "--colours"),
        (["--average", "0.9"], "--average is 0.9, but lbfgs keeps the best image"),
        (["--average", "1"], "--average is 1.0; it must be a number, at least 0 and less than 1"),
        (["--border", "mirror"], "--border"),
        (
            ["--border", "wrap", "--size", "42"],
            "35 × 42 pixels cannot wrap: conv2_2 has a position each 2 pixels, so give it the "
            "shape of 34 × 42 or 36 × 42 (width × height)",
        ),
    ],
)
def test_what_cannot_be_is_one_line(pictures, capfd, arguments, said):
    Image.fromarray(np.zeros((48, 40), np.uint8)).save("black.png")
    Image.fromarray(np.full((20, 40), 255, np.uint8)).save("wide.png")
    assert stylize(*arguments, "--output", "out.png") == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and said in lines[0]
    assert not list(pictures.glob("out*")) and not list(pictures.glob(".out*"))


def test_a_mask_is_what_is_opaque_or_what_is_white(tmp_path):
    grey = np.linspace(0, 255, 64 * 32).reshape(32, 64).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    layer = Image.new("RGBA", (64, 32), "red")
    layer.putalpha(Image.fromarray(grey))
    layer.save(tmp_path / "alpha.png")
    for name in ("grey.png", "deep.png", "alpha.png"):
        mask = read_mask(tmp_path / name, (32, 64))
        np.testing.assert_allclose(mask, grey / 255, atol=1e-6)
    # Half the size: each pixel is the mean of four.
    small = read_mask(tmp_path / "grey.png", (16, 32))
    wanted = (grey / 255).reshape(16, 2, 32, 2).mean((1, 3))
    np.testing.assert_allclose(small, wanted, atol=1 / 255)


@pytest.mark.slow
def test_losses_by_name_from_files_and_again_from_the_record(pictures):
    command = ["stylize", "photo.jpg", "painting.png", *QUICK, "--output", "out.png"]
    losses = ["--style-loss", "wasserstein", "--content-loss", "self_similarity"]
    assert cli.main([*command, *losses]) == 0
    record = json.loads((pictures / "out.json").read_text())
    assert record["settings"]["style_loss"] == "wasserstein"
    assert record["settings"]["content_loss"] == "self_similarity"
    assert cli.main(["rerun", "out.json"]) == 0
    first, again = (nst.read_image(name) for name in ("out.png", "out_rerun.png"))
    np.testing.assert_array_equal(first, again)


@pytest.mark.slow
def test_style_losses_are_an_axis_of_a_study(pictures):
    command = ["study", "photo.jpg", "painting.png", "--network", "vgg16", "--size", "48"]
    command += ["--num-steps", "2", "--style-layers", "conv1_1", "--content-layers", "conv2_2"]
    losses = ["--style-loss", "gram", "covariance"]
    assert cli.main([*command, *losses, "--output-dir", "study"]) == 0
    record = json.loads((pictures / "study" / "study.json").read_text())
    assert record["axes"] == {"style_loss": ["gram", "covariance"]}


def test_a_style_loss_in_another_scaling_is_refused(pictures, capfd):
    command = ["stylize", "photo.jpg", "painting.png", "--style-loss", "covariance"]
    assert cli.main([*command, "--scaling", "paper"]) == 2
    assert "give scaling 'relative'" in " ".join(capfd.readouterr().err.split())
