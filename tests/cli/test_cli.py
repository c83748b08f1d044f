import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nst_jax as nst
from nst_jax import cli, weights
from nst_jax.cli import demo
from nst_jax.cli.progress import ProgressDisplay
from nst_jax.descent.schedule import Scale
from nst_jax.host.timings import keep_rates
from nst_jax.jobs.run_plan import RunPlan
from tests import reference
from tests.runs import QUICK


def test_stylize_writes_the_picture_its_settings_and_its_history(photos, capfd):
    assert (
        cli.main(
            [
                "stylize",
                "photo.jpg",
                "painting.png",
                *QUICK,
                "--save-every",
                "2",
                "--style-weight",
                "7",
            ]
        )
        == 0
    )
    assert {path.name for path in photos.iterdir()} == {
        "photo.jpg",
        "painting.png",
        "photo_painting.png",
        "photo_painting.json",
        "photo_painting_at_iteration_2.png",
        "photo_painting_at_iteration_4.png",
    }
    with Image.open("photo_painting.png") as picture:
        settings = json.loads(picture.text["nst_jax"])
        assert picture.size == (40, 48)
    record = json.loads((photos / "photo_painting.json").read_text())
    named = {
        name: file | {"path": Path(file["path"]).name}
        for name, file in record["settings"]["inputs"].items()
    }
    network = record["settings"]["network"]
    assert (
        record["settings"]
        | {"inputs": named, "network": network | {"path": Path(network["path"]).name}}
        == settings
    )
    assert (
        settings["style_weight"] == 7
        and settings["style_layers"] == ["conv1_1", "conv2_1"]
        and settings["num_steps"] == 4
    )
    assert (
        settings["network"]["name"] == "vgg16"
        and len(settings["inputs"]["content"]["sha256"]) == 64
    )
    history = record["history"]
    assert len(history["loss"]) == len(history["terms"]["style"]["conv2_1"]) == 4
    assert record["best_loss"] == min(history["loss"]) == history["loss"][record["best_step"] - 1]
    style = (history["terms"]["style"]["conv1_1"][0] + history["terms"]["style"]["conv2_1"][0]) / 2
    content, grain = (history["terms"][term] for term in ("content", "grain"))
    np.testing.assert_allclose(
        history["loss"][0], 7 * style + content["conv2_2"][0] + 0.1 * grain["all"][0], rtol=1e-5
    )
    with Image.open("photo_painting_at_iteration_2.png") as picture:
        assert json.loads(picture.text["nst_jax"])["iteration"] == 2
    np.testing.assert_array_equal(
        nst.read_image("photo_painting.png"), nst.read_image("photo_painting_at_iteration_4.png")
    )
    out, err = capfd.readouterr()
    assert "wrote photo_painting.png and photo_painting.json" in out
    assert "network: vgg16" in err and "step 4/4  loss" in err


@pytest.mark.slow
def test_the_command_paints_what_the_library_paints(photos):
    assert (
        cli.main(
            [
                "stylize",
                "photo.jpg",
                "painting.png",
                *QUICK,
                "--init",
                "noise",
                "--seed",
                "3",
                "--output",
                "out/a.tif",
            ]
        )
        == 0
    )
    config = nst.TransferConfig(
        num_steps=4, init="noise", style_layers=("conv1_1", "conv2_1"), content_layers=("conv2_2",)
    )
    images = (nst.read_image(path, size=48) for path in ("photo.jpg", "painting.png"))
    result = nst.stylize(
        nst.load_params("vgg16"), *images, config, key=__import__("jax").random.key(3)
    )
    np.testing.assert_allclose(nst.read_image("out/a.tif"), result.image, atol=0.51 / 255)


def test_starting_from_an_image_file(photos):
    assert (
        cli.main(
            [
                "stylize",
                "photo.jpg",
                "painting.png",
                *QUICK,
                "--num-steps",
                "1",
                "--initial",
                "painting.png",
            ]
        )
        == 0
    )
    expected = nst.read_image("painting.png", shape=(48, 40))
    np.testing.assert_allclose(nst.read_image("photo_painting.png"), expected, atol=0.51 / 255)


