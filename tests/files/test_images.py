import gc
import io
import itertools
import struct
import types
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from PIL import Image, ImageCms

import nst_jax as nst
from nst_jax.files.images import check_output
from nst_jax.files.sheets import make_thumbnail
from nst_jax.report.perceptual import lpips_distance


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
    # Pillow's transpositions
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
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
    np.testing.assert_allclose(
        image[:, 20:30], (ramp[:, 20:30] * (128 / 255) + 255 * (127 / 255)) / 255, atol=1 / 255
    )
    np.testing.assert_array_equal(image[:, 30:], ramp[:, 30:].astype(np.float32) / 255)


def test_an_opaque_alpha_channel_is_no_news(tmp_path, ramp, recwarn):
    layer = np.dstack([ramp, np.full(ramp.shape[:2], 255, np.uint8)])
    np.testing.assert_allclose(
        nst.read_image(saved(tmp_path / "a.png", Image.fromarray(layer))), ramp / 255.0, atol=1e-6
    )
    assert not recwarn.list


def test_greyscale_palette_and_cmyk(tmp_path, ramp):
    grey = nst.read_image(saved(tmp_path / "g.png", Image.fromarray(ramp[..., 0])))
    np.testing.assert_allclose(grey, np.repeat(ramp[..., :1], 3, -1) / 255.0, atol=1e-6)
    flat = (ramp // 64) * 64
    palette = Image.fromarray(flat).quantize(64, dither=Image.Dither.NONE)
    np.testing.assert_allclose(
        nst.read_image(saved(tmp_path / "p.png", palette)), flat / 255.0, atol=0.02
    )
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
    np.testing.assert_allclose(
        nst.read_image(saved(tmp_path / "a.tif", Image.fromarray(values))), 0.5, atol=0.005
    )
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


def test_an_embedded_profile_is_converted_to_srgb(tmp_path, ramp):
    """Against a profile whose red and blue are exchanged: built by swapping the colorants of
    sRGB's."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = {tag: profile.index(tag) for tag in (b"rXYZ", b"bXYZ")}
    red, blue = (profile[at[tag] + 4 : at[tag] + 12] for tag in (b"rXYZ", b"bXYZ"))
    profile[at[b"rXYZ"] + 4 : at[b"rXYZ"] + 12] = blue
    profile[at[b"bXYZ"] + 4 : at[b"bXYZ"] + 12] = red
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
    # a filter that drops rows would leave black or white
    np.testing.assert_allclose(smooth[5:-5], 0.5, atol=0.05)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"])
def test_written_images_read_back(ending, tmp_path):
    smooth = np.stack(
        np.broadcast_arrays(*np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 1, 32)), 0.5), -1
    )
    path = tmp_path / "deep" / f"a{ending}"
    nst.write_image(path, smooth)
    tolerance = 0.5 / 255 + 1e-6 if ending in (".png", ".tif", ".tiff") else 0.06
    np.testing.assert_allclose(nst.read_image(path), smooth, atol=tolerance)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_png_carries_its_texts(tmp_path):
    nst.write_image(tmp_path / "a.png", np.zeros((16, 16, 3)), {"nst_jax": "{}"})
    assert Image.open(tmp_path / "a.png").text == {"nst_jax": "{}"}


def bomb():
    """A PNG that claims 60,000 × 60,000 pixels in a few hundred bytes."""
    data = io.BytesIO()
    Image.new("L", (16, 16)).save(data, "PNG")
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = (
        struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    return data.getvalue()[:8] + chunk + data.getvalue()[33:]


def noisy(format_name):
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(
        data, format_name
    )
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
    with pytest.raises(
        nst.ImageError, match=r"none.png: cannot be read \(No such file or directory\)"
    ):
        nst.read_image(tmp_path / "none.png")
    with pytest.raises(nst.ImageError, match=r"aa.png: cannot be .*; did you mean .*/a.png\?$"):
        nst.read_image(tmp_path / "aa.png")
    with pytest.raises(nst.ImageError, match=r"\(No such file or directory\); check the path$"):
        nst.read_image(tmp_path / "none" / "a.png")


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


FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")


def encoded(image, format_name, **options):
    data = io.BytesIO()
    image.save(data, format_name, **options)
    return data.getvalue()


def pictures(ramp):
    """A file of each format, of each that can have them with several frames, and such as ask
    Pillow's own bound; all of 960 pixels."""
    image, other = Image.fromarray(ramp), Image.fromarray(ramp[::-1].copy())
    frames = {"save_all": True, "append_images": [other]}
    yield from ((name, encoded(image, name)) for name in FORMATS)
    yield from (
        (f"{name}, frames", encoded(image, name, **frames))
        for name in ("PNG", "WEBP", "TIFF", "GIF", "MPO")
    )
    yield "GIF, disposal", encoded(image, "GIF", disposal=2, **frames)
    yield "GIF, transparent", encoded(image, "GIF", disposal=3, transparency=0, **frames)
    small = bytearray(encoded(image, "GIF"))
    small[6:10] = struct.pack("<HH", 20, len(ramp))  # the canvas, which the frame then enlarges
    yield "GIF, larger frame", bytes(small)
    yield "TIFF, compressed", encoded(image, "TIFF", compression="tiff_lzw")
    yield "WEBP, lossless", encoded(image, "WEBP", lossless=True)


PICTURES = [name for name, _ in pictures(np.zeros((24, 40, 3), np.uint8))]


@pytest.mark.parametrize("name", PICTURES)
def test_the_bound_on_pixels_is_the_one_that_was_set(name, tmp_path, ramp, monkeypatch):
    """Whatever Pillow's own is, which also warns, and with warnings taken for errors."""
    (tmp_path / "a").write_bytes(dict(pictures(ramp))[name])
    for pillows in (10, 700, 960 * 1000):  # Pillow itself refuses from twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "a: |.*/a: ")  # our own notes
            assert nst.read_image(tmp_path / "a", max_pixels=960).shape == (24, 40, 3)
            with pytest.raises(nst.ImageError, match="a: has more than 959 pixels"):
                nst.read_image(tmp_path / "a", max_pixels=959)
        assert pillows == Image.MAX_IMAGE_PIXELS


@pytest.mark.filterwarnings("ignore:.*several frames|.*transparent")
def test_threads_read_within_their_own_bounds_and_touch_nothing_shared(tmp_path, ramp, monkeypatch):
    for name, data in pictures(ramp):
        (tmp_path / name).write_bytes(data)
    touched = []

    class Watched(types.ModuleType):
        def __setattr__(self, name, value):
            touched.append(name)
            super().__setattr__(name, value)

    class WatchedFilters(warnings.catch_warnings):
        def __enter__(self):
            touched.append("the filters of warnings")
            return super().__enter__()

    def read(name, bound):
        try:
            return nst.read_image(tmp_path / name, max_pixels=bound).shape == (24, 40, 3)
        except nst.ImageError as error:
            return f"more than {bound} pixels" not in str(error) and str(error)

    bounds = (100, 959, 960, 10_000, 1_000_000_000)
    cases = list(itertools.product(PICTURES, bounds)) * 4
    with monkeypatch.context() as patched, ThreadPoolExecutor(16) as threads:
        patched.setattr(Image, "__class__", Watched)
        patched.setattr(warnings, "catch_warnings", WatchedFilters)
        outcomes = list(threads.map(read, *zip(*cases, strict=True)))
        assert not touched
    assert outcomes == [bound >= 960 for _, bound in cases]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(
    "outcome", ["read", "too many pixels", "too small", "truncated", "header only"]
)
def test_no_file_stays_open(name, outcome, tmp_path, ramp):
    path = tmp_path / "a"
    data = dict(pictures(ramp[:8] if outcome == "too small" else ramp))[name]
    path.write_bytes(
        data[: {"truncated": len(data) * 2 // 3, "header only": 30}.get(outcome, len(data))]
    )
    gc.disable()  # which would close what has been forgotten
    error = None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        try:
            nst.read_image(path, max_pixels=900 if outcome == "too many pixels" else 10_000)
        except nst.ImageError as raised:
            error = raised  # with all that its traceback holds
        finally:
            gc.enable()
    assert not [warning for warning in warned if issubclass(warning.category, ResourceWarning)]
    assert error is None if outcome == "read" else error or outcome == "truncated"
    assert str(path) not in [file.path for file in psutil.Process().open_files()]


def noted(ramp):
    """For each note, a file that draws it."""
    image, alpha = Image.fromarray(ramp), Image.new("L", (40, 24), 100)
    transparent = image.copy()
    transparent.putalpha(alpha)
    dark = Image.fromarray(np.full((24, 40), 4095, np.uint16))
    yield "transparent parts were laid over white", encoded(transparent, "PNG")
    yield (
        "of its several frames, the first was taken",
        encoded(image, "GIF", save_all=True, append_images=[alpha]),
    )
    yield (
        "its colour profile does not fit the image",
        encoded(image, "PNG", icc_profile=b"no profile"),
    )
    yield "its brightest value is 4095 of 65535", encoded(dark, "PNG")


NOTES = [note for note, _ in noted(np.zeros((24, 40, 3), np.uint8))]


@pytest.mark.parametrize("note", NOTES)
def test_a_note_is_itself_where_warnings_are_errors(note, tmp_path, ramp):
    (tmp_path / "a").write_bytes(dict(noted(ramp))[note])
    with pytest.warns(UserWarning, match=f"a: {note}"):
        nst.read_image(tmp_path / "a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=f"a: {note}"):
            nst.read_image(tmp_path / "a")


def png(pixels, *chunks):
    """A PNG of big-endian 16-bit channels; of chunks, each a type and what it holds."""
    height, width, channels = pixels.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    made = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def test_what_pillow_warns_of_is_itself_where_warnings_are_errors(tmp_path, ramp):
    # an animation of no frames
    (tmp_path / "a").write_bytes(png(ramp.astype(np.uint16) * 257, (b"acTL", bytes(8))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="Invalid APNG"):
            nst.read_image(tmp_path / "a")


def grey_profile(gamma):
    """An ICC profile of grey with a power law, as short as may be."""
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D),
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2),
        b"cprt": b"text" + bytes(4) + b"none" + bytes(4),
    }
    table, body, offset = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    header = struct.pack(
        ">I4xI4s4s4s12x4s", offset + len(body), 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"acsp"
    )
    white = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return (header + bytes(28) + white).ljust(128, b"\0") + table + body


@pytest.mark.parametrize("extra", ["profile", "transparency", "both", "neither"])
@pytest.mark.parametrize("kind", ["grey PNG", "grey TIFF", "grey and alpha PNG", "colour PNG"])
def test_sixteen_bits_are_treated_as_eight_are(kind, extra, tmp_path, ramp, recwarn):
    """A profile, transparency, and the notes on them."""
    has_profile, is_transparent = extra in ("profile", "both"), extra in ("transparency", "both")
    if kind == "grey TIFF" and is_transparent:
        pytest.skip("no such thing")
    chosen = tuple(map(int, ramp[8, 20])) if kind == "colour PNG" else int(ramp[0, 10, 0])
    options = {"icc_profile": grey_profile(1.0)} if has_profile else {}
    options |= {"transparency": chosen} if is_transparent and "alpha" not in kind else {}
    pixels = ramp if kind == "colour PNG" else ramp[..., :1]
    if "alpha" in kind:
        pixels = np.dstack(
            [
                pixels,
                np.where(ramp[..., 1:2] > 100, 30, 255)
                if is_transparent
                else np.full_like(pixels, 255),
            ]
        ).astype(np.uint8)
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    (tmp_path / "8").write_bytes(encoded(image, kind.split()[-1], **options))
    deep = pixels.astype(np.uint16) * 257
    if kind == "grey TIFF":
        (tmp_path / "16").write_bytes(encoded(Image.fromarray(deep.squeeze(-1)), "TIFF", **options))
    else:
        chunks = (
            [(b"iCCP", b"g\0\0" + zlib.compress(options["icc_profile"]))] if has_profile else []
        )
        if "transparency" in options:
            chunks.append((b"tRNS", (np.atleast_1d(chosen) * 257).astype(">u2").tobytes()))
        (tmp_path / "16").write_bytes(png(deep, *chunks))
    plain = nst.read_image(tmp_path / "8")
    notes = [str(warning.message).replace("/8:", "/16:") for warning in recwarn.list]
    recwarn.clear()
    np.testing.assert_allclose(nst.read_image(tmp_path / "16"), plain, atol=1.01 / 255)
    assert [str(warning.message) for warning in recwarn.list] == notes
    assert any("transparent parts" in note for note in notes) == is_transparent
    if has_profile and kind != "colour PNG":  # which a grey profile does not fit
        assert not any("does not fit" in note for note in notes)
        # linear light, which is brighter than it looks
        assert plain[12, 20, 0] > ramp[12, 20, 0] / 255 + 0.1 or is_transparent


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 13])
@pytest.mark.parametrize(
    "kind", ["grey PNG", "grey TIFF", "grey and alpha PNG", "colour PNG", "float TIFF"]
)
def test_fewer_bits_than_the_file_has_draw_a_note(bits, kind, tmp_path, rng, recwarn):
    values = rng.integers(0, 2**bits, (24, 40, {"gr": 1, "co": 3, "fl": 1}[kind[:2]]), np.uint16)
    values[3, 5] = 2**bits - 1
    if kind == "float TIFF" and bits == 8:
        pytest.skip("numbers with a point up to 255 are of 8 bits")
    if kind.endswith("TIFF"):
        image = Image.fromarray(
            values[..., 0].astype(np.float32) if kind == "float TIFF" else values[..., 0]
        )
        (tmp_path / "a").write_bytes(encoded(image, "TIFF"))
    else:
        (tmp_path / "a").write_bytes(
            png(np.dstack([values, np.full((24, 40), 65535)]) if "alpha" in kind else values)
        )
    found = nst.read_image(tmp_path / "a")
    # all that is left of it is black
    if kind in ("colour PNG", "grey and alpha PNG") and bits == 8:
        assert not recwarn.list and not found.any()
        return
    (note,) = (str(warning.message) for warning in recwarn.list)
    assert (
        f"{2**bits - 1} of 65535, so it is dark" in note
        and "scale its values up to 65535 first" in note
    )
    # nothing was guessed
    np.testing.assert_allclose(found[..., 0], values[..., 0] / 65535, atol=1.01 / 255)


