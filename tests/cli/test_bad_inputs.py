"""More than two hundred wrong inputs, each of which the command must answer with one line, status
2, and nothing left behind."""

import io
import itertools
import json
import os
import pickle

import h5py
import numpy as np
import pytest
from PIL import Image

import nst_jax as nst
from nst_jax import cli
from tests.files.test_images import bomb
from tests.reference import torchvision_names

pytestmark = pytest.mark.slow

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
ROLES = {
    "content": ["{}", "good.png"],
    "style": ["good.png", "{}"],
    "start": ["good.png", "good.png", "--initial", "{}"],
}
STYLIZE = [
    "stylize",
    "--network",
    "vgg16",
    "--output",
    "out.png",
    "--size",
    "32",
    "--num-steps",
    "1",
    "--style-layers",
    "conv1_1",
]


def encoded(image, name):
    stream = io.BytesIO()
    image.save(stream, name)
    return stream.getvalue()


def bad_images():
    """Files by name."""
    good = Image.effect_noise((40, 40), 90).convert("RGB")
    for name in FORMATS:
        data = encoded(good, name)
        yield f"cut_early.{name}", data[: len(data) // 10]
        # whose decoders fill up with what is missing, or say it elsewhere
        if name not in ("GIF", "BMP"):
            yield f"cut_late.{name}", data[: len(data) // 2]
        yield f"head_lost.{name}", data[6:]
        yield f"one_pixel.{name}", encoded(good.resize((1, 1)), name)
        yield f"line.{name}", encoded(good.resize((1, 300)), name)
        # 100:1, which no size of 32 can keep
        yield f"strip.{name}", encoded(good.resize((1600, 16)), name)
    yield "empty.png", b""
    yield "text.png", b"no picture"
    yield "page.png", b"<html><body>Not found</body></html>"
    yield "bomb.png", bomb()
    yield "zeros.png", bytes(5000)
    yield (
        "postscript.png",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n",
    )
    yield "negative.tif", encoded(Image.fromarray(np.full((32, 32), -1, np.float32)), "TIFF")
    yield "deep.tif", encoded(Image.fromarray(np.full((32, 32), 70000, np.int32)), "TIFF")
    yield "nan.tif", encoded(Image.fromarray(np.full((32, 32), np.nan, np.float32)), "TIFF")
    yield "infinite.tif", encoded(Image.fromarray(np.full((32, 32), np.inf, np.float32)), "TIFF")


def bad_weights():
    rng = np.random.default_rng(0)
    first = dict(itertools.islice(nst.NETWORKS["vgg16"].items(), 3))
    layers = {
        layer: (rng.standard_normal(shape, np.float32), np.zeros(shape[-1], np.float32))
        for layer, shape in first.items()
    }
    named = torchvision_names(layers)
    changed = {
        "missing": {key: value for key, value in named.items() if "features.0." not in key},
        "thin": {key: value[:, :1] if value.ndim == 4 else value for key, value in named.items()},
        "text": {key: np.array(["a"] * 3) for key in named},
        "twice": {**named, **{f"copy.{key}": value for key, value in named.items()}},
        "nan": {key: np.full_like(value, np.nan) for key, value in named.items()},
        "nothing": {"a": np.zeros(3, np.float32)},
    }
    for what, tensors in changed.items():
        for name, data in _in_all_formats(tensors):
            yield f"{what}.{name}", data
    for name, data in _in_all_formats({"a": np.zeros(3, np.float32)}):
        yield f"cut.{name}", data[: len(data) // 2]
        yield f"head.{name}", data[:4]
    yield "outside.h5", _outside()
    yield "huge.safetensors", (2**40).to_bytes(8, "little") + b"{" + bytes(100)
    yield (
        "huge_tensor.safetensors",
        _safetensors({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    )
    yield "header_no_json.safetensors", (20).to_bytes(8, "little") + b"{" + b"x" * 40
    yield "swelling.npz", _swelling()


def _in_all_formats(tensors):
    from safetensors.numpy import save

    stream = io.BytesIO()
    np.savez(stream, **tensors)
    yield "npz", stream.getvalue()
    yield "ckpt", pickle.dumps(tensors, 4)
    if all(np.issubdtype(value.dtype, np.number) for value in tensors.values()):
        yield (
            "safetensors",
            save({key: np.ascontiguousarray(value) for key, value in tensors.items()}),
        )
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            for key, value in tensors.items():
                file[key] = value
        yield "h5", stream.getvalue()


def _outside():
    """Weights whose numbers are in another file."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset(
            "block1_conv1/kernel",
            (3, 3, 3, 64),
            "f4",
            external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)],
        )
        file["link"] = h5py.ExternalLink("/etc/passwd", "/")
    return stream.getvalue()


def _safetensors(header):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def _swelling():
    """A few kilobytes that are 4 GB."""
    import zipfile

    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": (2**30,)}
        )
        for _ in range(64):
            member.write(bytes(2**22))
    return stream.getvalue()


BAD_GRIDS = {
    "no_table.json": "[1, 2]",
    "deep.json": "[" * 100_000,
    "deep.toml": "a = " + "[" * 100_000,
    "syntax.toml": "style_weight = [5,",
    "syntax.json": "{",
    "typo.toml": "style_wieght = [5]",
    "unknown.toml": "colour = 3",
    "text.toml": 'style_weight = ["heavy"]',
    "negative.toml": "style_weight = [-1]",
    "infinite.toml": "style_weight = [inf]",
    "nan.toml": "content_weight = [nan]",
    "seed.toml": "seed = [1.5]",
    "negative_seed.toml": "seed = [-1]",
    "init.toml": 'init = ["black"]',
    "pooling.toml": 'pooling = ["median"]',
    "layer.toml": 'content_layers = ["conv9_9"]',
    "no_layers.toml": "content_layers = [[]]\nstyle_layers = [[]]",
    "zip.toml": 'zip = "yes"',
    "many.toml": f"seed = {list(range(400))}\nstyle_weight = {list(range(1, 401))}",
    "twice.json": '{"seed": 1, "seed": 2}',
    "unequal.toml": "zip = true\nseed = [1, 2]\nstyle_weight = [1, 2, 3]",
    "sets.toml": "layer_weights = [1, 2]",
    "path.toml": "content = 3",
    "binary.toml": "\x00\x01",
    "latin.toml": b"style_weight = [5] # \xe9",
    "no_values.toml": "style_weight = []",
    "twice.toml": "seed = [1]\nseed = [2]",
}

BAD_SETTINGS = [
    ["--size", "0"],
    ["--size", "15"],
    ["--size", "-512"],
    ["--size", "1e3"],
    ["--size", "99999999"],
    ["--num-steps", "0"],
    ["--num-steps", "-1"],
    ["--num-steps", "many"],
    ["--style-weight", "-1"],
    ["--style-weight", "inf"],
    ["--style-weight", "nan"],
    ["--content-weight", "-0.5"],
    ["--content-weight", "nan"],
    ["--tv-weight", "-1"],
    ["--tv-weight", "inf"],
    ["--seed", "-1"],
    ["--seed", "4294967296"],
    ["--seed", "0.5"],
    ["--save-every", "-1"],
    ["--tolerance", "-0.1"],
    ["--tolerance", "1"],
    ["--tolerance", "nan"],
    ["--learning-rate", "0"],
    ["--learning-rate", "nan"],
    ["--tile", "100"],
    ["--tile", "-64"],
    ["--devices", "0"],
    ["--devices", "-1"],
    ["--devices", "1000"],
    ["--checkpoint-every", "-1"],
    ["--checkpoint-every", "nan"],
    ["--max-pixels", "0"],
    ["--max-pixels", "-1"],
    ["--optimizer", "newton"],
    ["--pooling", "median"],
    ["--scaling", "none"],
    ["--precision", "float16"],
    ["--preset", "mine"],
    ["--content-layers", "conv4_9"],
    ["--content-layers", "relu4_9"],
    ["--style-layers", "conv1_1", "conv1_1"],
    ["--style-layers", "conv5_4"],
    ["--unknown", "3"],
    ["--size"],
    ["third.png"],
]

BAD_PATHS = [
    ["good.png", "good.png", "--output", "good.png"],
    ["good.png", "good.png", "--output", "./folder/../good.png"],
    ["good.png", "good.png", "--output", "link.png"],
    ["good.png", "good.png", "--output", "folder"],
    ["good.png", "good.png", "--output", "folder.png"],
    ["good.png", "good.png", "--output", "good.png/a.png"],
    ["good.png", "good.png", "--output", "a"],
    ["good.png", "good.png", "--output", "a.svg"],
    ["good.png", "good.png", "--output", ".png"],
    ["good.png", "good.png", "--output", ""],
    ["good.png", "good.png", "--output", "a" * 300 + ".png"],
    ["good.png", "good.png", "--output", "there.png"],
    ["good.png", "good.png", "--output", "recorded.png"],
    ["good.png", "good.png", "--output", "cut_off.png"],
    ["good.png", "good.png", "--output", "a\x00b.png"],
    ["folder", "good.png"],
    ["good.png", "folder"],
    ["none.png", "good.png"],
    ["good.png", ""],
    ["a" * 5000, "good.png"],
    ["dangling.png", "good.png"],
    ["loop.png", "good.png"],
    ["good.png", "a\x00b.png"],
    ["a\nb.png", "good.png"],
    ["good.png", "good.png", "--output", "x\ny.gif"],
    ["good.png", "good.png", "--network", "a\nb"],
    ["good.png", "good.png", "--initial", "\x1b]0;a\x07"],
    ["good.png", "good.png", "--output", "boxed.png", "--overwrite"],
    ["good.png", "good.png", "--output", "boxed.png", "--resume"],
    [
        "good.png",
        "good.png",
        "--initial",
        "out_at_iteration_2.png",
        "--save-every",
        "2",
        "--overwrite",
    ],
    ["good.png", "good.png", "--network", "there.png", "--output", "there.png", "--overwrite"],
    ["pipe.png", "good.png"],
]

IN_PLACE = {
    "convert in place": [
        "weights",
        "convert",
        "swelling.npz",
        "--output",
        "swelling.npz",
        "--overwrite",
    ],
    "convert to a long name": ["weights", "convert", "swelling.npz", "--output", "x" * 300],
    "normalise in place": [
        "weights",
        "normalise",
        "photos",
        "--network",
        "vgg16",
        "--output",
        "photos/a.png",
        "--overwrite",
    ],
    "normalise at no size": [
        "weights",
        "normalise",
        "photos",
        "--network",
        "vgg16",
        "--output",
        "out.safetensors",
        "--size",
        "3",
    ],
    "demo over a result": ["demo", "--output", "there.png"],
    "demo over a sheet": ["demo", "--output", "sheeted.png"],
}

BAD_RECORDS = ("deep.json", "no_table.json", "none.json", "folder", "recorded.json")

IMAGES, WEIGHTS = dict(bad_images()), dict(bad_weights())
TABLE = {
    **{
        f"{role}: {name}": [*STYLIZE, *(word.format(name) for word in words)]
        for role, words in ROLES.items()
        for name in IMAGES
    },
    **{
        f"weights: {name}": [*STYLIZE, "good.png", "good.png", "--network", name]
        for name in WEIGHTS
    },
    **{
        f"convert: {name}": ["weights", "convert", name, "--output", "out.safetensors"]
        for name in WEIGHTS
    },
    **{
        f"grid: {name}": ["study", "good.png", "good.png", "--network", "vgg16", "--grid", name]
        for name in BAD_GRIDS
    },
    **{
        f"setting: {' '.join(words)}": [*STYLIZE, "good.png", "good.png", *words]
        for words in BAD_SETTINGS
    },
    **{f"path: {number}": [*STYLIZE, *words] for number, words in enumerate(BAD_PATHS)},
    **IN_PLACE,
    **{f"record: {name}": ["rerun", name] for name in (*BAD_RECORDS, *list(IMAGES)[:6])},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    Image.effect_noise((48, 40), 90).convert("RGB").save(folder / "good.png")
    for name, data in (IMAGES | WEIGHTS).items():
        (folder / name).write_bytes(data)
    for name, text in BAD_GRIDS.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    for name in ("folder", "folder.png"):
        (folder / name).mkdir()
    (folder / "link.png").symlink_to("good.png")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "there.png").write_bytes((folder / "good.png").read_bytes())
    (folder / "recorded.json").write_text("{}")
    (folder / "cut_off.png.checkpoint").write_bytes(b"")
    (folder / "boxed.png.checkpoint").mkdir()
    (folder / "photos").mkdir()
    for name in ("out_at_iteration_2.png", "sheeted_sheet.png", "photos/a.png"):
        (folder / name).write_bytes((folder / "good.png").read_bytes())
    os.mkfifo(folder / "pipe.png")
    return folder


def test_there_are_enough():
    assert len(TABLE) >= 200


@pytest.mark.parametrize("case", list(TABLE))
def test_wrong_input_is_one_line_and_status_2_and_leaves_nothing(case, folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    status = cli.main(TABLE[case])
    out, err = capfd.readouterr()
    lines = [
        line
        for line in err.splitlines()
        if not line.startswith(("network: ", "note: ", "normalising "))
    ]
    assert (
        status == 2 and out == "" and len(lines) == 1 and lines[0].startswith("nst-jax: error: ")
    ), (status, out, err)
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before