@pytest.mark.slow
def test_the_notebook_preset_reads_images_as_the_notebook_does(photos):
    words = [
        "stylize",
        "photo.jpg",
        "painting.png",
        "--preset",
        "notebook",
        "--network",
        "vgg16",
        "--num-steps",
        "1",
        "--save-every",
        "1",
        "--content-layers",
        "conv1_1",
        "--style-layers",
        "conv1_1",
    ]
    assert cli.main(words) == 0
    record = json.loads((photos / "photo_painting.json").read_text())["settings"]
    assert (
        (record["height"], record["width"]) == (400, 333)
        and record["squash_style"]
        and record["resample"] == "nearest"
    )
    assert (photos / "photo_painting_at_iteration_1.png").exists()
    assert cli.main([*words, "--size", "48", "--output", "b.png"]) == 0
    record = json.loads((photos / "b.json").read_text())["settings"]
    assert record["height"] == 48 and record["optimizer"] == "sgd"


@pytest.mark.slow
def test_pictures_say_of_files_their_names_alone(photos, monkeypatch):
    """Those of runs, on the way too, of studies with their reports, and of the demo; in every part
    of the file."""
    secret = photos / "secret folder"
    (secret / "below").mkdir(parents=True)
    for name in ("photo.jpg", "painting.png"):
        (photos / name).rename(secret / "below" / name)
    content, style, start = (
        str(secret / "below" / name) for name in ("photo.jpg", "painting.png", "painting.png")
    )
    for ending in (".png", ".tif"):
        words = [
            "--initial",
            start,
            "--save-every",
            "2",
            "--output",
            str(secret / f"out{ending}"),
            "--overwrite",
        ]
        assert cli.main(["stylize", content, style, *QUICK, *words]) == 0
    study = [
        "study",
        content,
        style,
        "--network",
        "vgg16",
        "--size",
        "32",
        "--num-steps",
        "1",
        "--content-layers",
        "conv1_1",
    ]
    assert (
        cli.main(
            [
                *study,
                "--style-layers",
                "conv1_1",
                "--seed",
                "1",
                "2",
                "--output-dir",
                str(secret / "study"),
            ]
        )
        == 0
    )
    monkeypatch.setattr(demo, "SIZE", 48)
    monkeypatch.setattr(demo, "NUM_STEPS", 1)
    assert cli.main(["demo", "--output", str(secret / "demo.png")]) == 0
    inputs = {Path(path) for path in (content, style)}
    pictures = [
        path
        for path in photos.rglob("*")
        if path.suffix in (".png", ".jpg", ".webp", ".tif") and path not in inputs
    ]
    assert len(pictures) == 2 + 2 + 2 + 4 + 2
    for path in pictures:
        with Image.open(path) as picture:
            texts = [str(value) for value in {**picture.info, **picture.getexif()}.values()]
        for text in texts:
            assert "secret folder" not in text and "below" not in text and os.sep not in text, (
                path,
                text,
            )
        assert b"secret folder" not in path.read_bytes()
    # whose record does say where they are
    assert cli.main(["rerun", str(secret / "out.json"), "--output", "again.png"]) == 0


def test_the_demo_has_its_pictures():
    assert nst.read_image(demo.content_path()).shape == (300, 451, 3)
    assert min(nst.read_image(demo.style_path()).shape[:2]) >= 400


