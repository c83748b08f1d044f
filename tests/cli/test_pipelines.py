"""What programs that start the command, and people whom its files are passed on to, see."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from nst_jax import cli
from nst_jax.jobs.sharing import shareable
from tests.runs import QUICK, QUICK_STUDY

SGD = ["--num-steps", "2", "--optimizer", "sgd"]


def test_a_record_says_when_how_long_and_by_which_command(photos, capfd):
    absolute = str(photos / "photo.jpg")
    words = ["stylize", absolute, "painting.png", *QUICK, *SGD, f"--output={photos}/a b.png"]
    assert cli.main(words) == 0
    ran = json.loads(Path("a b.json").read_text())["ran"]
    started = datetime.fromisoformat(ran["started"])
    assert timedelta(0) <= datetime.now(UTC) - started < timedelta(minutes=5)
    assert 0 < ran["seconds"] < 300
    assert ran["command"] == " ".join(
        ["nst-jax stylize photo.jpg painting.png", *QUICK, *SGD, "'--output=a b.png'"]
    )
    assert cli.main(["rerun", "a b.json", "--output", "again.png"]) == 0


@pytest.mark.slow
def test_files_that_are_passed_on_hold_no_absolute_paths(photos, monkeypatch):
    """Of runs and of studies, with the styles and the network by absolute paths, too."""
    from nst_jax import weights
    from tests import reference

    (photos / "secret" / "below").mkdir(parents=True)
    secret = photos / "secret"
    network = secret / "below" / "net.safetensors"
    weights.write_params(network, reference.random_params("vgg16"), {"network": "vgg16"})
    for name in ("photo.jpg", "painting.png"):
        (photos / name).rename(secret / "below" / name)
    content, style = (str(secret / "below" / name) for name in ("photo.jpg", "painting.png"))
    net = ["--network", str(network)]
    quick = [word for word in QUICK if word not in ("--network", "vgg16")]
    words = ["stylize", content, style, style, *quick, *SGD, *net, "-o", f"{secret}/a.png"]
    assert cli.main(words) == 0
    quick = [word for word in QUICK_STUDY if word not in ("--network", "vgg16")]
    words = ["study", content, style, *quick, "--num-steps", "1", *net]
    assert cli.main([*words, "--output-dir", f"{secret}/study"]) == 0
    written = [
        path for path in secret.rglob("*") if path.is_file() and path.parent != network.parent
    ]
    assert len(written) == 2 + 5 + 2 + 2
    for path in written:
        data = path.read_bytes()
        assert str(photos).encode() not in data, path
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert not re.search(r'"/|below', json.dumps(dict(picture.info), default=repr)), (
                    path
                )
    assert cli.main(["rerun", f"{secret}/a.json", "--output", "b.png"]) == 0
    assert cli.main(["rerun", f"{secret}/study/study.json", "--output", "again"]) == 0


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../a/photo.jpg", "../a/photo.jpg"),
        ("/data/out/photo.jpg", "photo.jpg"),
        ("/data/in/photo.jpg", "../in/photo.jpg"),
        ("/elsewhere/photo.jpg", "photo.jpg"),
        ("/home/other/photo.jpg", "photo.jpg"),
    ],
)
def test_a_file_is_named_as_seen_from_where_that_is_written(path, named, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    record = {"inputs": {"style": [{"path": path, "sha256": "0"}]}}
    assert shareable(record, Path("/data/out"))["inputs"]["style"][0]["path"] == named
    (alone,) = shareable(record)["inputs"]["style"]
    assert alone["path"] == "photo.jpg"
    at_home = shareable({"path": "/home/other/photo.jpg"}, Path("/home/me/out"))
    assert at_home == {"path": "photo.jpg"}


@pytest.mark.slow
def test_a_memory_limit_is_what_a_run_must_do_with(photos, capfd):
    words = ["stylize", "photo.jpg", "painting.png", *QUICK, "--size", "320", *SGD]
    assert cli.main([*words, "--memory-limit", "0.01"]) == 2
    assert "this needs 0.2 GB, of which 0.0 GB are free; make room" in capfd.readouterr().err
    for wrong in ("0", "-1", "nan"):
        assert cli.main([*words, "--memory-limit", wrong]) == 2
        assert "--memory-limit is" in capfd.readouterr().err
    assert {path.name for path in photos.iterdir()} == {"photo.jpg", "painting.png"}


def events(capfd):
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_machines_get_progress_and_outcome_as_json_lines(photos, capfd):
    words = ["stylize", "photo.jpg", "painting.png", *QUICK, *SGD, "--json-lines"]
    assert cli.main(words) == 0
    start, *progress, end = events(capfd)
    assert start["event"] == "start" and start["of"] == "picture"
    assert (start["width"], start["height"], start["num_steps"]) == (40, 48, 2)
    assert {told["event"] for told in progress} == {"progress"}
    assert progress[-1]["step"] == progress[-1]["num_steps"] == 2 and progress[-1]["done"] == 1
    assert progress[-1]["seconds_left"] is None
    record = json.loads(Path("photo_painting.json").read_text())
    assert (end["event"], end["status"], end["reason"]) == ("end", 0, None)
    assert end["output"] == "photo_painting.png" and end["record"] == "photo_painting.json"
    assert end["loss"] == record["best_loss"]
    assert cli.main(words) == 2
    (error,) = events(capfd)
    assert error["event"] == "error" and error["status"] == 2
    assert error["message"].startswith("photo_painting.png: is there already")
    assert cli.main(["stylize", "photo.jpg", "--json-lines"]) == 2
    (error,) = events(capfd)
    assert error["message"].startswith("Missing from nst-jax stylize: STYLE")


@pytest.mark.slow
def test_a_lane_that_fails_makes_the_status_1(photos, capfd):
    words = ["study", "photo.jpg", "painting.png", *QUICK_STUDY, *SGD, "--json-lines"]
    assert cli.main([*words, "--style-weight", "5", "1e38", "--scaling", "paper"]) == 1
    told = events(capfd)
    lanes = [event for event in told if event["event"] == "lane"]
    assert [(lane["number"], lane["count"]) for lane in lanes] == [(1, 2), (2, 2)]
    assert lanes[0]["reason"] is None and "is not finite" in lanes[1]["reason"]
    assert told[-1]["event"] == "end" and told[-1]["status"] == 1
    assert list(told[-1]["failed"]) == ["style_weight=1e+38"]
    record = json.loads(Path("study/lanes/style_weight=1e+38.json").read_text())
    assert record["status"] == "failed" and "is not finite" in record["reason"]
    assert record["ran"]["command"].startswith("nst-jax study photo.jpg")
