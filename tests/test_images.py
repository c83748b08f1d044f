import io

import numpy as np
import pytest
from PIL import Image, ImageCms

import nst_jax as nst
from nst_jax.images import check_output


@pytest.fixture
def ramp():
    """24 × 40 pixels, 8 bits, whose corners tell which way is up."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([x * 6, y * 10, np.full_like(x, 90)], -1).astype(np.uint8)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def test_an_image_is_read_as_it_is(tmp_path, ramp):
    image = nst.read_image(saved(tmp_path / "a.png", Image.fromarray(ramp)))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, ramp.astype(np.float32) / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_marks_are_applied(orientation, tmp_path, ramp):
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # Pillow's transpositions
    stored = Image.fromarray(ramp) if undo is None else Image.fromarray(ramp).transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", stored, exif=exif)
    np.testing.assert_array_equal(nst.read_image(path), ramp.astype(np.float32) / 255)


def test_transparency_is_laid_over_white_and_said(tmp_path, ramp):
    layer = np.dstack([ramp, np.full(ramp.shape[:2], 255, np.uint8)])
    layer[:, :20, 3] = 0
    layer[:, 20:30, 3] = 128
    with pytest.warns(UserWarning, match="transparent parts were laid over white"):
        image = nst.read_image(saved(tmp_path / "a.png", Image.fromarray(layer)))
    np.testing.assert_array_equal(image[:, :20], 1)
    np.testing.assert_allclose(image[:, 20:30], (ramp[:, 20:30] * (128 / 255) + 255 * (127 / 255)) / 255, atol=1 / 255)
    np.testing.assert_array_equal(image[:, 30:], ramp[:, 30:].astype(np.float32) / 255)


def test_an_opaque_alpha_channel_is_no_news(tmp_path, ramp, recwarn):
    layer = np.dstack([ramp, np.full(ramp.shape[:2], 255, np.uint8)])
    np.testing.assert_allclose(nst.read_image(saved(tmp_path / "a.png", Image.fromarray(layer))), ramp / 255.0, atol=1e-6)
    assert not recwarn.list


def test_greyscale_palette_and_cmyk(tmp_path, ramp):
    grey = nst.read_image(saved(tmp_path / "g.png", Image.fromarray(ramp[..., 0])))
    np.testing.assert_allclose(grey, np.repeat(ramp[..., :1], 3, -1) / 255.0, atol=1e-6)
    flat = (ramp // 64) * 64
    palette = Image.fromarray(flat).quantize(64, dither=Image.Dither.NONE)
    np.testing.assert_allclose(nst.read_image(saved(tmp_path / "p.png", palette)), flat / 255.0, atol=0.02)
    cmyk = saved(tmp_path / "c.tif", Image.fromarray(ramp).convert("CMYK"))
    np.testing.assert_allclose(nst.read_image(cmyk), ramp / 255.0, atol=0.01)


def test_sixteen_bits_are_scaled_not_cut(tmp_path):
    deep = np.linspace(0, 65535, 24 * 40).reshape(24, 40).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        image = nst.read_image(saved(tmp_path / name, Image.fromarray(deep)))
        np.testing.assert_allclose(image[..., 1], deep / 65535, atol=0.003)


def test_sixteen_bit_colour(tmp_path, ramp):
    tifffile = pytest.importorskip("tifffile")
    deep = ramp.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    np.testing.assert_allclose(nst.read_image(tmp_path / "a.tif"), ramp / 255.0, atol=0.005)


def test_a_float_image_with_a_hole_is_refused(tmp_path):
    values = np.full((24, 24), 0.5, np.float32)
    np.testing.assert_allclose(nst.read_image(saved(tmp_path / "a.tif", Image.fromarray(values))), 0.5, atol=0.005)
    values[3, 3] = np.nan
    with pytest.raises(nst.ImageError, match="values that are not finite"):
        nst.read_image(saved(tmp_path / "b.tif", Image.fromarray(values)))


@pytest.mark.parametrize(("most", "scale"), [(1.0, 1), (1.5, 1), (255.0, 255), (65535.0, 65535)])
def test_float_images_are_read_by_the_range_that_they_fill(most, scale, tmp_path):
    values = np.linspace(0, most, 24 * 24, dtype=np.float32).reshape(24, 24)
    found = nst.read_image(saved(tmp_path / "a.tif", Image.fromarray(values)))
    np.testing.assert_allclose(found[..., 0], np.clip(values / scale, 0, 1), atol=0.5 / 255 + 1e-6)


def test_of_an_animation_the_first_frame_is_taken_and_said(tmp_path):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match=r"a.gif: of its several frames, the first was taken"):
        np.testing.assert_allclose(nst.read_image(tmp_path / "a.gif")[5, 5], (1, 0, 0), atol=0.02)


def test_postscript_runs_nothing(tmp_path, monkeypatch):
    """Pillow reads it by running Ghostscript on it."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    stream = io.BytesIO()
    Image.new("RGB", (40, 40)).save(stream, "EPS")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    with pytest.raises(nst.ImageError, match="not an image in a known format"):
        nst.read_image(tmp_path / "a.png")
    assert not (tmp_path / "ran").exists()


def test_the_bound_on_pixels_is_the_one_that_was_set(tmp_path, ramp, monkeypatch):
    path = saved(tmp_path / "a.png", Image.fromarray(ramp))  # of 960 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow itself refuses from twice that
    assert nst.read_image(path, max_pixels=960).shape == (24, 40, 3) and Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(nst.ImageError, match="has more than 959 pixels"):
        nst.read_image(path, max_pixels=959)


