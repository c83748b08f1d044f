"""How much the term of the grain takes of the coloured fringes, and what it costs the rest.

    python scripts/grain.py [--pairs NAME …] [--size 256] [--output-dir docs/benchmarks]

Paints each pair with each weight, and says of each picture how strong its finest detail is against
the style's, in brightness and in colour: the root mean square of the luma of its Laplacian, and of
its two chromas (BT.601), 1 where it is the style's, or what rounding to 8 bits makes of a style
that has less. The terms of the loss are those at the best step; each pair's line of the sheet has
its middle in twofold enlargement.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from benchmark import table
from benchmark_pictures import PAIRS
from paper_figures import packaged

import nst_jax as nst

WEIGHTS = (0.0, 0.1)
LUMA_AND_CHROMA = np.array(
    [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]
)


def finest(image: np.ndarray) -> np.ndarray:
    """Root mean square of the Laplacian: of the luma, and of the chromas together."""
    values = np.asarray(image, np.float64) @ LUMA_AND_CHROMA.T
    fine = 4 * values[1:-1, 1:-1] - values[:-2, 1:-1] - values[2:, 1:-1]
    fine -= values[1:-1, :-2] + values[1:-1, 2:]
    luma, *chromas = np.mean(fine**2, axis=(0, 1))
    return np.sqrt([luma, sum(chromas)])


def rounding() -> np.ndarray:
    """What rounding every pixel to 8 bits makes of it."""
    return finest(np.random.default_rng(0).uniform(-0.5, 0.5, (512, 512, 3)) / 255)


def middle(image: np.ndarray, size: int) -> np.ndarray:
    """The middle of an image, each pixel as a square of two by two."""
    top, left = ((side - size) // 2 for side in image.shape[:2])
    crop = np.asarray(image)[max(top, 0) :, max(left, 0) :][:size, :size]
    return crop.repeat(2, 0).repeat(2, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--pairs",
        nargs="+",
        choices=list(PAIRS),
        default=["architecture_strokes", "animal_tissue", "flower_flat"],
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--num-steps", type=int, default=300)
    parser.add_argument("--network", default="vgg19-8bit")
    parser.add_argument("--output-dir", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    params, rows, raw, strips = nst.load_params(arguments.network), [], [], []
    for name in arguments.pairs:
        content, style = (
            nst.read_image(packaged(*place), size=arguments.size) for place in PAIRS[name]
        )
        strips.append([middle(content, 160)])
        for weight in WEIGHTS:
            config = nst.TransferConfig(num_steps=arguments.num_steps)
            weights = nst.LossWeights(grain=weight or None)
            result = nst.stylize(params, content, style, config, weights)
            best = int(result.best_step) - 1
            brightness, colour = finest(result.image) / np.maximum(finest(style), rounding())
            found = {
                "pair": name,
                "grain_weight": weight,
                "brightness": float(brightness),
                "colour": float(colour),
                "lpips": nst.lpips_distance(content, np.asarray(result.image)),
                **{
                    term: float(np.mean([values[best] for values in result.terms[term].values()]))
                    for term in ("content", "style")
                },
            }
            raw.append(found)
            told = [f"{brightness:.2f}", f"{colour:.2f}", f"{found['lpips']:.3f}"]
            told += [f"{found['content']:.4f}", f"{found['style']:.5f}"]
            rows.append([name, f"{weight:g}", *told])
            print(*rows[-1], flush=True)
            strips[-1].append(middle(result.image, 160))
        strips[-1].append(middle(style, 160))
    heads = ["pair", "weight", "finest detail, brightness", "colour", "LPIPS", "content", "style"]
    text = table(heads, rows)
    print(text)
    arguments.output_dir.joinpath("grain.md").write_text(text + "\n", "utf-8")
    settings = {"size": arguments.size, "num_steps": arguments.num_steps}
    settings |= {"network": arguments.network, "pictures": raw}
    arguments.output_dir.joinpath("grain.json").write_text(json.dumps(settings, indent=1) + "\n")
    labels = ["content", *(f"{weight:g}" for weight in WEIGHTS), "style"]
    sheet = nst.make_labelled_sheet(strips, column_labels=labels, cell=320)
    nst.write_image(arguments.output_dir / "grain.jpg", sheet)


if __name__ == "__main__":
    main()
