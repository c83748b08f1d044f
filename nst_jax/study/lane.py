"""A lane: one run of a study, by all that an axis can vary."""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nst_jax.checks import ConfigError, check_weight
from nst_jax.config import TransferConfig
from nst_jax.objective.weights import TermWeights

CONFIG = tuple(field.name for field in dataclasses.fields(TransferConfig))
"""The names of the config's fields."""


@dataclass(frozen=True)
class Lane:
    """One run of a study.

    An axis can vary each of these, and each field of the config and of the weights.

    Args:
        content: Name of its content image.
        style: Name of its style image.
        config: Its settings.
        weights: What the terms count; None where the lane has a loss of the study's own.
        layer_weights: Name of its set of weights by layer, or None where all layers count alike.
        seed: Seed of its random key, which `init="noise"` uses.
        loss: Name of its loss where the study has losses of its own.
        style_size: At which size its style images were read, as the command line takes it; empty
            where arrays are given.
    """

    content: str
    style: str
    config: TransferConfig
    weights: TermWeights | None = dataclasses.field(default_factory=TermWeights)
    layer_weights: str | None = None
    seed: int = 0
    loss: str | None = None
    style_size: tuple[str, ...] = ()

    @property
    def style_key(self) -> str:
        """What its style is called among the images of a study, where it is there in each size."""
        return " ".join((self.style, *self.style_size))

    @property
    def images_seen(self) -> Hashable:
        """What decides the images that its run sees, and what becomes of its own."""
        return self.content, self.style_key, self.config.colours

    @property
    def content_seen(self) -> Hashable:
        """What decides the content image that its run sees."""
        return self.content, self.config.colours == "luminance"

    @property
    def style_seen(self) -> Hashable:
        """What decides its style: one that is recoloured is another with each content."""
        own = self.config
        content = None if own.colours == "style" else self.content
        return self.style_key, own.style_mix, own.style_turns, own.colours, content

    def replace(self, **changes: Any) -> "Lane":
        """The lane with other values; those of its config and weights go by their own names.

        Raises:
            ConfigError: The config cannot have one of them.
        """
        for part, names in _PARTS.items():
            inner = {name: changes.pop(name) for name in names if name in changes}
            if inner:
                changes[part] = dataclasses.replace(getattr(self, part), **inner)
        return dataclasses.replace(self, **changes)

    def settings(self) -> dict[str, Any]:
        """All of it by name, in one mapping.

        None for what a loss of the study's own leaves without a meaning.
        """
        values = vars(self) | vars(self.config) | vars(self.weights or TermWeights())
        nothing = dict.fromkeys(OF_THE_DEFAULT_LOSS) if self.loss is not None else {}
        return {name: values[name] for name in AXES} | nothing


WEIGHTS = tuple(field.name for field in dataclasses.fields(TermWeights))
"""Those of its names that are the weight of a term of the default loss."""

_PARTS = {"config": CONFIG, "weights": WEIGHTS}

AXES = (
    "content",
    "style",
    *WEIGHTS,
    *(
        field.name
        for field in dataclasses.fields(Lane)
        if field.name not in ("content", "style", *_PARTS)
    ),
    *CONFIG,
)
"""The names that an axis may have."""

OF_THE_DEFAULT_LOSS = (
    *WEIGHTS,
    "layer_weights",
    "content_layers",
    "style_layers",
    "style_loss",
    "content_loss",
    "scaling",
)
"""What a loss of the study's own leaves without a meaning."""

NUMBERS_AXES = tuple(
    field.name for field in dataclasses.fields(TransferConfig) if field.type == tuple[float, ...]
)
"""Those each of whose values is several numbers."""


def weights_by_layer(chosen: Mapping[str, float], layers: Sequence[str]) -> dict[str, float]:
    """What a set of weights makes of the content layers, or of the style layers.

    It leaves them alike if it says nothing of them.
    """
    if any(layer in chosen for layer in layers):
        return {layer: float(chosen.get(layer, 0.0)) for layer in layers}
    return {layer: 1 / len(layers) for layer in layers}


def check_layer_weights(name: str, chosen: Any, layers: Sequence[str]) -> None:
    """Makes sure that a set of weights is one, for those layers.

    Raises:
        ConfigError: It is not.
    """
    if not isinstance(chosen, Mapping) or not chosen:
        raise ConfigError(f"layer_weights {name} is {chosen!r}; it must map layers to weights")
    for layer, weight in chosen.items():
        if layer not in layers:
            raise ConfigError(
                f"layer_weights {name} weighs {layer}, which is not among the layers "
                f"{', '.join(layers)}"
            )
        check_weight(f"layer_weights {name}, {layer},", weight)
