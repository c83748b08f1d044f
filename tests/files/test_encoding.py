"""Written files, read by other programs than those that wrote them."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

import nst_jax as nst
from nst_jax.files.decoding import SRGB_PROFILE
from nst_jax.files.metadata import read_texts

ALL = (".png", ".jpg", ".webp", ".tif")
DEEP = (".png", ".tif")
FORMS = [*((ending, 8) for ending in ALL), *((ending, 16) for ending in DEEP)]
ORIGIN = {
    "Copyright": "© 2024 Stéfan",
    "Artist": "Stéfan, ほか",
    "DateTimeOriginal": "2024:05:01 12:30:00",
}


@pytest.fixture
def ramp():
    """24 × 40 pixels whose values lie between those of 8 bits."""
    y, x = np.mgrid[0:24, 0:40]
    return (np.stack([x * 1571 + y, y * 2719 + x, (x * y * 71) % 65536], -1) / 65535).astype("f4")


def png_pixels(path):
    """The pixels of a PNG without interlacing by its specification, filter by filter."""
    data, at, body, head = path.read_bytes(), 8, b"", b""
    while at < len(data):
        (length,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        chunk = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(
            name + chunk
        )
        head, body = chunk if name == b"IHDR" else head, body + chunk * (name == b"IDAT")
        at += 12 + length
    width, height, bits, colour, *_ = struct.unpack(">IIBBBBB", head)
    channels = {2: 3, 6: 4}[colour]
    stride = width * channels * bits // 8
    rows, above = [], [0] * stride
    for line in np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + stride).tolist():
        assert line[0] == 2
        above = [(value + up) % 256 for value, up in zip(line[1:], above, strict=True)]
        rows.append(above)
    flat = np.array(rows, np.uint8).view(">u2" if bits == 16 else np.uint8)
    return flat.reshape(height, width, channels)


def test_sixteen_bits_of_a_png_are_all_there(tmp_path, ramp):
    nst.write_image(tmp_path / "a.png", ramp, bits=16)
    np.testing.assert_array_equal(png_pixels(tmp_path / "a.png"), np.round(ramp * 65535))


def test_sixteen_bits_of_a_tiff_are_all_there(tmp_path, ramp):
    tifffile = pytest.importorskip("tifffile")
    nst.write_image(tmp_path / "a.tif", ramp, bits=16)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), np.round(ramp * 65535))


@pytest.mark.parametrize("ending", DEEP)
def test_sixteen_bits_keep_what_is_transparent(ending, tmp_path, ramp):
    alpha = np.linspace(0, 1, 24 * 40, dtype=np.float32).reshape(24, 40)
    path = tmp_path / f"a{ending}"
    nst.write_image(path, ramp, alpha=alpha, bits=16)
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        np.testing.assert_allclose(np.asarray(image)[..., 3], alpha * 255, atol=1)
    if ending == ".png":
        np.testing.assert_array_equal(png_pixels(path)[..., 3], np.round(alpha * 65535))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("ending", DEEP)
def test_what_was_written_is_read(ending, bits, tmp_path, ramp):
    nst.write_image(tmp_path / f"a{ending}", ramp, bits=bits)
    # Pillow keeps the upper 8 of 16 bits.
    atol = 0.5 / 255 if bits == 8 else 1 / 256
    np.testing.assert_allclose(nst.read_image(tmp_path / f"a{ending}"), ramp, atol=atol + 1e-6)


@pytest.mark.parametrize("ending", (".jpg", ".webp"))
def test_formats_of_eight_bits_say_so(ending, tmp_path, ramp):
    with pytest.raises(nst.ImageError, match=r"8 bits a channel, not 16; give .*\.png or \.tif"):
        nst.write_image(tmp_path / f"a{ending}", ramp, bits=16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"bits": 12}, "bits is 12; it must be one of 8, 16"),
        ({"quality": 0}, "quality is 0; it must be a whole number, between 1 and 100"),
        ({"dpi": 0}, "dpi is 0; it must be a whole number, between 1 and 65535"),
    ],
)
def test_how_no_image_can_be_written(how, message, tmp_path, ramp):
    with pytest.raises(nst.ConfigError, match=message):
        nst.write_image(tmp_path / "a.png", ramp, **how)


@pytest.mark.parametrize(("ending", "bits"), FORMS)
def test_every_file_has_the_profile_of_srgb(ending, bits, tmp_path, ramp):
    nst.write_image(tmp_path / f"a{ending}", ramp, bits=bits)
    with Image.open(tmp_path / f"a{ending}") as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert image.info["icc_profile"] == SRGB_PROFILE  # the same at any time


def test_a_jpeg_keeps_the_colour_of_each_pixel(tmp_path, ramp):
    red_and_blue = np.zeros((32, 32, 3), np.float32)
    red_and_blue[:, ::2, 0] = red_and_blue[:, 1::2, 2] = 1
    nst.write_image(tmp_path / "a.jpg", red_and_blue)
    # halved colour would make all of it violet, half a range off
    assert np.abs(nst.read_image(tmp_path / "a.jpg") - red_and_blue).max() < 0.1
    with Image.open(tmp_path / "a.jpg") as image:
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}


@pytest.mark.parametrize("ending", (".jpg", ".webp"))
def test_quality_is_that_of_the_file(ending, tmp_path, rng):
    noise = rng.random((64, 64, 3))
    sizes = []
    for quality in (20, 60, 95):
        nst.write_image(tmp_path / f"a{ending}", noise, quality=quality)
        sizes.append((tmp_path / f"a{ending}").stat().st_size)
    assert sizes == sorted(sizes) and sizes[0] < sizes[2] / 2


@pytest.mark.parametrize(("ending", "bits"), FORMS)
def test_texts_and_resolution_lie_in_every_format(ending, bits, tmp_path, ramp):
    path = tmp_path / f"a{ending}"
    settings = {"style_weight": 20.0, "inputs": {"content": "Köln ほか.jpg"}}
    texts = {"Software": "nst-jax 1.2", "nst_jax": settings}
    nst.write_image(path, ramp, texts, bits=bits, dpi=300, origin=ORIGIN)
    found = read_texts(path)
    assert found["Software"] == "nst-jax 1.2" and json.loads(found["nst_jax"]) == settings
    assert nst.read_origin(path) == ORIGIN
    with Image.open(path) as image:
        if ending == ".webp":
            assert image.getexif()[0x011A] == image.getexif()[0x011B] == 300
        else:
            np.testing.assert_allclose([float(side) for side in image.info["dpi"]], 300, rtol=1e-3)


@pytest.mark.parametrize("ending", ALL)
def test_the_place_of_a_photograph_is_not_carried_over(ending, tmp_path, ramp):
    exif = Image.Exif()
    exif[0x8298] = "all mine"
    exif.get_ifd(0x8825)[1] = "N"
    Image.fromarray((ramp * 255).astype("u1")).save(tmp_path / "photo.jpg", exif=exif)
    origin = nst.read_origin(tmp_path / "photo.jpg")
    assert origin == {"Copyright": "all mine"}
    nst.write_image(tmp_path / f"a{ending}", ramp, origin=origin)
    with Image.open(tmp_path / f"a{ending}") as image:
        assert image.getexif()[0x8298] == "all mine" and not image.getexif().get_ifd(0x8825)


@pytest.mark.parametrize("ending", ALL)
def test_nothing_is_said_of_what_is_not_known(ending, tmp_path, ramp):
    nst.write_image(tmp_path / f"a{ending}", ramp)
    assert nst.read_origin(tmp_path / f"a{ending}") == {} == read_texts(tmp_path / f"a{ending}")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # as Pillow says of it
def test_damaged_exif_is_as_good_as_none(tmp_path, ramp):
    picture = Image.fromarray((ramp * 255).astype("u1"))
    picture.save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\1\2\3")
    assert nst.read_origin(tmp_path / "a.jpg") == {}
    with pytest.raises(nst.ImageError, match=r"none.jpg: cannot be read \(No such file"):
        nst.read_origin(tmp_path / "none.jpg")