@pytest.mark.slow
def test_the_demo_writes_a_picture_and_a_sheet(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "SIZE", 48)
    monkeypatch.setattr(demo, "NUM_STEPS", 2)
    assert cli.main(["demo"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "nst_demo.png",
        "nst_demo.json",
        "nst_demo_sheet.png",
    }
    height, width, _ = nst.read_image("nst_demo_sheet.png").shape
    assert height == 32 and width > 3 * 32


BAD = {
    "missing image": (
        ["none.jpg", "painting.png"],
        "none.jpg: cannot be read (No such file or directory)",
    ),
    "folder": ([".", "painting.png"], ".: is a folder; give --output-dir"),
    "text": (["text.jpg", "painting.png"], "text.jpg: not an image in a known format"),
    "truncated": (["half.jpg", "painting.png"], "half.jpg: cannot be read"),
    "tiny": (["photo.jpg", "tiny.png"], "tiny.png: 3 × 3 pixels is too small"),
    "bomb": (["bomb.png", "painting.png"], "bomb.png: has more than 178,000,000 pixels"),
    "negative size": (
        ["photo.jpg", "painting.png", "--size", "-5"],
        "size is -5; it must be at least 16",
    ),
    "no steps": (["photo.jpg", "painting.png", "--num-steps", "0"], "--num-steps is 0"),
    "negative weight": (
        ["photo.jpg", "painting.png", "--style-weight", "-1"],
        "--style-weight is -1.0",
    ),
    "weight that is no number": (
        ["photo.jpg", "painting.png", "--tv-weight", "nan"],
        "--tv-weight is nan",
    ),
    "huge weight": (
        ["photo.jpg", "painting.png", "--scaling", "notebook", "--tv-weight", "3e38"],
        (
            "the weighted loss at step 1 is not finite; make the weights, or the learning "
            "rate, smaller"
        ),
    ),
    "seed": (["photo.jpg", "painting.png", "--seed", "-1"], "--seed is -1"),
    "save every": (["photo.jpg", "painting.png", "--save-every", "-1"], "--save-every is -1"),
    "unknown layer": (
        ["photo.jpg", "painting.png", "--style-layers", "relu1"],
        "unknown layer 'relu1'",
    ),
    "layer of the other network": (
        ["photo.jpg", "painting.png", "--content-layers", "conv5_4"],
        "unknown layer 'conv5_4': vgg16 has",
    ),
    "missing weights": (
        ["photo.jpg", "painting.png", "--network", "none.h5"],
        "none.h5: cannot be read",
    ),
    "damaged weights": (
        ["photo.jpg", "painting.png", "--network", "text.jpg"],
        "text.jpg: not a weights file of a known format",
    ),
    "weights with NaN": (
        ["photo.jpg", "painting.png", "--network", "nan.safetensors"],
        "values that are not finite",
    ),
    "weights of another network": (
        ["photo.jpg", "painting.png", "--network", "other.npz"],
        "has 1 convolutions of 3 × 3",
    ),
    "unknown ending": (
        ["photo.jpg", "painting.png", "--output", "a.gif"],
        "a.gif: the output's name must end in",
    ),
    "output is a folder": (
        ["photo.jpg", "painting.png", "--output", "folder.png"],
        "folder.png: is a folder",
    ),
    "output below a file": (
        ["photo.jpg", "painting.png", "--output", "text.jpg/a.png"],
        "cannot be written",
    ),
    "output onto an input": (
        ["photo.jpg", "painting.png", "--output", "painting.png"],
        "is the style painting image, which would be lost",
    ),
    "giant size": (
        ["photo.jpg", "painting.png", "--size", "2000000"],
        "more than 178,000,000 pixels; take a smaller size",
    ),
    "output name too long": (
        ["photo.jpg", "painting.png", "--output", "a" * 300 + ".png"],
        "cannot be written (File name too long)",
    ),
    "input name too long": (
        ["a" * 300 + ".jpg", "painting.png", "--output", "a.png"],
        "cannot be read (File name too long)",
    ),
    "record is a folder": (
        ["photo.jpg", "painting.png", "--output", "record.png"],
        "record.json: is a folder",
    ),
    "missing start": (["photo.jpg", "painting.png", "--initial", "nose"], "nose: cannot be read"),
}


@pytest.fixture(scope="module")
def bad_inputs(tmp_path_factory):
    from tests.files.test_images import bomb, noisy

    folder = tmp_path_factory.mktemp("bad")
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "half.jpg").write_bytes(noisy("JPEG")[:2000])
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "folder.png").mkdir()
    (folder / "record.json").mkdir()
    for name, side in (("photo.jpg", 40), ("painting.png", 36), ("tiny.png", 3)):
        Image.effect_noise((side, side), 60).convert("RGB").save(folder / name)
    params = reference.random_params("vgg16")
    params["conv3_1"]["bias"][5] = np.nan
    weights.write_params(folder / "nan.safetensors", params, {"network": "vgg16"})
    np.savez(
        folder / "other.npz",
        **{
            "block1_conv1/kernel": np.zeros((3, 3, 3, 8), np.float32),
            "block1_conv1/bias": np.zeros(8, np.float32),
        },
    )
    return folder