def test_an_embedded_profile_is_converted_to_srgb(tmp_path, ramp):
    """Against a profile whose red and blue are exchanged: built by swapping the colorants of sRGB's."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = {tag: profile.index(tag) for tag in (b"rXYZ", b"bXYZ")}
    red, blue = (profile[at[tag] + 4 : at[tag] + 12] for tag in (b"rXYZ", b"bXYZ"))
    profile[at[b"rXYZ"] + 4 : at[b"rXYZ"] + 12], profile[at[b"bXYZ"] + 4 : at[b"bXYZ"] + 12] = blue, red
    path = saved(tmp_path / "a.png", Image.fromarray(ramp), icc_profile=bytes(profile))
    np.testing.assert_allclose(nst.read_image(path), ramp[..., ::-1] / 255.0, atol=0.02)


def test_a_damaged_profile_is_said_and_ignored(tmp_path, ramp):
    path = saved(tmp_path / "a.png", Image.fromarray(ramp), icc_profile=b"no profile")
    with pytest.warns(UserWarning, match="colour profile does not fit"):
        np.testing.assert_allclose(nst.read_image(path), ramp / 255.0, atol=1e-6)


def test_sizes(tmp_path, ramp):
    path = saved(tmp_path / "a.png", Image.fromarray(ramp))
    assert nst.read_image(path, size=80).shape == (48, 80, 3)
    assert nst.read_image(path, shape=(30, 30)).shape == (30, 30, 3)
    assert nst.read_image(path, rows=31).shape == (31, int(40 * 31 / 24), 3)
    doubled = nst.read_image(path, size=80, resample="nearest")
    np.testing.assert_array_equal(doubled[::2, ::2], ramp.astype(np.float32) / 255)
    fine = np.zeros((200, 200, 3), np.uint8)
    fine[::2] = 255
    smooth = nst.read_image(saved(tmp_path / "b.png", Image.fromarray(fine)), size=50)
    np.testing.assert_allclose(smooth[5:-5], 0.5, atol=0.05)  # a filter that drops rows would leave black or white


@pytest.mark.parametrize("ending", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"])
def test_written_images_read_back(ending, tmp_path):
    smooth = np.stack(np.broadcast_arrays(*np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 1, 32)), 0.5), -1)
    path = tmp_path / "deep" / f"a{ending}"
    nst.write_image(path, smooth + np.array([0.3, 0, 0]))
    tolerance = 0.5 / 255 + 1e-6 if ending in (".png", ".tif", ".tiff") else 0.06
    np.testing.assert_allclose(nst.read_image(path), np.clip(smooth + np.array([0.3, 0, 0]), 0, 1), atol=tolerance)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_png_carries_its_texts(tmp_path):
    nst.write_image(tmp_path / "a.png", np.zeros((16, 16, 3)), {"nst_jax": "{}"})
    assert Image.open(tmp_path / "a.png").text == {"nst_jax": "{}"}


def bomb():
    """A PNG that claims 60,000 × 60,000 pixels in a few hundred bytes."""
    data = io.BytesIO()
    Image.new("L", (16, 16)).save(data, "PNG")
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return data.getvalue()[:8] + chunk + data.getvalue()[33:]


def noisy(format_name):
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(data, format_name)
    return data.getvalue()


BAD_FILES = {
    "text.jpg": (b"this is no picture", "not an image in a known format"),
    "empty.png": (b"", "not an image in a known format"),
    "half.png": (noisy("PNG")[:4000], "cannot be read"),
    "half.jpg": (noisy("JPEG")[:2000], "cannot be read"),
    "half.webp": (noisy("WEBP")[:1500], "a.*"),
    "half.tif": (noisy("TIFF")[:6000], "a.*"),
    "bomb.png": (bomb(), "more than 178,000,000 pixels"),
}


@pytest.mark.parametrize("name", list(BAD_FILES))
def test_a_bad_file_is_named_with_what_is_wrong(name, tmp_path):
    content, message = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(nst.ImageError, match=f"{name}: .*{message}") as caught:
        nst.read_image(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_too_small_too_thin_and_missing(tmp_path, ramp):
    with pytest.raises(nst.ImageError, match="3 × 3 pixels is too small"):
        nst.read_image(saved(tmp_path / "a.png", Image.fromarray(ramp[:3, :3])))
    with pytest.raises(nst.ImageError, match="would be 64 × 5 pixels"):
        nst.read_image(saved(tmp_path / "b.png", Image.new("RGB", (400, 30))), size=64)
    with pytest.raises(nst.ImageError, match="size is -3; it must be at least 16"):
        nst.read_image(tmp_path / "a.png", size=-3)
    with pytest.raises(nst.ImageError, match=r"none.png: cannot be read \(No such file or directory\)"):
        nst.read_image(tmp_path / "none.png")


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path, message in (
        (tmp_path / "a.gif", "must end in .png"),
        (tmp_path, "must end in"),
        (tmp_path / "file" / "a.png", "cannot be written"),
    ):
        with pytest.raises(nst.ImageError, match=message):
            check_output(path)
        with pytest.raises(nst.ImageError, match=message):
            nst.write_image(path, np.zeros((16, 16, 3)))
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_sheet_brings_images_to_one_height():
    sheet = nst.make_sheet([np.zeros((10, 20, 3)), np.ones((40, 20, 3)) * 0.5], gap=4)
    assert sheet.shape == (40, 80 + 4 + 20, 3)
    np.testing.assert_array_equal(sheet[:, 80:84], 1)
    np.testing.assert_allclose(sheet[:, 84:], 0.5, atol=1 / 255)
