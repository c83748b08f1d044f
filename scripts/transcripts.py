"""Records what a terminal of 80 columns shows, as docs/transcripts has them.

    python scripts/transcripts.py [NAME …]

The commands are run one after another in a folder of their own, by the `nst-jax` that stands beside
this Python, with nothing in the cache except the weights that are there. Needs the extra `demo`;
takes some minutes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gallery import stained_glass
from paper_figures import packaged

TRANSCRIPTS = {
    "first_minutes": (
        "The first ten minutes",
        (
            ("What is there?", "nst-jax --help"),
            ("A first picture, small and with few steps.", "{stylize} cat.jpg night.jpg {few}"),
            ("", "ls"),
            ("A slip of the hand, and another.", "{stylize} cat.jpg nigth.jpg {few}"),
            ("", "{stylize} cat.jpg night.jpg {few} --style-wieght 60"),
            ("The picture of before is not lost.", "{stylize} cat.jpg night.jpg {few}"),
            (
                "A style of one's own, and more of it.",
                "{stylize} cat.jpg glass.png {few} --style-weight 60",
            ),
            (
                "A folder of photographs.",
                "{stylize} photos night.jpg {few} --output-dir painted",
            ),
            ("One more photograph came.", "cp cat.jpg photos"),
            ("", "{stylize} photos night.jpg {few} --output-dir painted"),
            (
                "The first picture again, but with less style: all else is read out of it.",
                "nst-jax rerun cat_night.png --style-weight 5",
            ),
            ("", "ls"),
        ),
    ),
    "study": (
        "A study",
        (
            (
                "Which weight of the style, and which layer of the content?",
                "nst-jax study cat.jpg night.jpg {few} --style-weight 5 20 80"
                " --content-layers conv2_2 conv4_2",
            ),
            ("", "ls study study/lanes"),
            ("One more weight: what is there already is kept.", "{again}"),
            ("How far are some of them from the photograph and the painting?", "{evaluate}"),
        ),
    ),
}
"""Titles, and what is said and typed, by the names of files."""

FEW = "--size 112 --num-steps 30"
COLUMNS = 80
WORDS = {
    "stylize": "nst-jax stylize",
    "few": FEW,
    "again": f"nst-jax study cat.jpg night.jpg {FEW} --style-weight 5 20 80 320"
    " --content-layers conv2_2 conv4_2",
    "evaluate": "nst-jax evaluate cat.jpg night.jpg study/lanes/*conv4_2.png",
}
"""What the commands above abbreviate."""


def prepare(folder: Path) -> None:
    """The images that the commands name."""
    data = packaged("skimage", "data")
    (folder / "photos").mkdir()
    for name in ("rocket.jpg", "coffee.png"):
        shutil.copy(data / name, folder / "photos" / name)
    shutil.copy(data / "chelsea.png", folder / "cat.jpg")
    shutil.copy(packaged("nst_jax", "cli", "brush_strokes.jpg"), folder / "night.jpg")
    stained_glass().save(folder / "glass.png")


def record(title: str, steps: tuple[tuple[str, str], ...], folder: Path) -> str:
    """A transcript as a page."""
    programs, home = Path(sys.executable).parent, folder.parent
    environment = os.environ | {
        "COLUMNS": str(COLUMNS),
        "HOME": str(home),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    weights = environment.pop("NST_JAX_WEIGHTS", "")
    environment.pop("XDG_CACHE_HOME", None)
    if weights:
        shutil.copytree(weights, home / ".cache" / "nst_jax")
    parts = [f"# {title}\n\nRecorded by `python scripts/transcripts.py`.\n"]
    for said, command in steps:
        typed = command.format(**WORDS)
        print(typed, flush=True)
        ended = subprocess.run(
            typed,
            shell=True,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if said:
            parts.append(f"{said}\n")
        status = f"(exit status {ended.returncode})\n" if ended.returncode else ""
        seen = f"$ {typed}\n{ended.stdout}{status}".replace(str(home), "~")
        parts.append(f"```console\n{as_on_screen(seen)}```\n")
    return "\n".join(parts)


def as_on_screen(text: str) -> str:
    """A terminal's lines, which end in the middle of words."""
    lines = map(str.rstrip, text.splitlines())
    cut = [
        line[start : start + COLUMNS]
        for line in lines
        for start in range(0, len(line) or 1, COLUMNS)
    ]
    return "".join(f"{line.rstrip()}\n" for line in cut)


def main() -> None:
    pages = Path(__file__).parents[1] / "docs" / "transcripts"
    pages.mkdir(exist_ok=True)
    for name in sys.argv[1:] or TRANSCRIPTS:
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / "pictures"
            folder.mkdir()
            prepare(folder)
            (pages / f"{name}.md").write_text(record(*TRANSCRIPTS[name], folder), "utf-8")


if __name__ == "__main__":
    main()