@pytest.mark.parametrize("case", list(BAD))
def test_wrong_input_is_one_line_and_status_2_and_leaves_nothing(
    case, bad_inputs, monkeypatch, capfd
):
    monkeypatch.chdir(bad_inputs)
    before = {path: path.stat().st_mtime_ns for path in bad_inputs.rglob("*")}
    words, message = BAD[case]
    quick = (
        [word for word in QUICK if word != "--network" and word != "vgg16"]
        if "--network" in words
        else QUICK
    )
    assert cli.main(["stylize", *words[:2], *quick, *words[2:]]) == 2
    errors = [
        line
        for line in capfd.readouterr().err.splitlines()
        if not line.startswith(("network: ", "step ", "48 × 48 pixels, ", "compiling "))
    ]
    assert len(errors) == 1 and errors[0].startswith("nst-jax: error: ") and message in errors[0]
    assert {path: path.stat().st_mtime_ns for path in bad_inputs.rglob("*")} == before


def test_a_folder_that_cannot_be_written(photos, capfd):
    locked = photos / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert (
        cli.main(["stylize", "photo.jpg", "painting.png", *QUICK, "--output", "locked/a.png"]) == 2
    )
    assert "cannot be written" in capfd.readouterr().err


@pytest.mark.slow
def test_weights_convert_list_and_normalise(photos, capfd):
    weights.write_params(
        photos / "a.safetensors", reference.random_params("vgg16"), {"network": "vgg16"}
    )
    assert cli.main(["weights", "convert", "a.safetensors", "--output", "b.safetensors"]) == 0
    assert "wrote b.safetensors, vgg16" in capfd.readouterr().out
    assert cli.main(["weights", "list"]) == 0
    listed = capfd.readouterr().out.splitlines()
    assert len(listed) == 9 and max(map(len, listed)) <= 80
    (photos / "pictures").mkdir()
    Image.new("RGB", (32, 32), "teal").save(photos / "pictures" / "a.png")
    (photos / "pictures" / "Thumbs.db").write_text("no picture")
    assert (
        cli.main(
            [
                "weights",
                "normalise",
                "pictures",
                "--network",
                "b.safetensors",
                "--output",
                "c.safetensors",
                "--size",
                "32",
            ]
        )
        == 0
    )
    notes = capfd.readouterr().err
    assert (
        "note: normalising on 1 images" in notes
        and "note: left out pictures/Thumbs.db: not an image" in notes
    )
    assert (
        weights.load_weights("c.safetensors").normalised
        and not weights.load_weights("b.safetensors").normalised
    )
    assert cli.main(["weights", "fetch", "vgg16"]) == 0
    for words in (
        ["fetch", "none"],
        ["convert", "a.safetensors", "--output", "."],
        ["convert", "photo.jpg", "--output", "d"],
        ["normalise", "none", "--output", "d"],
    ):
        assert cli.main(["weights", *words]) == 2
        assert len(capfd.readouterr().err.splitlines()) == 1


WRONG_WORDS = {
    "": "Expected one of",
    "paint": "unknown command 'paint'",
    "stylise a b": "unknown command 'stylise'; did you mean stylize? See nst-jax --help",
    "weights lst": "unknown command 'weights lst'; did you mean weights list? See nst-jax --help",
    "stylize a b --sytle-weight 3": (
        "Unrecognized options: --sytle-weight, 3; did you mean --style-weight? See nst-jax stylize"
    ),
    "rerun a --overwrit": (
        "Unrecognized options: --overwrit; did you mean --overwrite? See nst-jax rerun --help"
    ),
    "rerun a --xyzzy 3": "Unrecognized options: --xyzzy, 3; see nst-jax rerun --help",
    "stylize a b --no-corse-to-fine": (
        "Unrecognized options: --no-corse-to-fine; did you mean --no-coarse-to-fine?"
    ),
    "stylize": "Missing from nst-jax stylize: CONTENT",
    "stylize a": "Missing from nst-jax stylize: STYLE",
    "stylize a b --size": "Missing value for argument '--size'",
    "stylize a b --size big": "--size cannot be big;",
    "stylize a b --style-weight much": "--style-weight cannot be much;",
    "stylize a b --sizes 3": "Unrecognized options: --sizes, 3",
    "stylize a b --optimizer newton": "invalid choice 'newton' for argument '--optimizer'",
    "study a b --seed x": "--seed cannot be x;",
    "weights": "Expected one of {list, fetch, convert, normalise}",
}


