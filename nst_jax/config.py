"""What a run is: its layers, its scaling, its optimiser.

A config is validated when it is made. It is hashable, and so a static argument of compiled
programs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from nst_jax.checks import (
    ConfigError,
    check_at_least,
    check_layers,
    check_one_of,
    check_scaling,
    checked_mix,
    checked_shares,
    is_number,
)
from nst_jax.layer_names import layer_name

Pooling = Literal["avg", "max"]
Scaling = Literal["relative", "paper", "mean", "notebook"]
Optimizer = Literal["lbfgs", "adam", "sgd"]
Init = Literal["content", "style", "noise"]
Precision = Literal["highest", "default", "bfloat16"]
Colours = Literal["style", "content", "luminance"]
StyleLoss = Literal["gram", "covariance", "batch_norm", "wasserstein", "sliced_wasserstein"]
ContentLoss = Literal["features", "self_similarity"]
Border = Literal["zero", "replicate", "reflect", "wrap", "wrap_x", "wrap_y"]

TILE_ALIGNMENT = 64
"""Pixels of which a tile's side is a multiple: four poolings, and Winograd's blocks of four."""

# Beyond any use, so that a slip of the hand, or a hostile file, is not taken at its word.
_MOST_STEPS, _MOST_PAIRS, _MOST_OCTAVES, _LARGEST_TILE = 10_000_000, 1000, 8, 2**20

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")

_CHOICES: dict[str, tuple[object, ...]] = {
    "style_loss": get_args(StyleLoss),
    "content_loss": get_args(ContentLoss),
    "pooling": get_args(Pooling),
    "scaling": get_args(Scaling),
    "optimizer": get_args(Optimizer),
    "init": get_args(Init),
    "precision": get_args(Precision),
    "border": get_args(Border),
    "colours": get_args(Colours),
    **dict.fromkeys(("coarse_to_fine", "style_turns", "balance"), (False, True)),
}

_SCHEDULED: dict[str, Any] = {"is_scheduled": True}
_OF_NAMED_OPTIMIZERS: dict[str, Any] = {"is_of_named_optimizers": True}
_TRACED: dict[str, Any] = {"is_traced": True}
_OF_IMAGES: dict[str, Any] = {"is_of_images": True}  # what the content and the style are made of


@dataclass(frozen=True)
class TransferConfig:
    """The settings of one style transfer, apart from the weights of its loss.

    The command line has each as an option, and says of it what stands here.

    Args:
        content_layers: Layers at which the content is compared, such as conv4_2.
        style_layers: Layers at which the style is compared.
        style_loss: What of the style's features is compared: the Gram matrix; mean and covariance;
            means and deviations of channels (batch_norm); the cost of moving one Gaussian onto the
            other (wasserstein), or one distribution along some directions (sliced_wasserstein).
        content_loss: What of the content is compared: the features, or how alike those of its
            positions are to each other (self_similarity), whatever they become.
        pooling: How the network pools; avg gives smoother pictures, max is what the network was
            trained with.
        scaling: What each layer's squared distance is multiplied by; relative suits all sizes.
        optimizer: Method of descent.
        num_steps: Evaluations of the network, one a step, over all sizes together.
        init: What the descent starts from: the content, noise, or the style (the first that counts)
            resized to the content.
        memory: Pairs that L-BFGS keeps, each two images large.
        learning_rate: Step of adam and sgd, where 1 is from black to white.
        decay: Factor by which the learning rate falls, continuously, over 100 steps.
        average: Paint the average of the images on the way, each counting this fraction of the
            next, such as 0.99; of adam, sgd or an optimiser of your own. One evaluation more tells
            its loss. 0 paints the best image.
        tile: Side in pixels, a multiple of 64, of tiles that are evaluated one after another, with
            the same result but for rounding, in less memory; 0: whole, if it fits.
        precision: How a GPU or TPU multiplies: highest in float32, default in float32 with rounded
            factors, bfloat16 on activations of half the size. Sums are float32 in all. On a CPU
            with AMX or AVX512-BF16, runs round factors from conv2_1 on to bfloat16 by the last
            two; on others, they compute as by the first.
        border: How the network sees beyond the image: zero paints a faint frame; replicate repeats
            the outermost pixels, reflect mirrors at them; wrap tiles, going on at the other side,
            wrap_x only from right to left, wrap_y from bottom to top: multiples of 16 pixels.
        coarse_to_fine: Descend at half the size first, from 384 pixels up; from noise, at several
            smaller sizes.
        coarse_steps: Shares of the steps at half the size, at a quarter, and so on, where the usual
            ones are not wanted.
        octaves: Compare the picture at its size, at half of it, and so on, so many times if it is
            large enough: the mean counts, so that large forms are met, too; three take 1.6 times
            the time.
        colours: Whose colours the picture has: the style's; the content's, by recolouring the style
            before; or the content's by painting its luminance alone.
        style_mix: Shares of several style images in the style, in any unit; equal if left out.
        style_turns: Count each style as the mean of its four quarter turns, so that its strokes run
            either way.
        balance: Weigh the style's layers so that each pulls alike where the run begins, measured
            once there; their weights add up as before.
        tolerance: Stop (each size) once the best loss falls by less than this fraction in 10 steps,
            never at 0.

    Raises:
        ConfigError: A value is outside what is listed above.

    References:
        Gatys, Ecker and Bethge (CVPR 2016), sections 2.2 and 2.3 for the layers.
    """

    content_layers: tuple[str, ...] = ("conv4_2",)
    style_layers: tuple[str, ...] = STYLE_LAYERS
    style_loss: StyleLoss = "gram"
    content_loss: ContentLoss = "features"
    pooling: Pooling = "avg"
    scaling: Scaling = "relative"
    optimizer: Optimizer = field(default="lbfgs", metadata=_OF_NAMED_OPTIMIZERS)
    num_steps: int = field(default=500, metadata=_SCHEDULED)
    init: Init = field(default="content", metadata=_SCHEDULED)
    memory: int = field(default=30, metadata=_OF_NAMED_OPTIMIZERS)
    learning_rate: float = field(default=0.02, metadata=_OF_NAMED_OPTIMIZERS | _TRACED)
    decay: float = field(default=1.0, metadata=_OF_NAMED_OPTIMIZERS)
    average: float = 0.0
    tile: int = 0
    precision: Precision = "highest"
    border: Border = "zero"
    coarse_to_fine: bool = field(default=True, metadata=_SCHEDULED)
    coarse_steps: tuple[float, ...] = field(default=(), metadata=_SCHEDULED)
    octaves: int = 1
    colours: Colours = field(default="style", metadata=_SCHEDULED | _OF_IMAGES)
    style_mix: tuple[float, ...] = field(default=(), metadata=_SCHEDULED | _OF_IMAGES)
    style_turns: bool = field(default=False, metadata=_SCHEDULED | _OF_IMAGES)
    balance: bool = field(default=False, metadata=_SCHEDULED)
    tolerance: float = field(default=0.0, metadata=_SCHEDULED)

    def __post_init__(self) -> None:
        for name in ("content_layers", "style_layers"):
            layers = getattr(self, name)
            if isinstance(layers, str):
                raise ConfigError(
                    f"{name} is the text {layers!r}; give a tuple of names, such as ({layers!r},)"
                )
            if not isinstance(layers, Iterable):
                raise ConfigError(f"{name} is {layers!r}; give a tuple of names, or ()")
            layers = tuple(map(layer_name, layers))
            object.__setattr__(self, name, layers)
            check_layers(name, layers)
            if len(set(layers)) < len(layers):
                raise ConfigError(f"{name} names a layer twice: {', '.join(layers)}")
        if not self.content_layers and not self.style_layers:
            raise ConfigError(
                "there is nothing to descend on: content_layers and style_layers are both empty"
            )
        for name, allowed in _CHOICES.items():
            check_one_of(name, getattr(self, name), allowed)
        check_scaling("style_loss", self.style_loss, self.scaling)
        check_scaling("content_loss", self.content_loss, self.scaling)
        object.__setattr__(self, "style_mix", checked_mix("style_mix", self.style_mix))
        object.__setattr__(self, "coarse_steps", checked_shares("coarse_steps", self.coarse_steps))
        if self.coarse_steps and not self.coarse_to_fine:
            raise ConfigError(
                f"coarse_steps is {self.coarse_steps}, but coarse_to_fine is off; leave one of the "
                "two out"
            )
        check_at_least("num_steps", self.num_steps, 1, _MOST_STEPS)
        check_at_least("memory", self.memory, 1, _MOST_PAIRS)
        check_at_least("octaves", self.octaves, 1, _MOST_OCTAVES)
        check_at_least("tile", self.tile, 0, _LARGEST_TILE)
        if self.tile % TILE_ALIGNMENT:
            raise ConfigError(
                f"tile is {self.tile}; it must be a multiple of {TILE_ALIGNMENT} pixels, or 0"
            )
        for name in ("learning_rate", "decay"):
            value = getattr(self, name)
            if not is_number(value) or not 0 < value < float("inf"):
                raise ConfigError(f"{name} is {value!r}; it must be a positive number")
        for name in ("average", "tolerance"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < 1:
                raise ConfigError(
                    f"{name} is {value!r}; it must be a number, at least 0 and less than 1"
                )

    def replace(self, **changes: Any) -> "TransferConfig":
        """The settings with some changed, such as `config.replace(num_steps=200)`."""
        return replace(self, **changes)

    def program(self, has_optimizer: bool = False) -> "TransferConfig":
        """The settings that decide a compiled program.

        Those that are only scheduled, or traced, are as they are by default.

        Args:
            has_optimizer: Whether the optimiser is given apart, so that what is said of those that
                go by a name decides nothing.
        """
        own = ("is_of_named_optimizers",) if has_optimizer else ()
        return self._blank("is_scheduled", "is_traced", *own)

    def group(self) -> "TransferConfig":
        """What lanes of one compiled program have in common."""
        # Noise goes through sizes of its own.
        alike = self._blank("is_traced", "is_of_images")
        return alike if self.init == "noise" else replace(alike, init="content")

    def _blank(self, *kinds: str) -> "TransferConfig":
        """The fields of some kinds as they are by default."""
        return replace(
            self,
            **{
                own.name: own.default
                for own in fields(self)
                if any(kind in own.metadata for kind in kinds)
            },
        )


NAMED_OPTIMIZERS_OWN = tuple(
    own.name for own in fields(TransferConfig) if "is_of_named_optimizers" in own.metadata
)
"""The settings that have no effect where an optimiser is given apart."""
