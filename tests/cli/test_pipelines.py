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


def test_files_that_are_passed_on_hold_no_absolute_paths(photos, monkeypatch):
    """Of runs and of studies, with the styles and the network by absolute paths, too."""
    from nst_jax import weights
    from tests import reference

    (photos / "secret" / "below").mkdir(parents=True)
    secret = photos / "secret"
    network = secret / "below" / "net.safetensors"
    weights.write_params(network, reference.random_params("vgg16"), network="vgg16")
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
                assert not re.search(r'"/|below', json.dumps(dict(picture.info))), path
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


def test_a_memory_limit_is_what_a_run_must_do_with(photos, capfd):
    words = ["stylize", "photo.jpg", "painting.png", *QUICK, "--size", "320", *SGD]
    assert cli.main([*words, "--memory-limit", "0.01"]) == 2
    assert "this needs 0.2 GB, of which 0.0 GB are free; make room" in capfd.readouterr().err
    for wrong in ("0", "-1", "nan"):
        assert cli.main([*words, "--memory-limit", wrong]) == 2
        assert "--memory-limit is" in capfd.readouterr().err
    assert {path.name for path in photos.iterdir()} == {"photo.jpg", "painting.png"}
