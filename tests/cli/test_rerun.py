"""Results made again, out of pictures too, and with some settings changed."""

import json

import numpy as np
import pytest

import nst_jax as nst
from nst_jax import cli
from tests.runs import QUICK, QUICK_STUDY


def settings(path):
    return json.loads(path.read_text())["settings"]


@pytest.mark.slow
@pytest.mark.parametrize("ending", (".png", ".jpg", ".webp", ".tif"))
def test_a_picture_is_made_again_out_of_itself(ending, photos):
    words = ["--style-weight", "7", "--save-every", "2", "--output", f"out{ending}"]
    assert cli.main(["stylize", "photo.jpg", "painting.png", *QUICK, *words]) == 0
    (photos / "out.json").unlink()
    picture = (photos / f"out{ending}").read_bytes()
    assert cli.main(["rerun", f"out{ending}"]) == 0
    assert (photos / f"out_rerun{ending}").read_bytes() == picture
    assert cli.main(["rerun", "out_at_iteration_2.png", "-o", f"again{ending}"]) == 0
    assert (photos / f"again{ending}").read_bytes() == picture


@pytest.mark.slow
def test_a_lane_is_made_again_out_of_its_picture(photos):
    words = ["--style-weight", "5", "20", "--output-dir", "study"]
    assert cli.main(["study", "photo.jpg", "painting.png", *QUICK_STUDY, *words]) == 0
    lane = photos / "study" / "lanes" / "style_weight=5.png"
    lane.with_suffix(".json").unlink()
    assert cli.main(["rerun", str(lane), "-o", "again.png"]) == 0
    np.testing.assert_array_equal(nst.read_image(lane), nst.read_image("again.png"))


@pytest.mark.slow
def test_some_settings_are_changed_and_the_others_stay(photos):
    words = ["--style-weight", "7", "--tv-weight", "0.5", "--output", "out.png"]
    assert cli.main(["stylize", "photo.jpg", "painting.png", *QUICK, *words]) == 0
    changes = ["--style-weight", "20", "--num-steps", "6", "--seed", "3", "--no-coarse-to-fine"]
    assert cli.main(["rerun", "out.json", *changes]) == 0
    before, after = settings(photos / "out.json"), settings(photos / "out_rerun.json")
    changed = {"style_weight": 20, "num_steps": 6, "seed": 3, "coarse_to_fine": False}
    assert {name for name in before if before[name] != after[name]} == set(changed)
    assert {name: after[name] for name in changed} == changed
    # as if it had been asked for at first: a value that is the program's default is one, too
    words = ["--style-weight", "20", "--tv-weight", "0.5", "--seed", "3", "--no-coarse-to-fine"]
    same = ["stylize", "photo.jpg", "painting.png", *QUICK, *words, "--num-steps", "6"]
    assert cli.main([*same, "--output", "same.png"]) == 0
    assert (photos / "same.png").read_bytes() == (photos / "out_rerun.png").read_bytes()


@pytest.mark.slow
def test_found_weights_are_found_anew_where_something_has_changed(photos):
    words = ["--balance", "--output", "out.png"]
    assert cli.main(["stylize", "photo.jpg", "painting.png", *QUICK, *words]) == 0
    assert cli.main(["rerun", "out.json", "--style-layers", "conv1_1", "conv3_1"]) == 0
    assert set(settings(photos / "out_rerun.json")["weights_by_layer"]) == {"conv1_1", "conv3_1"}


@pytest.mark.slow
def test_a_study_changes_in_what_its_lanes_have_in_common(photos, capfd):
    words = ["--style-weight", "5", "20", "--output-dir", "study"]
    assert cli.main(["study", "photo.jpg", "painting.png", *QUICK_STUDY, *words]) == 0
    record = "study/study.json"
    assert cli.main(["rerun", record, "--size", "32", "-o", "again"]) == 0
    assert nst.read_image("again/lanes/style_weight=5.png").shape == (32, 27, 3)
    capfd.readouterr()
    for words in (["--style-weight", "7"], ["--seed", "7"]):
        assert cli.main(["rerun", record, *words, "-o", "other"]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert "is of a study, of which" in line and f"leave {words[0]} out" in line
    for words in (["--save-every", "1"], ["--fine-until", "conv1_1"]):
        assert cli.main(["rerun", record, *words, "-o", "other"]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert f"is of a study, whose lanes have no {words[0]}; leave it out" in line
    assert not (photos / "other").exists()


@pytest.mark.slow
def test_a_texture_is_made_again_at_another_size_of_the_same_source(photos, capfd):
    quick = ["--network", "vgg16", "--num-steps", "3", "--style-layers", "conv1_1"]
    command = ["texture", "painting.png", *quick]
    assert cli.main([*command, "--size", "48", "32", "-o", "a.png"]) == 0
    for words, shape in (
        (["--size", "72"], (48, 72)),
        (["--rows", "48"], (48, 72)),
        (["--save-every", "3"], (32, 48)),
        ([], (32, 48)),
    ):
        assert cli.main(["rerun", "a.json", *words, "--overwrite"]) == 0
        assert nst.read_image("a_rerun.png").shape == (*shape, 3)
        assert (photos / "a_rerun_at_iteration_3.png").exists() == ("--save-every" in words)
    assert (photos / "a_rerun.png").read_bytes() == (photos / "a.png").read_bytes()
    assert cli.main([*command, "--size", "72", "48", "-o", "b.png"]) == 0
    assert cli.main(["rerun", "a.png", "--size", "72", "-o", "c.png"]) == 0
    assert (photos / "b.png").read_bytes() == (photos / "c.png").read_bytes()
    capfd.readouterr()
    for words, said in (
        (["--size", "original"], "--size original is a photograph's"),
        (["--size", "0"], "--size is 0; give the pixels"),
        (["--rows", "-8"], "--rows is -8; give the pixels"),
        (["--size", "8"], "must be at least 16"),
        (["--fine-until", "conv1_1"], "--fine-until is conv1_1, but there is no --fine-style"),
    ):
        assert cli.main(["rerun", "a.json", *words, "-o", "other.png"]) == 2
        (line,) = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
        assert said in line
    assert not list(photos.glob("other*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no settings of nst-jax; name a picture as it was written"),
        ("{", "holds no settings of nst-jax"),
        ("[]", "holds no settings of nst-jax"),
        ('{"num_devices": 1}', "is not the record of a picture ($: object missing"),
        ("{}", "is not the record of a picture ($: object missing"),
    ],
)
def test_pictures_without_settings_are_refused_in_a_line(text, message, photos, capfd):
    nst.write_image("odd.png", np.zeros((20, 20, 3)), {"nst_jax": text} if text else None)
    for words in (["odd.png"], ["odd.png", "--style-weight", "3"]):
        assert cli.main(["rerun", *words]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("nst-jax: error: odd.png: ") and message in line


def test_what_is_no_picture_is_refused(photos, capfd):
    (photos / "none.png").write_bytes(b"none")
    assert cli.main(["rerun", "none.png"]) == 2
    assert "none.png: cannot be read (it is no image in a known format)" in capfd.readouterr().err
