"""Repeats published runs of neural style transfer, and sets their printed losses beside its own.

    python scripts/published_runs.py RUN CONTENT STYLE

RUN is one of
    author      the paper's author's program, 500 evaluations
    notebook    the Keras notebook, 4000 steps, pixels kept in [0, 1]
    unbounded   the same with pixels that go where they like, as there
    paper       the preset `paper`, with weights normalised on photographs

CONTENT and STYLE are the run's own pictures, which are not this project's to give. The extra
`figures` brings scikit-image, whose `pyramid_reduce` shrinks the author's, and the photographs of
`paper`. Losses go to OUTPUT_DIR/RUN.json and RUN.md, pictures to --pictures.

References:
    Gatys, Ecker and Bethge (CVPR 2016); the author's losses as his notebook BasicStyleTransfer of
    NeuralImageSynthesis prints them, the notebook's as the copy of the Keras example
    NoPainNoCode/Neural_Style_Transfer does.
"""

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from benchmark import table
from flax.serialization import from_bytes, to_bytes
from paper_figures import packaged

import nst_jax as nst

AUTHORS_AREA = 512**2
AUTHORS_TOTALS = {
    50: 1_260_979,
    100: 656_089,
    150: 502_277,
    200: 441_495,
    250: 408_626,
    300: 387_915,
    500: 350_770,
}
AUTHORS_LAYERS = {
    "conv1_1": 539.9,
    "conv2_1": 2173.6,
    "conv3_1": 3653.8,
    "conv4_1": 53720.3,
    "conv5_1": 3715.6,
}
AUTHORS_CONTENT = 286_966.9
CHANNELS = {"conv1_1": 64, "conv2_1": 128, "conv3_1": 256, "conv4_1": 512, "conv5_1": 512}
NOTEBOOKS_LOSSES = {100: 11_018.51, 1000: 5_967.87, 2000: 5_470.67, 3000: 5_285.58, 4000: 5_194.77}

PHOTOGRAPHS = {
    "skimage.data": (
        *(
            "astronaut.png",
            "brick.png",
            "camera.png",
            "chelsea.png",
            "clock_motion.png",
            "coffee.png",
            "coins.png",
        ),
        *("grass.png", "gravel.png", "moon.png", "motorcycle_left.png", "rocket.jpg"),
    ),
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
    "matplotlib.mpl-data.sample_data": ("grace_hopper.jpg",),
}
"""What packages bring of photographs, by folder."""

UNBOUNDED_CHUNK = 50
"""Steps of `unbounded` between two savings."""

Table = list[list[str]]


def show(progress: nst.Progress) -> None:
    step, loss = f"{progress.step} of {progress.num_steps}", float(np.max(progress.best_loss))
    print(f"\r  step {step}, loss {loss:.6g}   ", end="", file=sys.stderr)


def author(arguments: argparse.Namespace) -> tuple[dict, Table]:
    """Means of squared differences, maximum pooling, from the content; a total of 350,770."""
    content, style = (
        shrink_to_area(nst.read_image(path)) for path in (arguments.content, arguments.style)
    )
    config = nst.TransferConfig(pooling="max", scaling="mean", num_steps=arguments.num_steps or 500)
    by_layer = {layer: 1e3 / count**2 for layer, count in CHANNELS.items()}
    weights = nst.LossWeights(content=1.0, style=1.0, style_layers=by_layer, grain=None)
    result = whole(
        nst.stylize(
            nst.load_params(arguments.network), content, style, config, weights, callback=show
        )
    )
    write(arguments, "author", result.image)
    best = int(result.best_step) - 1
    own = {layer: float(result.terms["style"][layer][best]) * by_layer[layer] for layer in CHANNELS}
    own_content = float(result.terms["content"]["conv4_2"][best])
    losses = at_full_size(result)
    reached = np.flatnonzero(losses <= AUTHORS_TOTALS[500])
    rows = [["part", "printed", "here"]]
    rows += [[layer, f"{AUTHORS_LAYERS[layer]:,.1f}", f"{own[layer]:,.1f}"] for layer in CHANNELS]
    rows += [["content", f"{AUTHORS_CONTENT:,.1f}", f"{own_content:,.1f}"]]
    rows += [["total", f"{AUTHORS_TOTALS[500]:,}", f"{float(result.loss):,.0f}"]]
    for step, printed in AUTHORS_TOTALS.items():
        if step <= len(losses):
            rows += [
                [f"lowest total until {step}", f"{printed:,}", f"{np.nanmin(losses[:step]):,.0f}"]
            ]
    rows += [
        ["his total reached at", "500", str(reached[0] + 1) if len(reached) else "not reached"]
    ]
    found = {
        "losses": losses,
        "style": own,
        "content": own_content,
        "shape": result.image.shape[:2],
    }
    return found, rows


