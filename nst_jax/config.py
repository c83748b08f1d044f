"""What a run is: its layers, its scaling, its optimiser. Validated on construction, hashable, and so a static argument of what is compiled."""

import dataclasses
import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Integral
from types import MappingProxyType
from typing import Any, Literal, get_args

Pooling = Literal["avg", "max"]
Scaling = Literal["relative", "paper", "mean", "notebook"]
Optimizer = Literal["lbfgs", "adam", "sgd"]
Init = Literal["content", "style", "noise"]
Precision = Literal["highest", "default", "bfloat16"]

TILE_ALIGNMENT = 64
"""Pixels of which a tile's side is a multiple: four poolings, and Winograd's blocks of four."""

LARGEST_WEIGHT = 3.4e38
"""What a weight must be less than: float32 ends there."""

LARGEST_SEED = 2**32 - 1

# Beyond what any run can use, so that a slip of the hand, or a hostile file, is not taken at its word.
_MOST_STEPS, _MOST_PAIRS, _LARGEST_TILE = 10_000_000, 1000, 2**20

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")


class ConfigError(ValueError):
    """A setting is wrong; the message says which, what it may be, and what to do."""


@dataclass(frozen=True)
class TransferConfig:
    """The settings of one style transfer, apart from the weights of its loss.

    Args:
        content_layers: Layers at which the content is compared.
        style_layers: Layers at which the Gram matrices are compared.
        pooling: How the network pools, `"avg"` or `"max"`.
        scaling: What each layer's squared distance is multiplied by; see `nst_jax.objective`.
        optimizer: `"lbfgs"`, `"adam"` or `"sgd"`.
        num_steps: Evaluations of the loss and its gradient, one a step, over all sizes together.
        init: The image that the descent starts from: `"content"`, `"style"` (resized to the content's shape) or `"noise"` (uniform in [0, 1]).
        memory: Pairs that L-BFGS keeps, each two images large.
        learning_rate: Adam's and SGD's step, in units of the [0, 1] pixel range; unused by L-BFGS.
        decay: Factor by which the learning rate falls, continuously, over 100 steps.
        tile: Side in pixels, a multiple of 64, of the tiles in which the loss and its gradient are evaluated, one after another, with the same
            result but for rounding, in memory set by the tile; 0 evaluates the image whole.
        precision: How the convolutions of a GPU or TPU compute: `"highest"` in float32, `"default"` in float32 with rounded factors, or on
            `"bfloat16"` activations. Gram matrices are float32 in all. On a CPU, the first two are the same.
        coarse_to_fine: Whether images whose longest side has 384 pixels or more are descended on at half the size first, and noise of any size
            at several smaller ones; see `nst_jax.schedule`.
        tolerance: Stop (each size) once the best loss falls by less than this fraction over 10 steps; 0 runs all of `num_steps`.

    Raises:
        ConfigError: A value is outside what is listed above.

    References:
        Gatys, Ecker and Bethge (CVPR 2016), sections 2.2 and 2.3 for the layers.
    """

    content_layers: tuple[str, ...] = ("conv4_2",)
    style_layers: tuple[str, ...] = STYLE_LAYERS
    pooling: Pooling = "avg"
    scaling: Scaling = "relative"
    optimizer: Optimizer = "lbfgs"
    num_steps: int = 500
    init: Init = "content"
    memory: int = 30  # with 20, two pairs of pictures took 1 and 10 % more steps to the same loss (384 pixels), each cheaper by 1 %
    learning_rate: float = 0.02
    decay: float = 1.0
    tile: int = 0
    precision: Precision = "highest"
    coarse_to_fine: bool = True
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        for name in ("content_layers", "style_layers"):
            layers = getattr(self, name)
            if isinstance(layers, str):
                raise ConfigError(f"{name} is the text {layers!r}; give a tuple of names, such as ({layers!r},)")
            object.__setattr__(self, name, tuple(layers))
            for layer in layers:
                if not re.fullmatch(r"conv[1-5]_[1-4]", str(layer)):
                    raise ConfigError(f"unknown layer {layer!r} in {name}; layers are called conv1_1 … conv5_4 (VGG-16: … conv5_3)")
            if len(set(layers)) < len(layers):
                raise ConfigError(f"{name} names a layer twice: {', '.join(layers)}")
        if not self.content_layers and not self.style_layers:
            raise ConfigError("there is nothing to descend on: content_layers and style_layers are both empty")
        _one_of("pooling", self.pooling, get_args(Pooling))
        _one_of("scaling", self.scaling, get_args(Scaling))
        _one_of("optimizer", self.optimizer, get_args(Optimizer))
        _one_of("init", self.init, get_args(Init))
        _one_of("precision", self.precision, get_args(Precision))
        _one_of("coarse_to_fine", self.coarse_to_fine, (False, True))
        check_at_least("num_steps", self.num_steps, 1, _MOST_STEPS)
        check_at_least("memory", self.memory, 1, _MOST_PAIRS)
        check_at_least("tile", self.tile, 0, _LARGEST_TILE)
        if self.tile % TILE_ALIGNMENT:
            raise ConfigError(f"tile is {self.tile}; it must be a multiple of {TILE_ALIGNMENT} pixels, or 0")
        for name in ("learning_rate", "decay"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be positive")
        if not 0 <= self.tolerance < 1:
            raise ConfigError(f"tolerance is {self.tolerance}; it must be at least 0 and less than 1")


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(str, allowed))}")


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_at_least(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Makes sure that a setting is a whole number, `least` or more and `most` or less.

    Raises:
        ConfigError: It is not.
    """
    if not _is_whole(value) or value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, {bounds}")


def check_weight(name: str, value: Any) -> None:
    """Makes sure that a part of the loss, of that name, can have that weight.

    Raises:
        ConfigError: It cannot.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < LARGEST_WEIGHT:
        raise ConfigError(f"{name} is {value!r}; it must be a finite number, at least 0")


def check_known(key: str, known: Collection[str]) -> None:
    """Makes sure that a key of a file is one of those known.

    Raises:
        ConfigError: It is not; the message names the nearest one.
    """
    if key not in known:
        near = difflib.get_close_matches(key, known, 1)
        raise ConfigError(f"unknown key {key!r}; {f'did you mean {near[0]}?' if near else 'known are ' + ', '.join(known)}")


@dataclass(frozen=True)
class Preset:
    """A whole configuration known by a name: the settings of the transfer, the weights of its loss, and how the images are read.

    Args:
        config: The transfer's settings.
        content_weight: Weight of the content term.
        style_weight: Weight of the style term.
        tv_weight: Weight of the total variation.
        network: As `load_params` takes it, or None for the best that is to be had.
        size: Longest side of the result in pixels, or None where `rows` says it.
        rows: Height of the result in pixels, or None where `size` says it.
        resample: Filter that resizes the images, `"lanczos"` or `"nearest"`.
        squash_style: Whether the style image is squashed to the content's shape instead of keeping its own.
        save_every: Steps between saved images; 0 saves the last alone.

    Raises:
        ConfigError: A value cannot be.
    """

    config: TransferConfig = TransferConfig()
    content_weight: float = 1.0
    style_weight: float = 20.0
    tv_weight: float = 0.0
    network: str | None = None
    size: int | None = 512
    rows: int | None = None
    resample: Literal["lanczos", "nearest"] = "lanczos"
    squash_style: bool = False
    save_every: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "rows"):
            value = getattr(self, name)
            if value is not None and not _is_whole(value):
                raise ConfigError(f"{name} is {value!r}; it must be a whole number of pixels")
        for name in ("content_weight", "style_weight", "tv_weight"):
            check_weight(f"--{name.replace('_', '-')}", getattr(self, name))
        check_at_least("--save-every", self.save_every, 0)
        _one_of("resample", self.resample, ("lanczos", "nearest"))
        _one_of("squash_style", self.squash_style, (False, True))

    def replace(self, **changes: object) -> "Preset":
        """A copy with the given fields changed; fields of `config` may be named directly."""
        inner = {name: changes.pop(name) for name in list(changes) if name in _CONFIG_FIELDS}
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **inner), **changes)


_CONFIG_FIELDS = {field.name for field in dataclasses.fields(TransferConfig)}

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "default": Preset(),
        "paper": Preset(
            TransferConfig(scaling="mean", init="noise", num_steps=500, coarse_to_fine=False),
            content_weight=1e-3,
            style_weight=1.0,
        ),
        "notebook": Preset(
            TransferConfig(
                content_layers=("conv5_2",),
                pooling="max",
                scaling="notebook",
                optimizer="sgd",
                num_steps=4000,
                # 100 in units of the 0–255 range: the gradient grows by 255 and the pixels shrink by 255 when the range is [0, 1].
                learning_rate=100 / 255**2,
                decay=0.96,
                coarse_to_fine=False,
            ),
            content_weight=2.5e-8,
            style_weight=1e-6,
            tv_weight=1e-6,
            size=None,
            rows=400,
            resample="nearest",
            squash_style=True,
            save_every=100,
        ),
    }
)
"""The named configurations. `paper` is meant for activation-normalised weights; `notebook` is the Keras notebook, but for its pixels,
which it lets leave the range until it saves them: here they are kept within it."""
