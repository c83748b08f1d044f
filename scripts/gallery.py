"""Paints the gallery: what each control does, by commands that docs/gallery shows.

    python scripts/gallery.py [--folder FOLDER] [--output-dir docs/gallery]

Photographs are scikit-image's (the astronaut by NASA, the rocket by SpaceX and the cat, all free of
rights); the painting is the demo's, and the stained glass is made here. Pictures that FOLDER holds
already are not painted again. Needs the extra `demo`.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from paper_figures import packaged
from PIL import Image, ImageDraw, ImageFilter

import nst_jax as nst

PERSON = (
    (153, 70), (165, 35), (200, 15), (250, 18), (290, 50), (300, 90), (275, 130), (262, 175),
    (300, 215), (305, 260), (340, 280), (360, 330), (362, 350), (400, 345), (460, 360), (495, 430),
    (500, 512), (25, 512), (22, 460), (40, 300), (60, 250), (115, 210), (115, 180), (150, 150),
    (185, 150), (165, 110),
)  # fmt: skip
"""The outline of the astronaut, in pixels of 512."""

STROKES, MIXTURES = ("0.5x", "1x", "2x"), ("1+0", "3+1", "1+1", "1+3", "0+1")

_PARTS = "stylize astronaut.png glass.png strokes.jpg --mask person.png behind.png"
COMMANDS = {
    "blend": "study cat.png styles --output-dir blend --style-mix " + " ".join(MIXTURES),
    **{
        f"stroke_{size}": f"stylize cat.png strokes.jpg --style-size {size} -o stroke_{size}.png"
        for size in STROKES
    },
    "parts": f"{_PARTS} -o parts.png",
    "colours": f"{_PARTS} --colours content -o colours.png",
    "sky": "stylize rocket.jpg strokes.jpg --keep ground.png -o sky.png",
    "texture": "texture brick.png --size 256 256 --wrap -o texture.png",
}
"""By what they make; `--size` and `--num-steps` are added."""


def stained_glass(side: int = 512, num_panes: int = 90) -> Image.Image:
    """Panes of flat colours between dark lines."""
    rng = np.random.default_rng(4)
    places, rows = rng.random((num_panes, 2)) * side, np.arange(side)
    colours = np.array(
        [(196, 38, 46), (232, 170, 40), (30, 92, 160), (38, 128, 84), (240, 232, 214)]
    )
    distances = np.hypot(rows[:, None, None] - places[:, 0], rows[None, :, None] - places[:, 1])
    first, second = np.partition(distances, 1, axis=-1)[..., :2].transpose(2, 0, 1)
    panes = colours[rng.integers(len(colours), size=num_panes)][distances.argmin(-1)]
    shade = 1 + 0.12 * np.sin(rows[:, None] / 9 + rows[None] / 23)[..., None]
    glass = np.where((second - first < 6)[..., None], (24, 22, 26), np.clip(panes * shade, 0, 255))
    return Image.fromarray(glass.astype(np.uint8))


def prepare(folder: Path) -> None:
    """The images that the commands name."""
    data, strokes = packaged("skimage", "data"), packaged("nst_jax", "cli", "brush_strokes.jpg")
    for name in ("astronaut.png", "rocket.jpg", "brick.png"):
        shutil.copy(data / name, folder / name)
    shutil.copy(data / "chelsea.png", folder / "cat.png")
    shutil.copy(strokes, folder / "strokes.jpg")
    stained_glass().save(folder / "glass.png")
    (folder / "styles").mkdir(exist_ok=True)  # in the order of their names
    for name in ("glass.png", "strokes.jpg"):
        shutil.copy(folder / name, folder / "styles" / name)
    person = Image.new("L", (512, 512))
    ImageDraw.Draw(person).polygon(PERSON, fill=255)
    person = person.filter(ImageFilter.GaussianBlur(4))
    person.save(folder / "person.png")
    person.point(lambda value: 255 - value).save(folder / "behind.png")
    rocket = np.asarray(Image.open(folder / "rocket.jpg").convert("RGB"), np.float32)
    is_sky = (rocket[..., 2] > rocket[..., 0] + 12) & (np.arange(len(rocket)) < 370)[:, None]
    ground = Image.fromarray(np.where(is_sky, 0, 255).astype(np.uint8))
    ground = ground.filter(ImageFilter.MedianFilter(5)).filter(ImageFilter.GaussianBlur(3))
    ground.save(folder / "ground.png")


def run(folder: Path, command: str, size: int, num_steps: int) -> None:
    words = command.split()
    if words[0] != "texture":
        words += ["--size", str(size)]
    print("nst-jax", *words, file=sys.stderr, flush=True)
    program = [sys.executable, "-m", "nst_jax", *words, "--num-steps", str(num_steps), "--quiet"]
    subprocess.run(program, cwd=folder, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("gallery"))
    parser.add_argument("--output-dir", type=Path, default=Path("docs/gallery"))
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--num-steps", type=int, default=200)
    arguments = parser.parse_args()
    folder, output = arguments.folder, arguments.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    prepare(folder)
    for name, command in COMMANDS.items():
        done = folder / name / "study.json" if name == "blend" else folder / f"{name}.png"
        if not done.exists():
            run(folder, command, arguments.size, arguments.num_steps)
    read = lambda name: nst.read_image(folder / name, size=arguments.size)
    blends = [read(f"blend/lanes/style_mix={mixture}.png") for mixture in MIXTURES]
    sheets = {
        "blend": dict(
            zip(
                ("one style", *MIXTURES, "the other"),
                (read("glass.png"), *blends, read("strokes.jpg")),
                strict=True,
            )
        ),
        "strokes": {
            "content": read("cat.png"),
            **{size: read(f"stroke_{size}.png") for size in STROKES},
        },
        "parts": {
            "content": read("astronaut.png"),
            "mask": read("person.png"),
            "style inside": read("glass.png"),
            "style behind": read("strokes.jpg"),
            "result": read("parts.png"),
            "colours kept": read("colours.png"),
        },
        "sky": {
            "content": read("rocket.jpg"),
            "kept": read("ground.png"),
            "result": read("sky.png"),
        },
    }
    for name, images in sheets.items():
        sheet = nst.make_labelled_sheet([[*images.values()]], column_labels=[*images], cell=256)
        nst.write_image(output / f"{name}.jpg", sheet)
    tile = nst.read_image(folder / "texture.png")
    nst.write_image(output / "texture.jpg", np.tile(tile, (2, 2, 1)))


if __name__ == "__main__":
    main()