def shrink_to_area(image: np.ndarray) -> np.ndarray:
    """The image with as many pixels as the author's, shrunk as he shrank it."""
    from skimage.transform import pyramid_reduce

    factor = (image.shape[0] * image.shape[1] / AUTHORS_AREA) ** 0.5
    return (
        np.clip(pyramid_reduce(image, factor, channel_axis=-1), 0, 1).astype(np.float32)
        if factor > 1
        else image
    )


def at_full_size(result: nst.TransferResult) -> np.ndarray:
    """The loss of each evaluation; infinite where it was made at a smaller size, so of another
    image."""
    return np.where(result.sizes == np.max(result.sizes), result.losses, np.inf)


def notebook(arguments: argparse.Namespace) -> tuple[dict, Table]:
    """The preset `notebook`; its loss at 100, 1000, 2000, 3000 and 4000 steps."""
    config, content, style, weights = notebooks_problem(arguments)
    result = whole(
        nst.stylize(
            nst.load_params(arguments.network), content, style, config, weights, callback=show
        )
    )
    return beside_the_notebooks(arguments, "notebook", result.image, result.losses)


def unbounded(arguments: argparse.Namespace) -> tuple[dict, Table]:
    """The same, its pixels not kept in [0, 1].

    That takes a CPU hours, so what is done is kept in OUTPUT_DIR until all is, and gone on with.
    """
    config, content, style, weights = notebooks_problem(arguments)
    learning_rate = optax.exponential_decay(
        config.learning_rate, transition_steps=100, decay_rate=config.decay
    )
    optimizer = optax.with_extra_args_support(optax.sgd(learning_rate))
    params = nst.prepare_params(nst.load_params(arguments.network))
    loss = nst.default_loss(config, weights)
    targets = nst.make_targets(params, content, style, config, loss)

    @partial(jax.jit, static_argnums=3)
    def run(state: nst.TransferState, params: Any, targets: Any, num_steps: int) -> Any:
        evaluate = lambda image: nst.loss_and_gradient(params, image, targets, weights, config)

        def move(state: nst.TransferState, _: None) -> Any:
            state, info = nst.step(state, evaluate, optimizer)
            return state, info.loss

        return jax.lax.scan(move, state, length=num_steps)

    state, losses = nst.init(content, optimizer), np.zeros(0, np.float32)
    made_of = repr((arguments.network, dataclasses.replace(config, num_steps=1)))
    key = hashlib.sha256(made_of.encode() + content.tobytes() + style.tobytes()).hexdigest()[:16]
    kept = arguments.output_dir / f"unbounded_{key}.partial"
    if kept.exists():
        fields, losses = from_bytes((vars(state), losses), kept.read_bytes())
        state = dataclasses.replace(state, **fields)
        if len(losses) > config.num_steps:
            sys.exit(f"{kept} has {len(losses)} steps already; ask for as many, or remove it")
    while len(losses) < config.num_steps:
        num_steps = min(UNBOUNDED_CHUNK, config.num_steps - len(losses))
        state, found = run(state, params, targets, num_steps)
        losses = np.append(losses, found)
        saving = kept.with_suffix(".new")
        saving.write_bytes(to_bytes((vars(state), losses)))
        saving.replace(kept)
        print(f"\r  step {len(losses)}, loss {losses[-1]:.6g}   ", end="", file=sys.stderr)
    image = np.clip(np.asarray(state.best_image), 0, 1)
    found = beside_the_notebooks(arguments, "unbounded", image, losses)
    kept.unlink(missing_ok=True)
    return found


def notebooks_problem(
    arguments: argparse.Namespace,
) -> tuple[nst.TransferConfig, np.ndarray, np.ndarray, nst.LossWeights]:
    preset = nst.PRESETS["notebook"]
    config = dataclasses.replace(
        preset.config, num_steps=arguments.num_steps or preset.config.num_steps
    )
    content = nst.read_image(arguments.content, rows=preset.rows, resample=preset.resample)
    style = nst.read_image(arguments.style, shape=content.shape[:2], resample=preset.resample)
    return (
        config,
        content,
        style,
        preset.loss_weights(),
    )


