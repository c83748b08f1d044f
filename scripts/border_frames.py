"""The frame that a border paints: what a run changes along the edge, over what it changes inside.

    python scripts/border_frames.py [--folder FOLDER] [--output-dir docs/benchmarks]

Paints a flat grey picture, a smooth one and a photograph in brush strokes with each border, and
prints two ratios of the band of 8 pixels along the edge to the rest: of the change itself, mean
|picture − content|, and of its roughness, the mean difference of its neighbours. 1 is no frame.
"""

import argparse
from pathlib import Path

import numpy as np
from benchmark import table
from paper_figures import packaged

import nst_jax as nst

BAND = 8
BORDERS = ("zero", "replicate", "reflect", "wrap")


def contents(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    rows, columns = (np.linspace(0, 1, side) for side in shape)
    ramp = np.stack(np.broadcast_arrays(0.3 + 0.4 * rows[:, None], 0.35 + 0.3 * columns), -1)
    smooth = np.concatenate([ramp, np.full((*shape, 1), 0.6)], -1).astype(np.float32)
    photograph = packaged("sklearn", "datasets", "images") / "china.jpg"
    return {
        "grey": np.full((*shape, 3), 0.5, np.float32),
        "smooth": smooth,
        "china": nst.read_image(photograph, shape=shape),
    }


def frame(change: np.ndarray) -> tuple[float, float]:
    """The two ratios of a change, (height, width, 3)."""
    steps = [np.abs(np.diff(change, axis=axis)) for axis in (0, 1)]
    steps = np.stack([steps[0][:, :-1], steps[1][:-1]]).mean(0)
    return _edge_over_rest(np.abs(change)), _edge_over_rest(steps)


def _edge_over_rest(values: np.ndarray) -> float:
    is_edge = np.ones(values.shape[:2], bool)
    is_edge[BAND:-BAND, BAND:-BAND] = False
    return float(values[is_edge].mean() / values[~is_edge].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("frames"), help="the pictures")
    parser.add_argument("--output-dir", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--network", default="vgg19-8bit")
    parser.add_argument("--size", type=int, default=192, help="width, a multiple of 48")
    parser.add_argument("--num-steps", type=int, default=100)
    arguments = parser.parse_args()
    params = nst.load_params(arguments.network)
    style = nst.read_image(packaged("nst_jax", "cli", "brush_strokes.jpg"), size=arguments.size)
    shape = arguments.size * 2 // 3, arguments.size
    rows, sheet = [], []
    for name, content in contents(shape).items():
        pictures = {}
        for border in BORDERS:
            config = nst.TransferConfig(num_steps=arguments.num_steps, border=border)
            result = nst.stylize(params, content, style, config)
            pictures[border] = np.asarray(result.image)
            change, roughness = frame(pictures[border] - content)
            loss = f"{float(result.loss):.3f}"
            rows.append([name, border, f"{change:.2f}", f"{roughness:.2f}", loss])
            print(" ".join(rows[-1]), flush=True)
        sheet.append([content, *pictures.values()])
    text = table(["content", "border", "change", "roughness", "loss"], rows)
    print(text)
    for folder in (arguments.folder, arguments.output_dir):
        folder.mkdir(parents=True, exist_ok=True)
    how = f"{arguments.network}, {shape[1]} × {shape[0]} pixels, {arguments.num_steps} evaluations"
    arguments.output_dir.joinpath("borders.md").write_text(f"{how}\n\n{text}\n", "utf-8")
    labels = ["content", *BORDERS]
    nst.write_image(
        arguments.folder / "frames.png",
        nst.make_labelled_sheet(sheet, column_labels=labels, cell=arguments.size),
    )


if __name__ == "__main__":
    main()
