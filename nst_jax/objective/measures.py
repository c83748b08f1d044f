"""What terms measure of a source image, whole or in tiles."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.network.borders import wraps
from nst_jax.network.vgg import Params
from nst_jax.objective.regions import shares_of
from nst_jax.objective.terms import Fields, Loss, Source, Term
from nst_jax.objective.tiles import Tiles
from nst_jax.objective.views import (
    View,
    layers_shapes,
    nothing_seen,
    view_tile,
    view_whole,
    windows,
    with_shares,
)


class Measures(NamedTuple):
    """What is measured of one source image.

    Args:
        fields: By term, what is wanted by position.
        found: By term, its measure of the image.
        nothing: By term, its measure of an image that excites no filter.
    """

    fields: dict[str, Any]
    found: dict[str, Any]
    nothing: dict[str, Any]


def measures_of(
    params: Params,
    image: Array | np.ndarray,
    loss: Loss,
    config: TransferConfig,
    mask: Array | np.ndarray | None = None,
) -> Measures:
    """What the terms measure of one of the images of a style.

    Args:
        params: As in `targets_of`, and so `loss` and `config`.
        image: The image.
        mask: Which part of it counts, (height, width) in [0, 1]; None for all of it.
    """
    return _measures_of(params, image, loss.of("style"), what_is_seen(config, "style"), mask)


def what_is_seen(config: TransferConfig, source: Source) -> TransferConfig:
    """What of a config decides what is measured: anything else compiles nothing anew.

    A style image does not wrap, whatever the picture does.
    """
    border = config.border
    if source == "style" and any(wraps(border)):
        border = "replicate"
    return TransferConfig(
        pooling=config.pooling, precision=config.precision, tile=config.tile, border=border
    )


@partial(jax.jit, static_argnames="config")
def _measures_of(
    params: Params,
    image: Array | np.ndarray,
    loss: Loss,
    config: TransferConfig,
    mask: Array | np.ndarray | None,
) -> Measures:
    shares = (
        {}
        if mask is None
        else shares_of(jnp.asarray(mask), loss.layers, image.shape, config.border)
    )
    return measure_image(params, jnp.asarray(image), loss, config, shares)


def measure_image(
    params: Params,
    image: Array,
    loss: Loss,
    config: TransferConfig,
    shares: Mapping[str, Array] | None = None,
) -> Measures:
    """What the terms measure of their source image, by what they want of it at each position.

    `shares` are what its positions stand for, by layer; left out, all stand for the same.
    """
    shares = shares or {}

    def fields_of(view: View) -> dict[str, Any]:
        return {name: dict(_asked(name, term, term.fields, view)) for name, term in loss.items()}

    def measure(view: View, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        views = view, nothing_seen(view)
        found, nothing = (
            {
                name: _asked(name, term, term.measure, one, fields[name])
                for name, term in loss.items()
            }
            for one in views
        )
        return found, nothing

    tiles = tiles_of(params, image.shape, loss, config)
    if tiles is None:
        view = with_shares(view_whole(params, image, loss.layers, config), shares)
        fields = fields_of(view)
        return Measures(fields, *measure(view, fields))

    def see(place: Array) -> View:
        view = view_tile(params, tiles.patch(image, place), place, tiles, loss.layers, config)
        return with_shares(view, windows(shares, tiles, place))

    shapes = layers_shapes(params, image.shape, loss.layers, config.border)
    patches = jax.eval_shape(lambda place: fields_of(see(place)), tiles.places[0])
    blank = lambda layer, patch: jnp.zeros((*shapes[layer][:2], *patch.shape[2:]), patch.dtype)
    start = {
        name: {layer: blank(layer, patch) for layer, patch in own.items()}
        for name, own in patches.items()
    }

    def add_fields(fields: Any, place: Array) -> tuple[Any, None]:
        found = fields_of(see(place))
        put = lambda name, layer, whole: tiles.put(whole, found[name][layer], layer, place)
        return {
            name: {layer: put(name, layer, whole) for layer, whole in own.items()}
            for name, own in fields.items()
        }, None

    fields = lax.scan(add_fields, start, tiles.places)[0] if any(start.values()) else start
    at_place = lambda place: measure(
        see(place), {name: windows(whole, tiles, place) for name, whole in fields.items()}
    )
    return Measures(fields, *add_up(at_place, tiles))


class _NotSeenError(KeyError):
    """A layer that is not among a term's own; any other key is the business of its author."""


class _OwnLayers(dict):
    """What is seen of a term's layers."""

    def __missing__(self, layer: str) -> Any:
        raise _NotSeenError(layer)


jax.tree_util.register_pytree_node(
    _OwnLayers,
    lambda own: (tuple(own[layer] for layer in sorted(own)), tuple(sorted(own))),
    lambda layers, values: _OwnLayers(zip(layers, values, strict=True)),
)


def _asked(name: str, term: Term, ask: Callable[..., Any], view: View, *fields: Fields) -> Any:
    """What a method of a term says of its own layers.

    Raises:
        ConfigError: It looks for another.
    """
    own = {
        name: _OwnLayers({layer: by_layer[layer] for layer in by_layer if layer in term.layers})
        for name, by_layer in view._asdict().items()
        if isinstance(by_layer, dict)
    }
    try:
        return ask(view._replace(**own), *fields)
    except _NotSeenError as error:
        raise ConfigError(
            f"the term {name} looks for {error}, which is not among its layers: "
            f"{', '.join(term.layers)}"
            + (" (its region is too small for others)" if term.region else "")
        ) from error


def add_up(measure: Any, tiles: Tiles) -> Any:
    """The sum of `measure(place)` over all tiles."""
    start = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(measure, tiles.places[0])
    )
    return lax.scan(
        lambda sums, place: (jax.tree.map(jnp.add, sums, measure(place)), None), start, tiles.places
    )[0]


def tiles_of(
    params: Params, shape: Sequence[int], loss: Loss, config: TransferConfig
) -> Tiles | None:
    """The tiles in which an image is evaluated, or None where it is evaluated whole."""
    if not config.tile or not loss.layers:
        return None
    layers_shapes(params, shape, loss.layers, config.border)  # refuses what cannot be
    tiles = Tiles(shape, config.tile, params, loss.layers, loss.reach, config.border)
    return None if tiles.is_one else tiles
