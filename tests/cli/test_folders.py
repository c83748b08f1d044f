"""`stylize` of a folder of photographs, and in the style of a folder."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import nst_jax as nst
from nst_jax import cli
from nst_jax.jobs import many_jobs
from nst_jax.jobs.many_jobs import jobs_of_folder
from tests.runs import QUICK

STYLIZE = [*QUICK, "--num-steps", "2", "--optimizer", "sgd"]


@pytest.fixture
def folders(photos, rng):
    """The folder `in` with five images, one of them damaged, and the folder `styles` with two."""
    for folder in ("in", "styles", "empty"):
        (photos / folder).mkdir()
    shapes = {"a.png": (40, 32), "b.png": (40, 32), "b.JPG": (32, 40), "d.png": (300, 200)}
    for name, shape in shapes.items():
        nst.write_image(photos / "in" / name, rng.random((*shape, 3)))
    (photos / "in" / "c.jpg").write_text("this is no picture")
    (photos / "in" / "notes.txt").write_text("nor is this")
    for name in ("second.png", "first.png"):
        nst.write_image(photos / "styles" / name, rng.random((40, 40, 3)))
    return photos


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.slow
def test_a_folder_of_photographs_is_painted_and_what_is_done_is_skipped(folders, traces, capfd):
    words = ["stylize", "in", "painting.png", *STYLIZE, "--output-dir", "out"]
    assert cli.main(words) == 1
    out, err = capfd.readouterr()
    pictures = {"a_painting", "b_png_painting", "b_JPG_painting", "d_painting"}
    assert set(stamps(Path("out"))) == {
        f"{name}{ending}" for name in pictures for ending in (".png", ".json")
    }
    assert "wrote 4 pictures to out, 1 FAILED" in out and err.count("network: ") <= 1
    assert err.splitlines()[-1].startswith("FAILED in/c.jpg: in/c.jpg: not an image in a known")
    assert "4/5  in/c.jpg" in err and nst.read_image("out/b_JPG_painting.png").shape[:2] == (38, 48)
    assert len(traces) == len({(48, 38), (38, 48), (48, 32)})  # a program a shape
    before = stamps(Path("out"))
    Path("out/a_painting.png").unlink()
    assert cli.main(words) == 1
    out, err = capfd.readouterr()
    assert "out/d_painting.png is there already" in err
    assert "5/5  in/d.png\n" in err  # no time of what is done
    assert "wrote 1 picture to out, 3 were there, 1 FAILED" in out
    assert {name for name, stamp in stamps(Path("out")).items() if stamp != before[name]} == {
        "a_painting.png",
        "a_painting.json",
    }
    (folders / "in" / "c.jpg").unlink()
    assert cli.main(words) == 0
    assert cli.main([*words, "--style-weight", "7"]) == 1  # of which other pictures are there
    assert capfd.readouterr().err.count("FAILED in/") == 4


def test_a_photograph_too_large_for_the_memory_ends_no_other(folders, monkeypatch, capfd):
    def run(job, *arguments):
        if job.content.name == "d.png":
            raise MemoryError
        return SimpleNamespace(failure="")

    monkeypatch.setattr(many_jobs, "run_job", run)
    monkeypatch.setattr(many_jobs, "load_weights", lambda name: SimpleNamespace(why="none"))
    assert cli.main(["stylize", "in", "painting.png", *STYLIZE, "--output-dir", "out"]) == 1
    out, err = capfd.readouterr()
    assert "FAILED in/d.png: out of memory; paint it at a smaller --size" in err
    assert "wrote 4 pictures" in out


def test_no_two_photographs_of_a_folder_share_a_picture():
    photographs = [Path("in", name) for name in ("a.png", "a.jpg", "A.PNG", "a_png.png", "b.png")]
    pictures = jobs_of_folder(photographs, Path("out"), "_x.png", lambda _, picture: picture)
    assert [picture.name for picture in pictures] == [
        "a_png_2_x.png",
        "a_jpg_x.png",
        "A_PNG_3_x.png",
        "a_png_x.png",
        "b_x.png",
    ]


@pytest.mark.slow
def test_photographs_that_a_shell_names_are_noted_not_to_be_painted(folders, capfd):
    words = ["stylize", "in/a.png", "in/d.png", "painting.png", *STYLIZE, "--output-dir", "out"]
    said = "note: one picture of in/a.png, by 2 styles blended; to paint several photographs, name"
    assert cli.main(words) == 0
    out, err = capfd.readouterr()
    assert said in err and "wrote out/a_d_painting.png" in out
    assert cli.main([*words, "--style-mix", "1", "2", "--overwrite"]) == 0  # who means it
    assert "note: one picture" not in capfd.readouterr().err


@pytest.mark.slow
def test_a_folder_of_styles_is_all_of_them_by_name(folders):
    assert cli.main(["stylize", "photo.jpg", "styles", *STYLIZE, "--style-mix", "3", "1"]) == 0
    record = json.loads(Path("photo_styles.json").read_text())["settings"]
    assert [Path(file["path"]).name for file in record["inputs"]["style"]] == [
        "first.png",
        "second.png",
    ]
    words = ["styles/first.png", "styles/second.png", *STYLIZE, "--style-mix", "3", "1"]
    assert cli.main(["stylize", "photo.jpg", *words, "--output-dir", "out"]) == 0
    assert (
        Path("out/photo_first_second.png").read_bytes()[-100:]
        == Path("photo_styles.png").read_bytes()[-100:]
    )


WRONG = {
    "in painting.png": "in: is a folder; give --output-dir",
    "in painting.png --output-dir in": "in: is the folder of the photographs",
    "in painting.png --output-dir ./out/../in": "out/../in: is the folder of the photographs",
    "in painting.png --output-dir out --output a.png": "--output and --output-dir are both given",
    "in painting.png --output-dir out --keep photo.jpg": "--keep is of one photograph",
    "in painting.png --output-dir out --initial photo.jpg": "--initial is of one photograph",
    "in painting.png --output-dir out --num-steps 0": "--num-steps is 0",
    "in none.png --output-dir out": "none.png: cannot be read",
    "in painting.png --output-dir out --network none": "none: no network is called so",
    "empty painting.png --output-dir out": "empty: is a folder without images",
    "photo.jpg empty": "empty: is a folder without images",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_no_photograph_can_be_painted_by_is_one_line(words, folders, capfd):
    before = set(folders.rglob("*"))
    quick = [word for word in STYLIZE if word not in ("--network", "vgg16")]
    assert cli.main(["stylize", *quick, *words.split()]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and f"nst-jax: error: {WRONG[words]}" in err
    assert set(folders.rglob("*")) == before
