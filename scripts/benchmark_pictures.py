"""Paints a fixed set of pictures by named presets and measures them, on one page to compare.

    python scripts/benchmark_pictures.py [--presets default paper …] [--pairs NAME …]
    [--size 512] [--num-steps STEPS] [--network NETWORK] [--peer] [--output-dir pictures]

With `--peer` (extra `benchmark`), the paper's loss is also lowered by `torch.optim.LBFGS`, as the
paper's author does, in as many evaluations, of the same network from the same start.

The images come with scikit-image, scikit-learn (extra `figures`), matplotlib and nst_jax, so that
nothing is fetched. Pictures that are in the folder already are not painted again, and one that was
cut off goes on.
"""

import argparse
import csv
import math
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmark import measure
from paper_figures import packaged

import nst_jax as nst

SKIMAGE = ("skimage", "data")
SKLEARN = ("sklearn", "datasets", "images")
STROKES, FLAT = ("nst_jax", "cli", "brush_strokes.jpg"), (*SKIMAGE, "logo.png")

PAIRS = {
    "portrait_strokes": ((*SKIMAGE, "astronaut.png"), STROKES),
    "portrait_flat": (("matplotlib", "mpl-data", "sample_data", "grace_hopper.jpg"), FLAT),
    "animal_tissue": ((*SKIMAGE, "chelsea.png"), (*SKIMAGE, "ihc.png")),
    "architecture_strokes": ((*SKLEARN, "china.jpg"), STROKES),
    "still_life_gravel": ((*SKIMAGE, "coffee.png"), (*SKIMAGE, "gravel.png")),
    "flower_flat": ((*SKLEARN, "flower.jpg"), FLAT),
    "machine_stars": ((*SKIMAGE, "motorcycle_left.png"), (*SKIMAGE, "hubble_deep_field.jpg")),
}
"""Content and style by name: what is shown, then what the style is made of."""


def run(folder: Path, *words: str | Path) -> str:
    """What a command of `nst-jax` prints, run in a folder; the script ends where it fails."""
    command = [sys.executable, "-m", "nst_jax", *map(str, words)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=folder)
    print(ended.stdout, end="", flush=True)
    if ended.returncode:
        sys.exit(ended.returncode)
    return ended.stdout


PEER = "torch.optim.LBFGS"


def paint_by_peer(content: Path, style: Path, picture: Path, arguments: argparse.Namespace) -> None:
    """A picture of the paper's two terms, weighed and scaled as by default, by PyTorch."""
    default = nst.PRESETS["default"]
    options = {
        "content": str(content),
        "style": str(style),
        "picture": str(picture),
        "size": arguments.size,
        "num_steps": arguments.num_steps or default.config.num_steps,
        "scaling": default.config.scaling,
        "content_weight": default.content_weight,
        "style_weight": default.style_weight,
        "network": arguments.network,
    }
    seconds = measure("reference_descent", options)["seconds"]
    print(f"{picture}: {len(seconds)} evaluations in {seconds[-1]:.0f} s", flush=True)


def section(name: str, arguments: argparse.Namespace) -> str:
    """A pair's part of the page; its pictures, a sheet and all numbers go to its own folder."""
    folder: Path = arguments.output_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    # under names that the page can show
    content, style = (
        Path(shutil.copy(source, folder.absolute() / f"{kind}{source.suffix}"))
        for kind, source in zip(
            ("content", "style"), (packaged(*place) for place in PAIRS[name]), strict=True
        )
    )
    size = ("--size", str(arguments.size))
    settings = [*size, "--resume"]
    if arguments.num_steps:
        settings += ["--num-steps", str(arguments.num_steps)]
    if arguments.network:
        settings += ["--network", arguments.network]
    painted = [f"{preset}.png" for preset in arguments.presets]
    for preset, output in zip(arguments.presets, painted, strict=True):
        run(folder, "stylize", content, style, "--preset", preset, "--output", output, *settings)
    if arguments.peer:
        picture = folder.absolute() / f"{PEER}.png"
        if not picture.exists():
            paint_by_peer(content, style, picture, arguments)
        painted.append(picture.name)
    table = ("--csv", "numbers.csv", "--overwrite")
    numbers = run(folder, "evaluate", content, style, content.name, *painted, *size, *table)
    paths = [content, style, *(folder / output for output in painted)]
    images = [nst.read_image(path, size=arguments.size) for path in paths]
    labels = ["content", "style", *(Path(output).stem for output in painted)]
    sheet = nst.make_labelled_sheet([images], column_labels=labels, cell=arguments.cell)
    nst.write_image(folder / "sheet.jpg", sheet)
    numbers = numbers.replace("wrote numbers.csv\n", "")
    return f"## {name}\n\n![{', '.join(labels)}]({name}/sheet.jpg)\n\n```\n{numbers}```\n"


