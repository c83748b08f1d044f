"""Loss of the picture that is written against steps, on six pairs that press against black and
white, by optimiser.

    python scripts/benchmark_bounds.py --size 256

needs the extra `figures`. `without bounds` is L-BFGS on pixels that may leave [0, 1], clipped at
the end, as most programs do it; for it, the table has the loss that it reports too. The drawings
are made of photographs here: lines where the light changes, and a hatching.
"""

import argparse
import json
import warnings
from functools import partial
from pathlib import Path

import jax
import numpy as np
import skimage
import sklearn
from PIL import Image
from scipy.ndimage import gaussian_filter

import nst_jax as nst

METHODS = {
    "default": nst.make_optimizer(nst.TransferConfig()),
    "without bounds": nst.safeguarded_lbfgs(
        nst.TransferConfig().memory, preconditioner=nst.curvature_preconditioner()
    ),
    "Adam, 0.02": nst.make_optimizer(nst.TransferConfig(optimizer="adam", learning_rate=0.02)),
    "Adam, 0.05": nst.make_optimizer(nst.TransferConfig(optimizer="adam", learning_rate=0.05)),
}


def packaged(package, name, size=512):
    folder = Path(package.__file__).parent / ("data" if package is skimage else "datasets/images")
    return nst.read_image(folder / name, size=size)


def resized(image, size):
    height, width = (round(side * size / max(image.shape[:2])) for side in image.shape[:2])
    pixels = Image.fromarray(np.round(image * 255).astype(np.uint8)).resize(
        (width, height), Image.Resampling.LANCZOS
    )
    return np.asarray(pixels, np.float32) / 255


def contours(photograph):
    """Ink where the picture is darker than its surroundings."""
    light = photograph.mean(-1)
    darker = gaussian_filter(light, 1.2) - 0.98 * gaussian_filter(light, 2.4)
    ink = np.where(darker > 0.004, 1, np.clip(1 + 60 * (darker - 0.004), 0, 1))
    return np.repeat(ink[..., None], 3, -1).astype(np.float32)


def engraving(photograph):
    """Three hatchings, each for a darker tone."""
    light = gaussian_filter(photograph.mean(-1), 1.0)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    ink = np.ones_like(light)
    for layer, (angle, period) in enumerate([(0.6, 6.0), (-0.9, 6.5), (1.7, 5.0)]):
        wave = 0.5 + 0.5 * np.cos(
            2 * np.pi * (x * np.cos(angle) + y * np.sin(angle) + 3 * np.sin(y / 25)) / period
        )
        dark = np.clip((0.85 - 0.25 * layer - light) / 0.55, 0, 1)
        ink = np.minimum(ink, np.clip(6 * (wave - 0.6 * dark) + 0.5, 0, 1))
    return np.repeat(ink[..., None], 3, -1).astype(np.float32)


def pairs(size, shared):
    strokes = nst.read_image(Path(nst.__file__).with_name("cli") / "brush_strokes.jpg", size=size)
    burnt_out = np.clip(1.5 * packaged(sklearn, "china.jpg") ** 0.8, 0, 1)
    found = {
        "Chelsea × engraving": (
            packaged(skimage, "chelsea.png"),
            engraving(packaged(skimage, "coffee.png")),
        ),
        "china × contours": (
            packaged(sklearn, "china.jpg"),
            contours(packaged(skimage, "rocket.jpg")),
        ),
        "coffee × brush strokes": (packaged(skimage, "coffee.png"), strokes),
        "china, sky burnt out × brush strokes": (burnt_out, strokes),
        "logo × brush strokes": (packaged(skimage, "logo.png"), strokes),
    }
    if shared:
        found["Tübingen × Starry Night"] = tuple(
            nst.read_image(shared / name) for name in ("tubingen.jpg", "starry_night.jpg")
        )
    return {name: tuple(resized(image, size) for image in images) for name, images in found.items()}


def losses_of(method, params, content, style, marks):
    """After each number of steps in `marks`, the loss reported and that of the best picture as it
    would be written; and that picture."""
    config, weights = nst.TransferConfig(), nst.LossWeights()
    targets, prepared = nst.make_targets(params, content, style, config), nst.prepare_params(params)
    evaluate = lambda params, targets, image: nst.loss_and_gradient(
        params, image, targets, weights, config
    )

    @partial(jax.jit, donate_argnums=0)
    def advance(state, params, targets, num_steps):
        body = lambda _, state: nst.step(state, partial(evaluate, params, targets), method)[0]
        return jax.lax.fori_loop(0, num_steps, body, state)

    state, found = nst.init(jax.numpy.asarray(content), method), []
    for mark in marks:
        state = advance(state, prepared, targets, mark - int(state.step))
        picture = np.clip(np.asarray(state.best_image), 0, 1)
        found.append(
            (
                float(state.best_loss),
                float(nst.total_loss(params, picture, targets, weights, config)[0]),
            )
        )
    return found, picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument(
        "--shared",
        type=Path,
        help="folder with tubingen.jpg and starry_night.jpg, for a sixth pair",
    )
    parser.add_argument("--output-dir", type=Path, default=Path("docs/benchmarks"))
    args = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # of the logo's transparent parts
    params, raw, rows, lines = nst.load_params("vgg16"), {}, [], []
    for name, (content, style) in pairs(args.size, args.shared).items():
        row = [content, style]
        raw[name] = {}
        for method, optimizer in METHODS.items():
            raw[name][method], picture = losses_of(optimizer, params, content, style, args.steps)
            row.append(picture)
            written = " ".join(f"{loss:.3f}" for _, loss in raw[name][method])
            reported = " ".join(f"{loss:.3f}" for loss, _ in raw[name][method])
            lines.append(
                f"| {name} | {method} | {written} | "
                f"{reported if method == 'without bounds' else ''} |"
            )
            print(lines[-1], flush=True)
        rows.append(row)
    steps = ", ".join(map(str, args.steps))
    head = [f"VGG-16, {args.size} pixels, jax {jax.__version__}; one run each", ""]
    head += [
        f"| pair | method | picture's loss after {steps} steps | reported |",
        "| --- | --- | --- | --- |",
    ]
    (args.output_dir / "bounds.md").write_text("\n".join([*head, *lines]) + "\n")
    record = {"size": args.size, "steps": args.steps, "found": raw}
    (args.output_dir / "bounds.json").write_text(json.dumps(record, indent=1) + "\n")
    # whose images are not ours to give
    own = [row for name, row in zip(raw, rows, strict=True) if "Tübingen" not in name]
    sheet = nst.make_labelled_sheet(own, column_labels=["content", "style", *METHODS], cell=256)
    nst.write_image(args.output_dir / "bounds.jpg", sheet)


if __name__ == "__main__":
    main()
