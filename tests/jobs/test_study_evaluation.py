"""Lanes of a study that are measured, when it is painted or later."""

import csv
import json
from pathlib import Path

import pytest

import nst_jax as nst
from nst_jax import cli
from nst_jax.report.evaluate import means_over_layers
from tests.jobs.test_study_page import shown
from tests.runs import QUICK_STUDY

STUDY = ["study", "photo.jpg", "painting.png", *QUICK_STUDY, "--style-weight", "5", "1e30"]
LANE = Path("out/lanes/style_weight=5.json")


def record_of(path):
    return json.loads(Path(path).read_text())


def rows_of(folder):
    with (Path(folder) / "lanes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def numbers_of(lane):
    found = nst.evaluate(
        nst.load_params("vgg16"),
        nst.read_image("photo.jpg", size=48),
        nst.read_image("painting.png", size=48),
        nst.read_image(lane),
    )
    return found.numbers()


@pytest.mark.slow
def test_lanes_that_were_there_are_measured_without_being_painted_anew(photos, capfd):
    words = [*STUDY, "--output-dir", "out"]
    assert cli.main(words) == 1  # the second lane fails
    before, picture = record_of(LANE), LANE.with_suffix(".png")
    head, stamp = list(rows_of("out")[0]), picture.stat().st_mtime_ns
    assert "evaluation" not in before and "measures" not in shown()
    assert "evaluate" not in record_of("out/study.json")["job"]

    capfd.readouterr()
    assert cli.main([*words, "--evaluate"]) == 1
    out, err = capfd.readouterr()
    assert "0 lanes run here, 2 were there" in out and "measuring 1 of 2 lanes by vgg16" in err
    assert picture.stat().st_mtime_ns == stamp
    record = record_of(LANE)
    expected = numbers_of(picture)
    assert record.pop("evaluation") == pytest.approx(expected, rel=1e-3) and record == before
    assert "evaluation" not in record_of("out/lanes/style_weight=1e+30.json")
    measured, failed = rows_of("out")
    assert list(measured)[: len(head)] == head and measured["colours"] == "style"
    for name, value in expected.items():
        column = "colours_distance" if name == "colours" else name
        assert float(measured[column]) == pytest.approx(value, rel=1e-3)
        assert failed[column] == "" or name == "lpips"
    assert shown()["measures"].startswith("Distances")
    lane, other = shown()["lanes"]
    means = means_over_layers(expected)
    assert lane["lpips"] == pytest.approx(means.pop("LPIPS"), rel=1e-3)
    assert lane["evaluation"] == pytest.approx(means, rel=1e-3) and "evaluation" not in other

    stamp = LANE.stat().st_mtime_ns
    assert cli.main([*words, "--evaluate"]) == 1
    assert "measuring" not in capfd.readouterr().err  # none is left
    assert cli.main(words) == 1  # loses none
    assert LANE.stat().st_mtime_ns == stamp and rows_of("out") == [measured, failed]


@pytest.mark.slow
def test_a_study_that_was_measured_is_measured_again_by_rerun(photos):
    words = [*STUDY[:-1], "--num-steps", "1", "--style-size", "1.2x", "--evaluate"]
    assert cli.main([*words, "--output-dir", "out"]) == 0
    assert cli.main(["rerun", "out/study.json"]) == 0
    assert rows_of("out_rerun") == rows_of("out")
    found = nst.evaluate(
        nst.load_params("vgg16"),
        nst.read_image("photo.jpg", size=48),
        nst.read_image("painting.png", size=58),  # as the lane saw it
        nst.read_image("out/lanes/lane.png"),
    )
    (row,) = rows_of("out")
    assert float(row["w2_conv3_3"]) == pytest.approx(found.w2["conv3_3"], rel=1e-3)


def test_lanes_of_several_styles_are_painted_and_not_measured(photos, rng, capfd):
    nst.write_image("other.png", rng.random((48, 48, 3)))
    words = [*STUDY[:3], "other.png", *QUICK_STUDY, "--style-mix", "1+1", "--num-steps", "1"]
    assert cli.main([*words, "--output-dir", "out", "--evaluate"]) == 0
    (line,) = (line for line in capfd.readouterr().err.splitlines() if "measured" in line)
    assert "1 of 1 lanes have several styles" in line
    assert "evaluation" not in record_of("out/lanes/lane.json")
    assert "measures" not in shown()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "36"], "the content photo image would be measured at 30 × 36 pixels"),
        (["--style-size", "0.8x"], "the style painting 0.8x image would be measured at 38 × 27"),
    ],
)
def test_what_is_too_small_to_be_measured_is_refused_before_painting(words, said, photos, capfd):
    assert cli.main([*STUDY, *words, "--output-dir", "out", "--evaluate"]) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert said in line and "take a larger size, or leave --evaluate out" in line
    assert not Path("out").exists()
