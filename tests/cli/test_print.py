"""Results as files for print and archive."""

import numpy as np
import pytest
from PIL import Image

import nst_jax as nst
from nst_jax import cli
from nst_jax.files.metadata import read_texts
from tests.runs import QUICK


@pytest.fixture
def of_a_camera(photos, rng):
    """The photograph as a camera writes it, larger than the runs are."""
    exif = Image.Exif()
    exif[0x8298], exif[0x013B] = "2024 A. Person", "A. Person"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 12:30:00"
    exif.get_ifd(0x8825)[1] = "N"
    pixels = (rng.random((60, 50, 3)) * 255).astype(np.uint8)
    Image.fromarray(pixels).save("photo.jpg", exif=exif)
    return photos


def stylize(*words):
    return cli.main(["stylize", "photo.jpg", "painting.png", *QUICK, *words])


def test_a_result_of_sixteen_bits_says_whose_it_is_and_is_made_again(of_a_camera):
    tifffile = pytest.importorskip("tifffile")
    assert stylize("--bits", "16", "--dpi", "240", "--output", "out.tif") == 0
    pixels = tifffile.imread("out.tif")
    assert pixels.dtype == np.uint16 and len(np.unique(pixels % 256)) > 200
    with Image.open("out.tif") as picture:
        assert picture.info["dpi"] == (240, 240) and not picture.getexif().get_ifd(0x8825)
    assert nst.read_origin("out.tif") == {
        "Copyright": "2024 A. Person",
        "Artist": "A. Person",
        "DateTimeOriginal": "2024:05:01 12:30:00",
    }
    assert cli.main(["rerun", "out.json"]) == 0
    assert (of_a_camera / "out_rerun.tif").read_bytes() == (of_a_camera / "out.tif").read_bytes()


@pytest.mark.parametrize("ending", (".jpg", ".webp"))
def test_settings_lie_in_pictures_of_every_format(ending, of_a_camera):
    assert stylize("--output", f"out{ending}", "--quality", "80") == 0
    texts = read_texts(f"out{ending}")
    assert texts["Software"].startswith("nst-jax ") and '"quality": 80' in texts["nst_jax"]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ("default", "notebook"))
def test_the_size_can_be_the_photographs(preset, of_a_camera, monkeypatch):
    words = ["--preset", preset, "--size", "original", "--num-steps", "1", "--save-every", "0"]
    assert stylize(*words, "--output", "out.png") == 0
    with Image.open("out.png") as picture:
        assert picture.size == (50, 60)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "out.jpg", "--bits", "16"], "out.jpg: holds 8 bits a channel, not 16; give"),
        (["--bits", "9"], "--bits is 9; it must be one of 8, 16"),
        (["--quality", "101"], "--quality is 101; it must be a whole number, between 1 and 100"),
        (["--dpi", "0"], "--dpi is 0; it must be a whole number, between 1 and 65535"),
    ],
)
def test_files_that_cannot_be_are_refused_before_the_run(words, message, of_a_camera, capfd):
    before = set(of_a_camera.iterdir())
    assert stylize(*words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line and set(of_a_camera.iterdir()) == before