@pytest.mark.parametrize("words", list(WRONG_WORDS))
def test_wrong_words_are_one_line_and_status_2(words, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    assert cli.main(words.split()) == 2
    out, err = capfd.readouterr()
    assert (
        out == ""
        and err.count("\n") == 1
        and err.startswith(f"nst-jax: error: {WRONG_WORDS[words]}")
    )
    assert ("? See nst-jax" if "?" in err else "; see nst-jax") in err and err.endswith(" --help\n")


DASHED = {
    "stylize -photo.jpg style.jpg": "-photo.jpg",
    "stylize photo.jpg -style.jpg": "-style.jpg",
    "stylize photo.jpg --style.webp": "--style.webp",
    "stylize photo.jpg -there": "-there",
    "stylize a.jpg b.jpg --output -out.png": "-out.png",
    "stylize a.jpg b.jpg --initial -there": "-there",
    "stylize a.jpg b.jpg --network -net.safetensors": "-net.safetensors",
    "demo --output -a.gif": "-a.gif",
    "rerun -a.json": "-a.json",
    "study -there b.jpg": "-there",
    "study a.jpg b.jpg --grid -grid.toml": "-grid.toml",
    "reconstruct -photo.jpg --output-dir out": "-photo.jpg",
    "weights convert -a.h5 --output b": "-a.h5",
    "weights normalise -there --output b": "-there",
}


@pytest.mark.parametrize("words", DASHED)
def test_a_file_whose_name_begins_with_a_dash_is_told_how_it_is_given(words, photos, capfd):
    """And given so, it is taken for the file."""
    (photos / "-there").mkdir()
    name = DASHED[words]
    assert cli.main(words.split()) == 2
    err = capfd.readouterr().err
    assert (
        f"; if {name} is a file, give it as ./{name}; see nst-jax" in err and err.count("\n") == 1
    )
    assert cli.main(words.replace(f" {name}", f" ./{name}").split()) == 2
    assert "; see nst-jax" not in capfd.readouterr().err  # but of the images, which are not there


@pytest.mark.parametrize(
    "words",
    ["stylize a.jpg b.jpg --sizes 3", "stylize a.jpg b.jpg --style-weight", "study a b -x -0.5"],
)
def test_a_wrong_option_is_not_taken_for_a_file(words, photos, capfd):
    assert cli.main(words.split()) == 2
    assert "give it as" not in capfd.readouterr().err


STYLIZE = "stylize photo.jpg painting.png --no-compilation-cache"
NOT_THERE = [(platform, STYLIZE) for platform in ("cuda", "CPU", "cpu,none", ",")]
NOT_THERE += [
    ("cuda", "study photo.jpg painting.png --network vgg16 --no-compilation-cache"),
    ("cuda", "demo"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("platform", "words"), NOT_THERE)
def test_a_platform_that_is_not_there_is_one_line_and_status_2(platform, words, photos):
    environment = os.environ | {"JAX_PLATFORMS": platform}
    ended = subprocess.run(
        [sys.executable, "-m", "nst_jax", *words.split()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode == 0:
        pytest.skip("it is there")
    (line,) = (line for line in ended.stderr.splitlines() if not line.startswith("network: "))
    assert ended.returncode == 2 and line.startswith(
        f"nst-jax: error: JAX_PLATFORMS is '{platform}', and JAX finds no such device"
    )
    assert "unset it" in line and ".[cuda]" in line and line.count("JAX_PLATFORMS") == 1
    assert {path.name for path in photos.iterdir()} == {"photo.jpg", "painting.png"}


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError, NotImplementedError])
def test_other_errors_are_not_hidden(kind, photos, monkeypatch):
    def fail(*args):
        raise kind("something else")

    monkeypatch.setattr("nst_jax.cli.stylize.run_job", fail)
    with pytest.raises(kind, match="something else"):
        cli.main(["stylize", "photo.jpg", "painting.png"])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["stylize"],
        ["demo"],
        ["evaluate"],
        ["weights"],
        ["weights", "convert"],
        ["stylize", "--preset", "notebook"],
    ],
)
def test_help_fits_80_columns(words, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--help"])
    assert ended.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_defaults_of_a_preset_are_in_its_help(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.main(["stylize", "--preset=notebook", "--help"])
    assert "2.5e-08)" in capsys.readouterr().out


def test_the_help_has_examples_and_the_version_is_told(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    examples = [line for line in capsys.readouterr().out.splitlines() if "  nst-jax s" in line]
    assert len(examples) == 3
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nst-jax 0.")


SAYS_ALL = """
import sys
from nst_jax import cli
for words in ("--help", "texture --help", "evaluate --help", "weights --help", "weights list"):
    sys.argv[1:] = words.split()
    try:
        assert cli.main() == 0
    except SystemExit as ended:
        assert not ended.code
"""


@pytest.mark.slow
def test_an_ascii_terminal_gets_all_help():
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    command = [sys.executable, "-c", SAYS_ALL]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    assert ended.stdout.isascii() and b"\\u" not in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("words", ["stylize --help", "weights list"])
def test_a_reader_who_has_read_enough_is_no_error(words):
    command = [sys.executable, "-m", "nst_jax", *words.split()]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert ended.stderr == b""


@pytest.mark.slow
def test_the_module_runs_as_a_program(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "nst_jax", "stylize", "a", "b"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        ended.returncode == 2
        and ended.stderr.startswith("nst-jax: error: a: cannot be read")
        and len(ended.stderr.splitlines()) == 1
    )


def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines(monkeypatch, capsys):
    ahead = lambda steps: (Scale((40, 48), steps),)
    losses = np.float32(2), None, np.float32(1.5)
    progress = nst.Progress(5, 10, 0.5, *losses, None, ahead(5))
    end = progress._replace(step=10, done=1.0, ahead=ahead(0))
    with ProgressDisplay() as display:
        display(progress)
        assert capsys.readouterr().err == ""  # too soon for a line
        display(end)
    assert capsys.readouterr().err == "step 10/10  loss 1.5\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    plan = RunPlan((Scale((20, 24), 2), Scale((40, 48), 8)), "cpu", 1, 2, "none of such a name")
    with ProgressDisplay() as display:
        display.start(plan)
        told = capsys.readouterr().err
        assert (
            "48 × 40 pixels, 10 steps (first 2 at 24 × 20), on cpu with 2 cores; the time" in told
        )
        assert "compiling for 24 × 20 pixels" in told and "|" not in told
        first = progress._replace(step=2, ahead=(Scale((20, 24), 0), Scale((40, 48), 8)))
        display(first)
        assert "compiling for 48 × 40 pixels" in capsys.readouterr().err
        display(progress)
        display(progress._replace(step=7, ahead=ahead(3)))
        bar = capsys.readouterr().err
        assert "left]" in bar and "compiling" not in bar
        display(end)
    assert "10/10 |" in (bar := capsys.readouterr().err) and "loss 1.5" in bar
    keep_rates("of a run before", {(20, 24): 1e-5})
    plan = RunPlan(plan.scales, "cpu", 1, 2, "of a run before")
    with ProgressDisplay() as display:
        display.start(plan)
        assert "starting at 24 × 20 pixels" in capsys.readouterr().err
        display(first)
        assert "compiling for 48 × 40 pixels" in capsys.readouterr().err


def test_the_callers_own_way_to_show_warnings_comes_back():
    before = warnings.showwarning
    assert cli.main(["weights", "list"]) == 0
    assert cli.main(["stylize", "missing.jpg", "missing.png"]) == 2
    assert warnings.showwarning is before