def beside_the_notebooks(
    arguments: argparse.Namespace, name: str, image: np.ndarray, losses: Any
) -> tuple[dict, Table]:
    write(arguments, name, image)
    losses = np.asarray(losses, np.float64)
    rows = [["steps", "printed", "here", "difference"]]
    for step, printed in NOTEBOOKS_LOSSES.items():
        if step <= len(losses):
            rows += [
                [
                    f"{step:,}",
                    f"{printed:,.1f}",
                    f"{losses[step - 1]:,.1f}",
                    f"{losses[step - 1] / printed - 1:+.2%}",
                ]
            ]
    return {"losses": losses, "shape": image.shape[:2]}, rows


def paper(arguments: argparse.Namespace) -> tuple[dict, Table]:
    """The preset `paper`, from noise, with weights normalised on photographs and their quarters."""
    preset = nst.PRESETS["paper"]
    photographs = read_photographs()
    params = nst.normalise_activations(
        nst.load_params(arguments.network), photographs, preset.config.pooling
    )
    size = arguments.size or preset.size
    content, style = (
        nst.read_image(path, size=size) for path in (arguments.content, arguments.style)
    )
    config = dataclasses.replace(
        preset.config, num_steps=arguments.num_steps or preset.config.num_steps
    )
    weights = preset.loss_weights()
    result = whole(nst.stylize(params, content, style, config, weights, callback=show))
    write(arguments, "paper", result.image)
    best = int(result.best_step) - 1
    parts = {"content": result.terms["content"], "style": result.terms["style"]}
    rows = [["part", "mean squared difference"]]
    rows += [
        [f"{kind}, {layer}", f"{float(found[best]):.4g}"]
        for kind, layers in parts.items()
        for layer, found in layers.items()
    ]
    rows += [["loss", f"{float(result.loss):.4g}"], ["images normalised on", str(len(photographs))]]
    return {
        "losses": result.losses,
        "images": len(photographs),
        "shape": result.image.shape[:2],
    }, rows


def read_photographs() -> list[np.ndarray]:
    """Each photograph and its four quarters, brought to 256 pixels a side."""
    images = []
    for folder, names in PHOTOGRAPHS.items():
        for name in names:
            whole = nst.read_image(packaged(*folder.split("."), name), shape=(512, 512))
            quarters = [
                whole[top : top + 256, left : left + 256] for top in (0, 256) for left in (0, 256)
            ]
            images += [whole.reshape(256, 2, 256, 2, 3).mean((1, 3)), *quarters]
    return images


def whole(result: nst.TransferResult) -> nst.TransferResult:
    """The result of a run that was not stopped by Ctrl-C."""
    return sys.exit("stopped; nothing was written") if result.cut_off else result


def write(arguments: argparse.Namespace, name: str, image: np.ndarray) -> None:
    if arguments.pictures:
        nst.write_image(arguments.pictures / f"{name}.png", np.asarray(image))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    runs: dict[str, Callable] = {
        "author": author,
        "notebook": notebook,
        "unbounded": unbounded,
        "paper": paper,
    }
    parser.add_argument("run", choices=runs)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("--network", default="vgg19-8bit")
    parser.add_argument("--num-steps", type=int, default=None, help="instead of the run's own")
    parser.add_argument(
        "--size", type=int, default=None, help="longest side of `paper`, instead of the preset's"
    )
    parser.add_argument("--output-dir", type=Path, default=Path("docs/published"))
    parser.add_argument(
        "--pictures",
        type=Path,
        default=None,
        help="folder for the picture; none is written if left out",
    )
    arguments = parser.parse_args()
    for folder in filter(None, (arguments.output_dir, arguments.pictures)):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        found, (head, *rows) = runs[arguments.run](arguments)
    except (nst.ConfigError, nst.ImageError, nst.WeightsError) as error:
        parser.exit(2, f"{error}\n")
    text = table(head, rows) + "\n"
    print(f"\n{text}", end="")
    arguments.output_dir.joinpath(f"{arguments.run}.md").write_text(text, "utf-8")
    found |= {
        "network": arguments.network,
        "losses": [round(float(loss), 6) for loss in found["losses"]],
    }
    arguments.output_dir.joinpath(f"{arguments.run}.json").write_text(
        json.dumps(found).replace("Infinity", "null") + "\n", "utf-8"
    )


if __name__ == "__main__":
    main()