Numbers = Mapping[str, Mapping[str, float]]
"""By picture, then by measure."""


def numbers_of(table: Path) -> Numbers:
    """What was measured of a pair's pictures, one number for all layers, CFSD in millionths."""
    found: dict[str, dict[str, float]] = {}
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            by_kind: dict[str, list[float]] = {}
            for column, value in row.items():
                kind = re.sub("_conv[0-9]_[0-9]$", "", column)
                if kind not in ("result", "content", "style", "width", "height", "network"):
                    number = float(value) if value else math.nan
                    by_kind.setdefault(kind, []).append(number * (1e6 if kind == "cfsd" else 1))
            name = Path(row["result"]).stem
            found[name] = {kind: statistics.mean(v) for kind, v in by_kind.items()}
    return found


def comparison(pairs: Mapping[str, Numbers], painted: list[str]) -> str:
    """Tables of what was measured of all pairs, and of each way of painting over earlier ones."""
    kinds = list(next(iter(pairs.values()))[painted[0]])
    head = [f"| {' | '.join(kinds)} |", "| --- " * (len(kinds) + 2) + "|"]
    every = ["| pair | painted by " + head[0], head[1]]
    for pair, numbers in pairs.items():
        for name in painted:
            cells = (f"{numbers[name][kind]:.3g}" for kind in kinds)
            every.append(f"| {pair} | {name} | {' | '.join(cells)} |")
    ratios = ["| | over " + head[0], head[1]]
    for index, name in enumerate(painted):
        for other in painted[:index]:
            cells = []
            for kind in kinds:
                over = [own[name][kind] / own[other][kind] for own in pairs.values()]
                closer = sum(ratio < 1 for ratio in over)
                cells.append(f"{statistics.geometric_mean(over):.2f} ({closer})")
            ratios.append(f"| {name} | {other} | {' | '.join(cells)} |")
    said = "Geometric means over the pairs and, in brackets, in how many it is closer:"
    return "\n".join([*every, "", said, "", *ratios]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--presets", nargs="+", choices=list(nst.PRESETS), default=["default"])
    parser.add_argument("--pairs", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--size", type=int, default=512, help="longest side in pixels")
    parser.add_argument("--num-steps", type=int, help="evaluations, instead of the preset's")
    parser.add_argument("--network", help="instead of the best that is to be had")
    parser.add_argument("--peer", action="store_true", help="also paint by torch.optim.LBFGS")
    parser.add_argument("--cell", type=int, default=320, help="longest side on the page, in pixels")
    parser.add_argument("--output-dir", type=Path, default=Path("pictures"))
    arguments = parser.parse_args()
    if arguments.peer and not arguments.network:
        parser.error("give --network a name with --peer, so that both sides have the same")
    steps = f", {arguments.num_steps} evaluations" if arguments.num_steps else ""
    parts = [f"# Pictures of {arguments.size} pixels{steps}\n"]
    sections = [section(name, arguments) for name in arguments.pairs]
    tables = {name: arguments.output_dir / name / "numbers.csv" for name in arguments.pairs}
    painted = [*arguments.presets, *([PEER] if arguments.peer else [])]
    parts += [comparison({name: numbers_of(table) for name, table in tables.items()}, painted)]
    parts += sections
    page = arguments.output_dir / "index.md"
    page.write_text("\n".join(parts), "utf-8")
    print(f"wrote {page}")


if __name__ == "__main__":
    main()
