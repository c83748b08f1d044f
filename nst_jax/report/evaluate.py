"""How much of the content, and how much of the style, is in a result."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jaxtyping import Float

from nst_jax.checks import ConfigError
from nst_jax.network.vgg import Params, features
from nst_jax.pixels import check_image
from nst_jax.report.metrics import (
    colour_distance,
    gaussian_distance,
    gram_distance,
    halved,
    sliced_distance,
    structure_distance,
)
from nst_jax.report.perceptual import lpips_distance

Image = Float[jax.Array | np.ndarray, "_height _width 3"]

CONTENT_LAYER = "conv3_1"
"""Where the structure of content and result is compared, as by those who defined it."""

LAYERS = ("conv1_2", "conv2_2", "conv3_3", "conv4_3")
"""Where result and style are compared: layers that no run compares them at unless told to."""

SCALES = ("full", "half", "quarter")
"""Sizes at which Gram matrices are compared."""

LEAST_SIDE = 32
"""Pixels: at a quarter of them, the deepest layer has a position."""

MEANS_ARE = (
    "Distances, 0 for the same. LPIPS and CFSD (in millionths) are from the content,",
    "the others from the style: of colours, and of features of the installed VGG-16",
    f"on average over {', '.join(LAYERS)} (Gram also at 1/2, 1/4 size).",
)
"""What is said above a table of `means_over_layers`, in lines of 80 columns."""

_SEED, _NUM_DIRECTIONS = 20160627, 64
_WHOLE = {"LPIPS": "lpips", "CFSD": "cfsd", "colour": "colours"}
_BY_LAYER = {"Gram": "gram_full", "Gram/2": "gram_half", "Gram/4": "gram_quarter"}
_BY_LAYER |= {"W2": "w2", "sliced": "sliced"}


@dataclass(frozen=True)
class Evaluation:
    """How far a result is from its content and from its style: 0 is the same, in each number.

    Args:
        lpips: To the content: LPIPS; None where its weights are not installed.
        cfsd: To the content: how differently the positions of both resemble one another.
        colours: To the style: Hellinger distance of the histograms of colours, between 0 and 1.
        gram: To the style: ‖G − A‖² / ‖A‖² by scale, then by layer.
        w2: To the style: the Wasserstein distance of Gaussians, as a fraction of the distance of
            features that are all 0, by layer.
        sliced: To the style: the sliced Wasserstein distance, likewise, by layer.
    """

    lpips: float | None
    cfsd: float
    colours: float
    gram: Mapping[str, Mapping[str, float]]
    w2: Mapping[str, float]
    sliced: Mapping[str, float]

    def numbers(self) -> dict[str, float | None]:
        """All of them by name, such as `gram_half_conv1_2`."""
        by_layer = {f"gram_{scale}": self.gram[scale] for scale in SCALES}
        by_layer |= {"w2": self.w2, "sliced": self.sliced}
        return {"lpips": self.lpips, "cfsd": self.cfsd, "colours": self.colours} | {
            f"{name}_{layer}": value
            for name, values in by_layer.items()
            for layer, value in values.items()
        }


def means_over_layers(numbers: Mapping[str, float | None]) -> dict[str, float | None]:
    """The numbers of an evaluation by the headings of a table: one for all layers, CFSD · 10⁶.

    Args:
        numbers: As `Evaluation.numbers` has them, or a record.

    Returns:
        The mean over layers where there is a number for each; None where one is missing.
    """
    found = {heading: numbers.get(name) for heading, name in _WHOLE.items()}
    if found["CFSD"] is not None:
        found["CFSD"] *= 1e6
    for heading, name in _BY_LAYER.items():
        by_layer = [numbers.get(f"{name}_{layer}") for layer in LAYERS]
        known = [value for value in by_layer if value is not None]
        found[heading] = sum(known) / len(LAYERS) if len(known) == len(LAYERS) else None
    return found


def evaluate(params: Params, content: Image, style: Image, result: Image) -> Evaluation:
    """Measures how far a result is from its content and from its style.

    `report.metrics` has the equations. Features are those of max pooling, with which the networks
    were trained. A run wins on the statistic that it descends on, so look at the others: nothing is
    compared at layers of the default loss, and sliced distances are along 64 directions a layer
    that no run draws.

    Args:
        params: A network's parameters; numbers compare within one network alone. The command takes
            `load_params("vgg16")`.
        content: (height, width, 3) of floating-point sRGB in [0, 1], at least 32 pixels a side.
        style: Likewise, of any such size; brush strokes compare at the size at which a run saw it.
        result: Likewise, of the content's size.

    Raises:
        ConfigError: One is not such an image.

    Example:
        >>> found = nst.evaluate(nst.load_params("vgg16"), content, style, result.image)
        >>> found.lpips, found.w2["conv3_3"]
    """
    named = {"content": content, "style": style, "result": result}
    content, style, result = (_checked(name, image) for name, image in named.items())
    if content.shape != result.shape:
        raise ConfigError(
            f"content has shape {content.shape}, and result {result.shape}; bring the content to "
            "the size of the result"
        )
    gram: dict[str, dict[str, float]] = {}
    w2, sliced = {}, {}
    for scale, small, small_style in zip(SCALES, _scales(result), _scales(style), strict=True):
        gram[scale] = {}
        for layer, found, wanted in _positions(params, small, small_style, LAYERS):
            gram[scale][layer] = gram_distance(found, wanted)
            if scale == "full":
                w2[layer] = gaussian_distance(found, wanted)
                sliced[layer] = sliced_distance(found, wanted, _directions(layer, found.shape[1]))
    ((_, kept, found),) = _positions(params, content, result, (CONTENT_LAYER,))
    return Evaluation(
        lpips=lpips_distance(content, result),
        cfsd=structure_distance(kept, found),
        colours=colour_distance(result, style),
        gram=gram,
        w2=w2,
        sliced=sliced,
    )


def _checked(name: str, image: Image) -> np.ndarray:
    check_image(name, image)
    if min(np.shape(image)[:2]) < LEAST_SIDE:
        height, width, _ = np.shape(image)
        raise ConfigError(
            f"the {name} image has {width} × {height} pixels; each side must have at least "
            f"{LEAST_SIDE}"
        )
    return np.asarray(jax.device_get(image), np.float32)


def _scales(image: np.ndarray) -> Iterator[np.ndarray]:
    for _ in SCALES:
        yield image
        image = halved(image)


def _positions(
    params: Params, first: np.ndarray, second: np.ndarray, layers: tuple[str, ...]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each layer, and its features in both images: a row for each position, in float64."""
    images = jax.device_put((first, second))
    both = [jax.device_get(_features(params, image, layers=layers)) for image in images]
    for layer in layers:
        one, other = (found[layer].astype(np.float64) for found in both)
        channels = one.shape[-1]
        yield layer, one.reshape(-1, channels), other.reshape(-1, channels)


@partial(jax.jit, static_argnames="layers")
def _features(params: Params, image: jax.Array, layers: tuple[str, ...]) -> dict[str, jax.Array]:
    return features(params, image, layers, pooling="max")


def _directions(layer: str, channels: int) -> np.ndarray:
    """Directions of a layer, spread evenly, always the same ones."""
    normals = np.random.default_rng([_SEED, LAYERS.index(layer)]).normal(
        size=(_NUM_DIRECTIONS, channels)
    )
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)
