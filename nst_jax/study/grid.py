"""What a study varies: its axes, and the lanes they span."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from nst_jax.config import LARGEST_SEED, ConfigError, TransferConfig, check_at_least, check_weight
from nst_jax.descent.problem import check_numbers, spelt_out
from nst_jax.objective.default import LossWeights
from nst_jax.objective.terms import Loss


@dataclass(frozen=True)
class Lane:
    """One run of a study. An axis can vary each of these, and each field of the config.

    Args:
        content: Name of its content image.
        style: Name of its style image.
        config: Its settings.
        content_weight: Weight of the content term; None where the lane has a loss of the study's
            own, and so for the next three.
        style_weight: Weight of the style term.
        tv_weight: Weight of the total variation.
        layer_weights: Name of its set of weights by layer, or None where all layers count alike.
        seed: Seed of its random key, which `init="noise"` uses.
        loss: Name of its loss where the study has losses of its own.
    """

    content: str
    style: str
    config: TransferConfig
    content_weight: float | None = 1.0
    style_weight: float | None = 20.0
    tv_weight: float | None = 0.0
    layer_weights: str | None = None
    seed: int = 0
    loss: str | None = None

    def replace(self, **changes: Any) -> "Lane":
        """The lane with other values; those of its config go by their own names.

        Raises:
            ConfigError: The config cannot have one of them.
        """
        inner = {name: changes.pop(name) for name in list(changes) if name in _CONFIG}
        return dataclasses.replace(
            self, config=dataclasses.replace(self.config, **inner), **changes
        )

    def settings(self) -> dict[str, Any]:
        """All of it by name, in one mapping; None for what a loss of the study's own leaves without
        a meaning."""
        own = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "config"
        }
        nothing = dict.fromkeys(_OF_THE_DEFAULT_LOSS) if self.loss is not None else {}
        return {**own, **dataclasses.asdict(self.config), **nothing}


_MOST_LANES = 100_000
_CONFIG = tuple(field.name for field in dataclasses.fields(TransferConfig))

AXES = (*(field.name for field in dataclasses.fields(Lane) if field.name != "config"), *_CONFIG)
"""The names that an axis may have."""


@dataclass(frozen=True)
class Grid:
    """The lanes of a study and how they are named.

    Args:
        lanes: The settings of every lane, the last axis varying fastest.
        axes: For each axis that has several values, their labels.
        coordinates: For each lane the label of its value on each axis.
        zipped: Whether the axes went in step instead of every value with every other.
        layer_weights: For each named set, the weight of each layer.
        losses: The study's own losses by name.
    """

    lanes: tuple[Lane, ...]
    axes: Mapping[str, tuple[str, ...]]
    coordinates: tuple[Mapping[str, str], ...]
    zipped: bool
    layer_weights: Mapping[str, Mapping[str, float]]
    losses: Mapping[str, Loss]


def make_grid(
    axes: Mapping[str, Sequence[Any] | Mapping[str, Any]],
    contents: Sequence[str],
    styles: Sequence[str],
    config: TransferConfig,
    weights: LossWeights,
    zipped: bool = False,
) -> Grid:
    """Spans the lanes of a study.

    Args:
        axes: For each name in `AXES` that is set, its values: several make an axis, a single one
            holds for all lanes. `layer_weights` maps the name of each set to the weight of each
            layer; a set that names content layers weighs those that it leaves out with 0, and one
            that names none leaves them alike; so with style layers. `loss` maps the name of each
            loss to a sum of terms. `content` and `style` are axes by themselves where there are
            several images.
        contents: Names of the content images.
        styles: Names of the style images.
        config: What the lanes have in common where no axis says otherwise.
        weights: Likewise; plain numbers, without weights by layer.
        zipped: Take the first value of every axis, then the second, and so on, instead of every
            value with every other.

    Raises:
        ConfigError: An axis is unknown, empty, has a value twice or one that cannot be, or zipped
            axes differ in length.
    """
    if weights.content_layers is not None or weights.style_layers is not None:
        raise ConfigError(
            "a study takes weights by layer as named sets; give axes['layer_weights'] = "
            "{name: {layer: weight}}"
        )
    values = _axis_values(axes, contents, styles)
    sets: Any = axes.get("layer_weights", {})
    base = Lane(
        content=contents[0],
        style=styles[0],
        config=config,
        content_weight=float(weights.content),
        style_weight=float(weights.style),
        tv_weight=float(weights.total_variation),
    )
    losses: dict[str, Loss] = {}
    if "loss" in axes:
        losses = {
            name: _checked_loss(name, loss, config) for name, loss in dict(axes["loss"]).items()
        }
        base = dataclasses.replace(
            base, **dict.fromkeys(name for name in _OF_THE_DEFAULT_LOSS if name not in _CONFIG)
        )
        for name in _OF_THE_DEFAULT_LOSS:
            if name in values:
                raise ConfigError(
                    f"axis {name} varies the default loss, but axis loss gives others; "
                    "leave one of the two out"
                )
    fixed = {name: given[0] for name, given in values.items() if len(given) == 1}
    base = base.replace(**fixed)
    values = {name: given for name, given in values.items() if name not in fixed}
    labels = {name: tuple(map(_label, given)) for name, given in values.items()}
    if zipped and len({len(given) for given in values.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(given)}" for name, given in values.items())
        raise ConfigError(f"zipped axes must have equally many values: {lengths}")
    for name, given in () if zipped else labels.items():
        if len(set(given)) < len(given):
            raise ConfigError(f"axis {name} has a value twice: {', '.join(given)}")
    num_lanes = (
        max((len(given) for given in values.values()), default=1)
        if zipped
        else math.prod(map(len, values.values()))
    )
    if num_lanes > _MOST_LANES:
        raise ConfigError(f"the axes span {num_lanes:,} lanes; a study has at most {_MOST_LANES:,}")
    combine = (lambda *lists: zip(*lists, strict=True)) if zipped else itertools.product
    rows = list(combine(*values.values())) if values else [()]
    texts = list(combine(*labels.values())) if values else [()]
    lanes = tuple(base.replace(**dict(zip(values, row, strict=True))) for row in rows)
    coordinates = tuple(dict(zip(values, row, strict=True)) for row in texts)
    if len(set(texts)) < len(texts):
        raise ConfigError("two lanes of the zipped axes are the same; leave one out")
    for lane in lanes:
        if lane.layer_weights is not None:
            layers = (*lane.config.content_layers, *lane.config.style_layers)
            check_layer_weights(lane.layer_weights, sets[lane.layer_weights], layers)
    return Grid(lanes, labels, coordinates, zipped, sets, losses)


_OF_THE_DEFAULT_LOSS = (
    "content_weight",
    "style_weight",
    "tv_weight",
    "layer_weights",
    "content_layers",
    "style_layers",
    "scaling",
)


def _checked_loss(name: str, loss: Any, config: TransferConfig) -> Loss:
    """A loss whose numbers are arrays.

    Raises:
        ConfigError: It is none, or has numbers for several lanes.
    """
    try:
        loss = spelt_out(loss, None, config)
        check_numbers("loss", loss)
    except ConfigError as error:
        raise ConfigError(f"axis loss, {name}: {error}") from error
    if any(np.ndim(number) for number in jax.tree.leaves(loss)):
        raise ConfigError(
            f"axis loss, {name}: a number of a term is an array; give one number, and "
            "other losses by other names"
        )
    return loss


def loss_of(lane: Lane, grid: Grid) -> Loss:
    """A lane's loss: the study's own of that name, or the default one with its weights, one for
    every layer; its numbers as arrays."""
    if lane.loss is not None:
        return grid.losses[lane.loss]
    chosen = {} if lane.layer_weights is None else grid.layer_weights[lane.layer_weights]
    by_layer = (
        weights_by_layer(chosen, layers)
        for layers in (lane.config.content_layers, lane.config.style_layers)
    )
    weights = LossWeights(lane.content_weight, lane.style_weight, lane.tv_weight, *by_layer)
    return spelt_out(None, weights, lane.config)


def weights_by_layer(chosen: Mapping[str, float], layers: Sequence[str]) -> dict[str, float]:
    """What a set of weights makes of the content layers, or of the style layers; it leaves them
    alike if it says nothing of them."""
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


def _axis_values(
    axes: Mapping[str, Any], contents: Sequence[str], styles: Sequence[str]
) -> dict[str, list[Any]]:
    images = {
        name: tuple(names)
        for name, names in (("content", contents), ("style", styles))
        if len(names) > 1
    }
    values: dict[str, list[Any]] = {}
    for name, given in {**images, **axes}.items():
        given = given.tolist() if isinstance(given, np.ndarray) else given
        if name not in AXES:
            raise ConfigError(f"unknown axis {name!r}; a study varies {', '.join(AXES)}")
        if name in _NAMED and not isinstance(given, Mapping):
            raise ConfigError(f"axis {name} must map {_NAMED[name]}")
        wanted = Mapping if name in _NAMED else Sequence
        if isinstance(given, str) or not isinstance(given, wanted) or not given:
            raise ConfigError(
                f"axis {name} is {given!r}; give the values that it takes, at least one"
            )
        values[name] = [_checked_value(name, value, contents, styles) for value in given]
    return values


_NAMED = {
    "layer_weights": "the name of each set to the weight of each layer",
    "loss": "the name of each loss to a sum of terms",
}
"""The axes whose values have names, and what they map."""


def _checked_value(name: str, value: Any, contents: Sequence[str], styles: Sequence[str]) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if name.endswith("_weight"):
        check_weight(f"a value of axis {name}", value)
    if name == "seed":
        check_at_least("a value of axis seed", value, 0, LARGEST_SEED)
    for axis, known in (("content", contents), ("style", styles)):
        if name == axis and value not in known:
            raise ConfigError(
                f"axis {name} holds {value!r}; the {name} images are {', '.join(known)}"
            )
    if name.endswith("_layers"):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(
                f"axis {name} holds {value!r}; each value is a tuple of layers, such as "
                "('conv4_2',)"
            )
        return tuple(map(str, value))
    return float(value) if name.endswith("_weight") else value


def _label(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(value) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
