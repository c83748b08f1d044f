"""Measures what VGG-19's kernels in 8 bits cost, against exact ones.

    python scripts/eight_bits.py [--exact FILE] [--output-dir docs/benchmarks]

FILE holds exact kernels of VGG-19's first layers, as an .npz with the names Keras gives them
(`block1_conv1/kernel`, …): features and Gram matrices of the network of 8 bits are set beside
theirs. Exact deep layers are seldom to be had where the 8-bit network is used, so the effect on
pictures is measured on VGG-16: its own kernels against the same kernels as 256 values a layer,
found as the 8-bit file's were, by k-means. Each picture is judged by the exact network. Since
rounding alone makes a descent end elsewhere, a second exact run, of a style weight larger by 1e-5,
says what a difference means. Needs the extra `figures`.
"""

import argparse
import json
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from benchmark import table
from paper_figures import packaged

import nst_jax as nst

LEVELS = 256
POOLINGS = ("avg", "max")


def pictures(size: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    strokes = packaged("nst_jax", "cli", "brush_strokes.jpg")
    pairs = {
        "china × brush strokes": (packaged("sklearn", "datasets", "images", "china.jpg"), strokes),
        "chelsea × ihc": (
            packaged("skimage", "data", "chelsea.png"),
            packaged("skimage", "data", "ihc.png"),
        ),
    }
    return {
        name: tuple(nst.read_image(path, size=size) for path in pair)
        for name, pair in pairs.items()
    }


def in_levels(kernel: np.ndarray, iterations: int = 50) -> np.ndarray:
    """The kernel with each value replaced by the nearest of 256, which Lloyd's iterations found."""
    values = kernel.ravel()
    levels = np.linspace(values.min(), values.max(), LEVELS)
    for _ in range(iterations):
        nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
        counts, sums = np.bincount(nearest, minlength=LEVELS), np.bincount(nearest, values, LEVELS)
        levels = np.sort(np.where(counts > 0, sums / np.maximum(counts, 1), levels))
    nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
    return levels[nearest].reshape(kernel.shape).astype(np.float32)


def relative(found: np.ndarray, exact: np.ndarray) -> float:
    """‖found − exact‖ / ‖exact‖."""
    difference = np.asarray(found, np.float64) - np.asarray(exact, np.float64)
    return float(np.linalg.norm(difference) / np.linalg.norm(np.asarray(exact, np.float64)))


def compare_features(exact: Path, images: list[np.ndarray]) -> list[list[str]]:
    """How far features and Gram matrices of the 8-bit network are from the exact ones, by layer and
    pooling."""
    quantised = nst.load_params("vgg19-8bit")
    params, layers = dict(quantised), []
    with np.load(exact) as arrays:
        for layer in nst.NETWORKS["vgg19"]:
            name = f"block{layer[4]}_conv{layer[6]}/kernel"
            if name in arrays:
                params[layer] = {
                    "kernel": exact_kernel(arrays[name], layer),
                    "bias": quantised[layer]["bias"],
                }
                layers.append(layer)
    rows = [
        [
            "layer",
            "kernel",
            *(f"{what}, {pooling}" for pooling in POOLINGS for what in ("features", "Gram")),
        ]
    ]
    errors: dict[str, dict[str, list[float]]] = {layer: {} for layer in layers}
    for pooling in POOLINGS:
        for image in images:
            found, wanted = (
                nst.features(one, jnp.asarray(image), tuple(layers), pooling)
                for one in (quantised, params)
            )
            for layer in layers:
                grams = nst.gram_matrix(found[layer]), nst.gram_matrix(wanted[layer])
                errors[layer].setdefault(f"features {pooling}", []).append(
                    relative(found[layer], wanted[layer])
                )
                errors[layer].setdefault(f"gram {pooling}", []).append(relative(*grams))
    for layer in layers:
        kernel = relative(quantised[layer]["kernel"], params[layer]["kernel"])
        means = [
            np.mean(errors[layer][f"{what} {pooling}"])
            for pooling in POOLINGS
            for what in ("features", "gram")
        ]
        rows.append([layer, f"{kernel:.2%}", *(f"{mean:.2%}" for mean in means)])
    return rows


def exact_kernel(kernel: np.ndarray, layer: str) -> np.ndarray:
    """A Keras kernel as this project's parameters have it: the first takes RGB in [0, 1] instead of
    BGR in 0–255."""
    return kernel[:, :, ::-1] * np.float32(255) if layer == "conv1_1" else kernel


def compare_pictures(size: int, num_steps: int) -> tuple[list[list[str]], list[np.ndarray]]:
    """Pictures by VGG-16, exact, exact with a style weight larger by 1e-5, and in 256 values a
    layer."""
    exact = nst.load_params("vgg16")
    quantised = {
        name: part if name == "mean" else part | {"kernel": in_levels(np.asarray(part["kernel"]))}
        for name, part in exact.items()
    }
    config = nst.TransferConfig(num_steps=num_steps)
    weights = nst.LossWeights(grain=None)
    rows = [
        [
            "pictures",
            "run",
            "its loss",
            "loss by exact kernels",
            "LPIPS to the exact run",
            "rms difference",
        ]
    ]
    sheet = []
    for name, (content, style) in pictures(size).items():
        targets = nst.make_targets(exact, content, style, config, nst.default_loss(config, weights))
        runs = {
            "exact": (exact, weights),
            "exact, style weight × 1.00001": (
                exact,
                nst.LossWeights(style=weights.style * 1.00001, grain=None),
            ),
            "256 values a layer": (quantised, weights),
        }
        painted: dict[str, np.ndarray] = {}
        for run, (params, own) in runs.items():
            result = nst.stylize(params, content, style, config, own)
            if result.cut_off:
                sys.exit("stopped; nothing was written")
            painted[run] = image = np.asarray(result.image)
            (loss, _), _ = nst.loss_and_gradient(exact, image, targets, weights, config)
            first = painted["exact"]
            distance = nst.lpips_distance(first, image)
            rms = float(np.sqrt(np.mean((first - image) ** 2)))
            rows.append(
                [
                    name,
                    run,
                    f"{float(result.loss):.4f}",
                    f"{float(loss):.4f}",
                    f"{distance:.3f}",
                    f"{rms:.3f}",
                ]
            )
            print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
        sheet.append(
            nst.make_labelled_sheet([list(painted.values())], column_labels=list(runs), cell=size)
        )
    return rows, sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--exact", type=Path, default=None, help="exact kernels of first layers of VGG-19, .npz"
    )
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--num-steps", type=int, default=300)
    parser.add_argument("--output-dir", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    parts, found = [], {}
    if arguments.exact:
        found["features"] = compare_features(
            arguments.exact, [image for pair in pictures(256).values() for image in pair]
        )
        parts.append(table(found["features"][0], found["features"][1:]))
    found["pictures"], sheets = compare_pictures(arguments.size, arguments.num_steps)
    parts.append(table(found["pictures"][0], found["pictures"][1:]))
    print("\n\n".join(parts))
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    arguments.output_dir.joinpath("eight_bits.md").write_text("\n\n".join(parts) + "\n", "utf-8")
    arguments.output_dir.joinpath("eight_bits.json").write_text(
        json.dumps(found, indent=1), "utf-8"
    )
    for number, sheet in enumerate(sheets, 1):
        nst.write_image(arguments.output_dir / f"eight_bits_{number}.jpg", sheet)


if __name__ == "__main__":
    main()
