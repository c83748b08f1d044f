"""What rounded factors cost: final losses and pictures of each precision, side by side.

    python scripts/precisions.py [--size 256] [--num-steps 300] [--pair CONTENT,STYLE …]

On a GPU or TPU `default` and `bfloat16` are what runs do by them. On a CPU both round the wide
layers' factors, as runs do where there is AMX or AVX512-BF16, so that pictures can be compared on
any CPU; seconds cannot. Every picture is judged in float32. Since rounding alone makes a descent
end elsewhere, a second run in float32, of a style weight larger by 1e-5, says what a difference
means. L-BFGS allows for rounded factors, as in runs. Needs the extra `figures`, except for pairs of
one's own.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import jax
import numpy as np
from benchmark import table
from eight_bits import pictures
from paper_figures import packaged

import nst_jax as nst

AGAIN = "highest, style weight × 1.00001"


def descend(params, content, style, config, weights):
    """The best image of a descent from the content at one size, and its seconds, compilation
    included."""
    optimizer = nst.make_optimizer(config)
    loss = nst.default_loss(config, weights)
    targets = nst.make_targets(params, content, style, config, loss)

    def run(state, params, targets):
        evaluate = lambda image: nst.loss_and_gradient(params, image, targets, loss, config)
        move = lambda _, state: nst.step(state, evaluate, optimizer)[0]
        return jax.lax.fori_loop(0, config.num_steps, move, state)

    started = time.perf_counter()
    found = jax.jit(run, donate_argnums=0)(nst.init(content, optimizer), params, targets)
    image = np.asarray(found.best_image)
    return image, time.perf_counter() - started


def compare(loaded, pair, content, style, arguments):
    """What each precision makes of a pair of pictures, as findings and pictures by name."""
    is_cpu = jax.default_backend() == "cpu"
    exact = nst.TransferConfig(num_steps=arguments.num_steps, coarse_to_fine=False)
    layers, usual = exact.content_layers + exact.style_layers, nst.LossWeights()
    loss = nst.default_loss(exact)
    targets = nst.make_targets(loaded, content, style, exact, loss)
    judge = jax.jit(lambda *arguments: nst.total_loss(*arguments, loss, exact)[0])
    by_equation = nst.direct_params(loaded)
    found, painted = [], {}
    for name in ["highest", AGAIN, *arguments.precision]:
        precision = "highest" if name == AGAIN else name
        if is_cpu and precision == "bfloat16":  # as in a run
            precision = "default"
        params = nst.prepare_params(loaded, layers, precision)
        config = exact.replace(precision=precision)
        weights = nst.LossWeights(style=usual.style * 1.00001) if name == AGAIN else usual
        image, seconds = descend(params, content, style, config, weights)
        painted[name], first = image, painted.get("highest", image)
        found.append(
            {
                "pair": pair,
                "run": name,
                "loss": float(judge(by_equation, image, targets)),
                "lpips": nst.lpips_distance(first, image),
                "rms": float(np.sqrt(np.mean((first - image) ** 2))),
                "seconds": seconds,
            }
        )
        print(found[-1], file=sys.stderr, flush=True)
    return found, painted


def row(line, first):
    """A line of the table."""
    return [
        line["pair"],
        line["run"],
        f"{line['loss']:.4f}",
        f"{line['loss'] / first['loss']:.3f} ×",
        "" if line["lpips"] is None else f"{line['lpips']:.3f}",
        f"{line['rms']:.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--num-steps", type=int, default=300)
    parser.add_argument("--network", default="vgg19-8bit")
    parser.add_argument("--precision", nargs="+", default=["default"])
    parser.add_argument("--pair", nargs="+", metavar="CONTENT,STYLE", default=None)
    parser.add_argument("--output-dir", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    folder = arguments.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.pair:
        paths = [[Path(path) for path in pair.split(",")] for pair in arguments.pair]
        pairs = {
            " × ".join(path.stem for path in pair): tuple(
                nst.read_image(path, size=arguments.size) for path in pair
            )
            for pair in paths
        }
    else:
        coffee = nst.read_image(packaged("skimage", "data", "coffee.png"), size=arguments.size)
        pairs = pictures(arguments.size)
        pairs["coffee × brush strokes"] = coffee, pairs["china × brush strokes"][1]
    loaded = nst.load_params(arguments.network)
    rows, all_found = [], []
    for number, (pair, images) in enumerate(pairs.items(), 1):
        found, painted = compare(loaded, pair, *images, arguments)
        all_found += found
        rows += [row(line, found[0]) for line in found]
        sheet = nst.make_labelled_sheet(
            [list(painted.values())], column_labels=list(painted), cell=arguments.size
        )
        nst.write_image(folder / f"precisions_{number}.jpg", sheet)
    heads = [
        "pictures",
        "run",
        "loss in float32",
        "over `highest`",
        "LPIPS to `highest`",
        "rms difference",
    ]
    text = (
        f"jax {jax.__version__}, {jax.devices()[0].device_kind}, {arguments.network}, "
        f"{arguments.size} pixels, {arguments.num_steps} steps\n\n{table(heads, rows)}\n"
    )
    print(text)
    folder.joinpath("precisions.md").write_text(text, "utf-8")
    folder.joinpath("precisions.json").write_text(json.dumps(all_found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