@pytest.mark.parametrize("most", [0, 8192, 20000, 65535])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_ordinary_dark_image_draws_no_note(most, channels, tmp_path, recwarn):
    pixels = np.full((24, 40, channels), most // 2, np.uint16)
    pixels[3, 5] = most
    if channels in (2, 4):
        pixels[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(png(pixels))
    nst.read_image(tmp_path / "a.png")
    # of 8 bits
    Image.fromarray(np.full((24, 40, 3), most // 2**13, np.uint8)).save(tmp_path / "b.png")
    nst.read_image(tmp_path / "b.png")
    assert not recwarn.list


GOOD = np.random.default_rng(0).random((40, 48, 3)).astype(np.float32)

NO_IMAGES = {
    "bytes": (GOOD * 255).astype(np.uint8),
    "black bytes": np.zeros((40, 48, 3), np.uint8),
    "16 bits": (GOOD * 65535).astype(np.uint16),
    "0 to 255": GOOD * 255,
    "-1 to 1": 2 * GOOD - 1,
    "0 to 1.01": GOOD * 1.01 / GOOD.max(),
    "integers": np.ones((40, 48, 3), int),
    "truths": GOOD > 0.5,
    "complex": GOOD + 0j,
    "objects": GOOD.astype(object),
    "grey": GOOD[..., 0],
    "grey, one channel": GOOD[..., :1],
    "with alpha": np.dstack([GOOD, GOOD[..., 0]]),
    "batch": GOOD[None],
    "channels first": GOOD.transpose(2, 0, 1),
    "no rows": GOOD[:0],
    "no columns": GOOD[:, :0],
    "a hole": np.where(GOOD[3, 5] == GOOD, np.nan, GOOD),
    "infinite": np.where(GOOD[3, 5] == GOOD, np.inf, GOOD),
    "list of integers": [[[0, 128, 255]] * 40] * 40,
    "ragged list": [[[0.5, 0.5, 0.5]] * 40, [[0.5, 0.5, 0.5]] * 39],
    "Pillow's": Image.new("RGB", (48, 40)),
    "text": "photo.jpg",
    "number": 0.5,
    "nothing": None,
}

TAKERS = {
    "write_image": lambda image, folder: nst.write_image(folder / "a.png", image),
    "write_image, JPEG": lambda image, folder: nst.write_image(folder / "new" / "a.jpg", image),
    "make_sheet": lambda image, folder: nst.make_sheet([image]),
    "make_sheet, the second": lambda image, folder: nst.make_sheet([GOOD, image]),
    "make_labelled_sheet": lambda image, folder: nst.make_labelled_sheet([[image]]),
    "make_labelled_sheet, the second, resized": lambda image, folder: nst.make_labelled_sheet(
        [[GOOD, image]], cell=32
    ),
    "make_thumbnail": lambda image, folder: make_thumbnail(image, 32),
    "lpips_distance, first": lambda image, folder: lpips_distance(image, GOOD),
    "lpips_distance, second": lambda image, folder: lpips_distance(GOOD, image),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_image_is_refused(kind, taker, tmp_path):
    if kind == "nothing" and "labelled" in taker:
        pytest.skip("None is a lane that failed")
    with pytest.raises(nst.ConfigError, match=r"image (has|is of|is the path|holds)") as caught:
        TAKERS[taker](NO_IMAGES[kind], tmp_path)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, jnp.bfloat16])
@pytest.mark.parametrize("where", [np, jnp])
def test_rounding_beyond_the_range_is_clipped(where, dtype, tmp_path):
    beyond = 0 if dtype is jnp.bfloat16 else 9e-4  # whose next number above 1 is 1.008
    image = where.asarray(np.where(GOOD < 0.5, -9e-4, 1 + beyond), dtype)
    expected = (GOOD >= 0.5).astype(np.float32)
    nst.write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(nst.read_image(tmp_path / "a.png"), expected)
    np.testing.assert_array_equal(nst.make_sheet([image]), expected)
    sheet = nst.make_labelled_sheet([[image]])
    assert sheet.min() == 0 and sheet.max() == 1


def test_a_list_of_numbers_is_an_image_and_no_images_are_no_sheet(tmp_path):
    nst.write_image(tmp_path / "a.png", GOOD.tolist())
    np.testing.assert_allclose(nst.read_image(tmp_path / "a.png"), GOOD, atol=0.51 / 255)
    with pytest.raises(nst.ConfigError, match="no images for the sheet"):
        nst.make_sheet([])
    with pytest.raises(nst.ConfigError, match="must have the same"):
        lpips_distance(GOOD, GOOD[:39])
