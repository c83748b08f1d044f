"""One run, one file: `--config` and `--print-config`."""

import dataclasses
import json
import tomllib

import pytest

import nst_jax as nst
from nst_jax import cli
from nst_jax.cli.config_file import _as_toml
from tests.runs import QUICK

COMMANDS = [
    ["stylize", "photo.jpg", "painting.png"],
    ["stylize", "photo.jpg", "painting.png", "painting.png", "--style-mix", "3", "7"],
    ["stylize", "photo.jpg", "painting.png", "--preset", "notebook", "--no-squash-style"],
    ["stylize", "photo.jpg", "painting.png", "--size", "original", "--dpi", "300"],
    ["stylize", "photo.jpg", "painting.png", "--rows", "64", "--style-size", "300", "0.5x"],
    ["stylize", "photo.jpg", "painting.png", "--preset", "paper", "--mask", "photo.jpg", "-o", "a"],
    ["study", "photo.jpg", "painting.png", "--style-weight", "5", "20", "--seed", "0", "1"],
    ["study", "photo.jpg", "painting.png", "--content-layers", "conv1_1+conv2_1", "--size", "64"],
    ["study", "--grid", "grid.toml", "--zip", "--no-compilation-cache"],
]


def printed(words, capsys):
    assert cli.main([*words, "--print-config"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_is_printed_is_the_same_command(words, photos, capsys):
    text = printed(words, capsys)
    (photos / "run.toml").write_text(text)
    assert printed([words[0], "--config", "run.toml"], capsys) == text


def test_all_options_are_printed_by_their_names(photos, capsys):
    given = tomllib.loads(printed(["stylize", "photo.jpg", "painting.png", "-o", "a.png"], capsys))
    fields = [*dataclasses.fields(nst.Preset), *dataclasses.fields(nst.TransferConfig)]
    unsaid = {"config", "network", "rows", "dpi"}  # not given, or no option
    for field in fields:
        assert (field.name.replace("_", "-") in given) != (field.name in unsaid), field.name
    assert given["style-weight"] == 20.0 and given["output"] == "a.png"


@pytest.mark.parametrize(
    ("file", "words", "wanted"),
    [
        ("style-weight = 5", [], {"style-weight": 5.0}),
        ("style_weight = 5", [], {"style-weight": 5.0}),
        ("style-weight = 5", ["--style-weight", "20"], {"style-weight": 20.0}),
        ("coarse-to-fine = false", [], {"coarse-to-fine": False}),
        ("coarse-to-fine = false", ["--coarse-to-fine"], {"coarse-to-fine": True}),
        ('preset = "notebook"', [], {"rows": 400, "pooling": "max", "size": None}),
        ('preset = "notebook"\npooling = "avg"', [], {"rows": 400, "pooling": "avg"}),
        ('preset = "notebook"', ["--preset", "paper"], {"size": 512, "content-weight": 0.1}),
        ("rows = 100", [], {"rows": 100, "size": None}),
        ("rows = 100", ["--size", "512"], {"rows": None, "size": 512}),
        ("size = 100", ["--rows=50"], {"rows": 50, "size": None}),
        ('size = "original"', [], {"size": "original"}),
        ('style-layers = "conv1_1"', [], {"style-layers": ["conv1_1"]}),
        ("style-size = [300]", [], {"style-size": ["300"]}),
        ('style = ["b.png", "c.png"]', [], {"style": "painting.png"}),
    ],
)
def test_the_words_win_over_the_file_and_the_file_over_the_preset(
    file, words, wanted, photos, capsys
):
    (photos / "run.toml").write_text(file)
    words = ["stylize", "photo.jpg", "painting.png", *words, "--config", "run.toml"]
    given = tomllib.loads(printed(words, capsys))
    assert {name: given.get(name) for name in wanted} == {
        name: [value] if name == "style" else value for name, value in wanted.items()
    }


PRINTED = ["--style-weight", "5"]
"""What a printed file has otherwise than its preset."""


@pytest.mark.parametrize(
    ("before", "preset", "wanted", "note"),
    [
        ("default", "paper", {"scaling": "mean", "init": "noise", "content-weight": 0.1}, True),
        ("default", "notebook", {"rows": 400, "pooling": "max", "size": None}, True),
        ("notebook", "default", {"rows": None, "size": 512, "pooling": "avg"}, True),
        ("paper", "paper", {"scaling": "mean", "init": "noise"}, False),
        ("default", "photorealistic", {"matting-weight": 30000.0}, False),
    ],
)
def test_a_preset_given_takes_the_place_of_a_printed_file_s(
    before, preset, wanted, note, photos, capfd
):
    words = ["stylize", "photo.jpg", "painting.png"]
    text = printed([*words, "--preset", before, *PRINTED], capfd)
    (photos / "run.toml").write_text(text)
    again = [words[0], "--config", "run.toml", "--preset", preset]
    assert cli.main([*again, "--print-config"]) == 0
    out, err = capfd.readouterr()
    found = tomllib.loads(out)
    wanted |= {"style-weight": 5.0, "preset": preset}
    assert {name: found.get(name) for name in wanted} == wanted
    said = f"note: run.toml says style-weight otherwise than --preset {preset}, and counts; "
    assert err.startswith(said) if note else err == ""
    assert cli.main([*again, "--print-config", "--style-weight=7"]) == 0
    out, err = capfd.readouterr()
    assert tomllib.loads(out)["style-weight"] == 7.0 and err == ""


def test_values_of_a_file_without_a_preset_all_stay_and_are_said(photos, capfd):
    (photos / "run.toml").write_text("style-weight = 20.0\ncoarse-to-fine = true\nseed = 3")
    words = ["stylize", "photo.jpg", "painting.png", "--config", "run.toml", "--preset", "paper"]
    assert cli.main([*words, "--print-config"]) == 0
    out, err = capfd.readouterr()
    found = tomllib.loads(out)
    assert (found["style-weight"], found["coarse-to-fine"], found["scaling"]) == (20, True, "mean")
    assert "run.toml says coarse-to-fine, style-weight otherwise than --preset paper" in err
    assert err.count("\n") == 1
    assert cli.main([*words, "--print-config", "--no-coarse-to-fine"]) == 0
    assert "run.toml says style-weight otherwise" in capfd.readouterr().err
    assert cli.main([*words, "--style-wieght", "7"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("nst-jax: error: Unrecognized options: --style-wieght")


@pytest.mark.slow
def test_a_run_out_of_a_file_whose_paths_are_from_its_folder(photos, monkeypatch):
    (photos / "below").mkdir()
    text = """
content = "photo.jpg"
style = ["painting.png", "photo.jpg"]
output = "out.png"
network = "vgg16"
size = 48
num-steps = 4
content-layers = ["conv2_2"]
style-layers = ["conv1_1", "conv2_1"]
"""
    (photos / "run.toml").write_text(text)
    monkeypatch.chdir(photos / "below")
    words = ["photo.jpg", "painting.png", "photo.jpg"]
    assert cli.main(["stylize", "--config", "../run.toml"]) == 0
    monkeypatch.chdir(photos)
    assert cli.main(["stylize", *words, *QUICK, "--output", "same.png"]) == 0
    one, other = (json.loads((photos / name).read_text()) for name in ("out.json", "same.json"))
    assert one["history"] == other["history"]


@pytest.mark.parametrize("command", ("stylize", "study"))
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("style-wieght = 5", "unknown key 'style-wieght'; did you mean style-weight?"),
        ("others = 5", "unknown key 'others'; "),
        ("size = 5.5", "size: "),
        ("seed = true", "seed: expected int, got bool"),
        ('init = ["paint"]', "init: "),
        ("content = 3", "content: expected path, got int"),
        ("quiet = 1", "quiet: expected bool, got int"),
        ("seed = 1\nse", "is no TOML ("),
        ("style_weight = 1\nstyle-weight = 2", "style-weight stands there twice"),
        ("[style-weight]\na = 1", "style-weight: expected float, got "),
    ],
)
def test_a_wrong_file_is_one_line_and_status_2(command, file, message, photos, capfd):
    (photos / "run.toml").write_text(file)
    before = set(photos.iterdir())
    assert cli.main([command, "photo.jpg", "painting.png", "--config", "run.toml"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("nst-jax: error: run.toml: ") and message in line
    assert set(photos.iterdir()) == before


def test_files_that_no_command_takes(photos, capfd):
    (photos / "run.toml").write_text("size = 100\nrows = 100")
    for words, message in (
        (["--config", "none.toml"], "none.toml: cannot be read (No such file or directory)"),
        (["--config", "run.toml"], "run.toml: size and rows are both given"),
        (["--config"], "--config"),
    ):
        assert cli.main(["stylize", "photo.jpg", "painting.png", *words]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert message in line


@pytest.mark.parametrize(
    "value",
    [1e-06, 2.5e-8, 1e300, True, 'a "quoted" \\ path\x7f\n', "Köln 😀", ("a", "b"), (1.0, 2.5), ()],
)
def test_values_are_toml(value):
    found = tomllib.loads(f"key = {_as_toml(value)}")["key"]
    assert (tuple(found) if isinstance(value, tuple) else found) == value
