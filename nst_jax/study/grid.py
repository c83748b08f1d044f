"""What a study varies: its axes, and the lanes they span."""

import dataclasses
import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from nst_jax.checks import LARGEST_SEED, ConfigError, check_at_least, check_weight
from nst_jax.config import TransferConfig
from nst_jax.descent.arguments import as_arrays, check_numbers, check_plain_numbers, spelt_out
from nst_jax.layer_names import layer_name
from nst_jax.objective.terms import Loss
from nst_jax.objective.weights import LossWeights, as_options
from nst_jax.study.lane import (
    AXES,
    NUMBERS_AXES,
    OF_THE_DEFAULT_LOSS,
    Lane,
    check_layer_weights,
    weights_by_layer,
)

_LOG = logging.getLogger(__name__)

_MOST_LANES = 100_000


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
    check_plain_numbers("weights", as_arrays(weights))
    for kind, names in (("content", contents), ("style", styles)):
        for name in names:
            if not isinstance(name, str):
                raise ConfigError(f"a {kind} image is called {name!r}; give a text")
    values = _axis_values(axes, contents, styles)
    sets = {
        name: {layer_name(layer): weight for layer, weight in chosen.items()}
        if isinstance(chosen, Mapping)
        else chosen
        for name, chosen in dict(axes.get("layer_weights", {})).items()
    }
    base = Lane(
        content=contents[0],
        style=styles[0],
        config=config,
        weights=as_options(weights),
    )
    losses: dict[str, Loss] = {}
    if "loss" in axes:
        losses = {
            name: _checked_loss(name, loss, config) for name, loss in dict(axes["loss"]).items()
        }
        base = dataclasses.replace(base, weights=None)
        for name in OF_THE_DEFAULT_LOSS:
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
    different = len(
        {
            lane if lane.config.init == "noise" else dataclasses.replace(lane, seed=0)
            for lane in lanes
        }
    )
    if different < len(lanes):
        _LOG.warning(
            f"{len(lanes)} lanes, {different} different: a seed counts with init noise alone; "
            "leave the axis seed out, or give init noise"
        )
    for lane in lanes:
        if lane.layer_weights is not None:
            layers = (*lane.config.content_layers, *lane.config.style_layers)
            check_layer_weights(lane.layer_weights, sets[lane.layer_weights], layers)
            if lane.config.balance:
                raise ConfigError(
                    "balance is on, which finds the weights of the style's layers, but there are "
                    "layer_weights; leave one of the two out"
                )
    return Grid(lanes, labels, coordinates, zipped, sets, losses)


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
    """A lane's loss, its numbers as arrays.

    Either the study's own of that name, or the default one with the lane's weights, one for every
    layer.
    """
    if lane.loss is not None:
        return grid.losses[lane.loss]
    chosen = {} if lane.layer_weights is None else grid.layer_weights[lane.layer_weights]
    by_layer = (
        weights_by_layer(chosen, layers)
        for layers in (lane.config.content_layers, lane.config.style_layers)
    )
    assert lane.weights is not None
    return spelt_out(None, lane.weights.loss_weights(*by_layer), lane.config)


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
    if name == "style_size":
        texts = str(value).split("+") if isinstance(value, str | int) else value
        return tuple(map(str, texts))
    if name in NUMBERS_AXES:
        return tuple(value) if isinstance(value, Sequence) else value
    return float(value) if name.endswith("_weight") else value


def _label(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_label, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
