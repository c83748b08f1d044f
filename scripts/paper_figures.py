"""Makes the figures of Gatys, Ecker and Bethge (CVPR 2016) anew, each as one labelled image.

    python scripts/paper_figures.py --figure 1|4|5|6|7|all [--size 384] [--num-steps 200]
    [--output-dir docs/figures]

Without other images, the photographs are those of scikit-learn and scikit-image (extra `figures`),
and the painting is the demo's.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nst_jax as nst

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
CONTENT_LAYERS = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")
RATIOS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
PAPERS_WEIGHTS = nst.LossWeights(grain=None)


def packaged(package: str, *parts: str) -> Path:
    """A file that comes with a package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(
            f"{package} is not installed, whose images are the default; run: pip install "
            "'.[figures]', or name images of your own"
        )
    return Path(spec.submodule_search_locations[0], *parts)


class Figures:
    """The figures by number; each method returns a labelled image."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.params = nst.load_params(arguments.network)
        self.content = nst.read_image(arguments.content, size=arguments.size)
        self.style = nst.read_image(arguments.style, size=arguments.size)
        self.day = nst.read_image(arguments.day, size=arguments.size)
        self.night = nst.read_image(arguments.night, size=arguments.size)
        self.num_steps = arguments.num_steps

    def study(
        self, axes: dict[str, Any], content: Any = None, style: Any = None, **settings: Any
    ) -> nst.StudyResult:
        """A study from noise, unless an axis or a setting says otherwise."""
        config = nst.TransferConfig(**{"init": "noise", "num_steps": self.num_steps, **settings})
        zipped = len(axes) > 1
        content = self.content if content is None else content
        style = self.style if style is None else style
        return nst.run_study(
            self.params, content, style, axes, config, PAPERS_WEIGHTS, zipped=zipped, callback=show
        )

    def figure_1(self) -> np.ndarray:
        """Reconstructions of the content from single layers, and of the style from more and more
        layers."""
        content = self.study(
            {"content_layers": [(layer,) for layer in CONTENT_LAYERS]}, style_layers=()
        )
        sets = [STYLE_LAYERS[: depth + 1] for depth in range(len(STYLE_LAYERS))]
        style = self.study({"style_layers": sets}, content_layers=())
        return nst.make_labelled_sheet(
            [style.image, content.image],
            ["style: layers\nconvk_1 up to", "content: layer\nconvk_2"],
            [f"k = {k}" for k in range(1, 6)],
            "Figure 1: what is left of the image in each layer",
        )

    def figure_4(self) -> np.ndarray:
        """The trade-off between content and style."""
        result = self.study({"style_weight": [1 / ratio for ratio in RATIOS]})
        return nst.make_labelled_sheet(
            [result.image],
            ["content /\nstyle"],
            [f"{ratio:g}" for ratio in RATIOS],
            "Figure 4: the trade-off",
        )

    def figure_5(self) -> np.ndarray:
        """The effect of the content layer."""
        layers = ("conv2_2", "conv4_2")
        result = self.study({"content_layers": [(layer,) for layer in layers]})
        return nst.make_labelled_sheet(
            [result.image], ["content\nlayer"], layers, "Figure 5: the effect of the content layer"
        )

    def figure_6(self) -> np.ndarray:
        """The effect of what the descent starts from."""
        axes = {"init": ("content", "style", *["noise"] * 4), "seed": (0, 0, 0, 1, 2, 3)}
        images = self.study(axes).image
        captions = [
            ["from the content", "from the style", "noise, seed 0"],
            ["noise, seed 1", "noise, seed 2", "noise, seed 3"],
        ]
        return nst.make_labelled_sheet(
            [images[:3], images[3:]], title="Figure 6: where the descent starts", captions=captions
        )

    def figure_7(self) -> np.ndarray:
        """A photograph in the style of another."""
        axes = {"matting_weight": [0.0, nst.PRESETS["photorealistic"].matting_weight]}
        result = self.study(axes, self.day, self.night, init="content")
        day = nst.make_sheet([self.day])
        night = nst.make_sheet([self.night], height=self.day.shape[0])
        return nst.make_labelled_sheet(
            [[day, night, *result.image]],
            (),
            ("content", "style", "the paper's loss", "and the matting energy"),
            "Figure 7: photorealistic transfer",
        )


def show(progress: nst.Progress) -> None:
    print(
        (
            f"\r  step {progress.step} of {progress.num_steps}, loss "
            f"{float(np.max(progress.best_loss)):.4g}   "
        ),
        end="",
        file=sys.stderr,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--figure", choices=["1", "4", "5", "6", "7", "all"], default="all")
    parser.add_argument(
        "--size", type=int, default=384, help="longest side of each image in pixels"
    )
    parser.add_argument("--num-steps", type=int, default=200, help="evaluations for each image")
    parser.add_argument("--network", default="vgg19-8bit")
    parser.add_argument("--output-dir", type=Path, default=Path("docs/figures"))
    parser.add_argument(
        "--content", type=Path, default=None, help="photograph of figures 1, 4, 5 and 6"
    )
    parser.add_argument(
        "--style", type=Path, default=None, help="painting of figures 1, 4, 5 and 6"
    )
    parser.add_argument("--day", type=Path, default=None, help="content photograph of figure 7")
    parser.add_argument("--night", type=Path, default=None, help="style photograph of figure 7")
    arguments = parser.parse_args()
    arguments.content = arguments.content or packaged("sklearn", "datasets", "images", "china.jpg")
    arguments.day = arguments.day or packaged("sklearn", "datasets", "images", "china.jpg")
    arguments.style = arguments.style or packaged("nst_jax", "cli", "brush_strokes.jpg")
    arguments.night = arguments.night or packaged("skimage", "data", "rocket.jpg")
    try:
        arguments.output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.exit(
            2,
            (
                f"{arguments.output_dir}: cannot be made ({error.strerror}); choose another "
                "--output-dir\n"
            ),
        )
    try:
        figures = Figures(arguments)
        for number in (
            ("7", "5", "4", "1", "6") if arguments.figure == "all" else (arguments.figure,)
        ):
            make: Callable[[], np.ndarray] = getattr(figures, f"figure_{number}")
            path = arguments.output_dir / f"figure_{number}.jpg"
            nst.write_image(path, make())
            print(f"\nwrote {path}")
    except (nst.ConfigError, nst.ImageError, nst.WeightsError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
