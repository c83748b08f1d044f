"""The loss and its derivative in the pixels, which is all that a step of the descent evaluates.

In tiles, both take memory set by a tile, not by the image. Measures add up: a first pass over the
tiles sums them; the distances give the loss and its derivative in every measure. A second pass
back-propagates, tile by tile, ⟨∂loss/∂measure, measure of the tile⟩, features computed anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from nst_jax.checks import ConfigError
from nst_jax.compiled import compiled_alone
from nst_jax.config import TransferConfig
from nst_jax.network.vgg import Params
from nst_jax.objective.boxes import in_boxes
from nst_jax.objective.default import as_loss
from nst_jax.objective.measures import add_up, tiles_of
from nst_jax.objective.octaves import halved
from nst_jax.objective.target import Targets
from nst_jax.objective.targets import check_targets
from nst_jax.objective.terms import Loss, Parts, Term
from nst_jax.objective.views import (
    layers_shapes,
    view_tile,
    view_whole,
    windows,
    with_shares,
)
from nst_jax.objective.weights import LossWeights
from nst_jax.pixels import WHILE_IT_MOVES, check_image

LossParts = Mapping[str, Mapping[str, Array | np.ndarray]]
"""The loss in parts, by term and part, each scaled but not yet weighted, so that runs with
different weights compare.

With `relative` scaling each is the fraction still missing. In a history, each has the axes of its
losses."""


def total_loss(
    params: Params,
    image: Float[Array | np.ndarray, "height width 3"],
    targets: Targets,
    loss: Loss | Term | LossWeights,
    config: TransferConfig,
) -> tuple[Float[Array, ""], LossParts]:
    """The weighted sum that the descent lowers, and its parts, of the whole image at once.

    Args:
        params: The network's parameters.
        image: The generated image, sRGB in [0, 1] or somewhat beyond.
        targets: From `make_targets`, with the same `config` and loss.
        loss: The terms, or the weights of the default loss.
        config: Names the pooling, the border and the precision; the layers and the scaling of the
            default loss.

    Returns:
        The loss, and its unweighted parts.

    Raises:
        ConfigError: The loss has other terms than the targets, weighs other parts than its terms
            have, or the image has another shape than the content image.

    Example:
        >>> value, parts = total_loss(params, image, targets, LossWeights(style=5.0), config)
        >>> parts["style"]["conv1_1"]  # a scalar

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equation 7.
    """
    arrays = dict(params), jnp.asarray(image), dict(targets)
    return _total_loss(*arrays, as_loss(loss, config), config)


@compiled_alone("config")
def _total_loss(
    params: Params, image: Array, targets: Targets, loss: Loss, config: TransferConfig
) -> tuple[Array, LossParts]:
    octaves = _octaves_of(image, targets)
    return _mean([_whole(params, octave, own, loss, config) for octave, own in octaves])


def _octaves_of(image: Array, targets: Targets) -> Iterator[tuple[Array, Targets]]:
    """An image in each octave that its targets hold, and the targets there."""
    yield image, targets
    for place in range(max((len(target.octaves) for target in targets.values()), default=0)):
        image = halved(image)
        yield image, {name: target.octaves[place] for name, target in targets.items()}


def _mean(octaves: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *values: sum(values) / len(values), *octaves)


def _whole(
    params: Params, image: Array, targets: Targets, loss: Loss, config: TransferConfig
) -> tuple[Array, LossParts]:
    check_targets(layers_shapes(params, image.shape, loss.layers, config.border), loss, targets)
    view, found = view_whole(params, image, loss.layers, config), {}
    for name, term in loss.items():
        own = targets[name]
        seen = in_boxes(with_shares(view, own.shares), own.boxes)
        found[name] = term.measure(seen, own.fields)
    return _compare(loss, found, targets)


def loss_and_gradient(
    params: Params,
    image: Float[Array | np.ndarray, "height width 3"],
    targets: Targets,
    loss: Loss | Term | LossWeights,
    config: TransferConfig,
) -> tuple[tuple[Float[Array, ""], LossParts], Float[Array, "height width 3"]]:
    """`total_loss` and its gradient, evaluated as `config` says: whole, or in tiles.

    The result is the same but for rounding.

    Args:
        params: The network's parameters; from `prepare_params`, for speed on a CPU.
        image: The generated image, sRGB in [0, 1] or up to 1 beyond, which is checked outside of
            `jit` alone.
        targets: As in `total_loss`.
        loss: As in `total_loss`.
        config: As in `total_loss`, and the size of the tiles.

    Returns:
        ((loss, its unweighted parts), ∂loss/∂image).

    Raises:
        ConfigError: As `total_loss`.

    Example:
        >>> found = loss_and_gradient(params, image, targets, LossWeights(style=5.0), config)
        >>> (loss, parts), gradient = found

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equations 2 and 6 for derivatives of its terms.
    """
    check_image("given", image, WHILE_IT_MOVES)
    arrays = dict(params), jnp.asarray(image), dict(targets)
    return _loss_and_gradient(*arrays, as_loss(loss, config), config)


@compiled_alone("config")
def _loss_and_gradient(
    params: Params, image: Array, targets: Targets, loss: Loss, config: TransferConfig
) -> tuple[tuple[Array, LossParts], Array]:
    if tiles_of(params, image.shape, loss, config) is None:
        return jax.value_and_grad(
            lambda image: total_loss(params, image, targets, loss, config), has_aux=True
        )(image)
    each = [_in_tiles(params, *octave, loss, config) for octave in _octaves_of(image, targets)]
    found, gradients = zip(*each, strict=True)
    # back from each octave to the one that it is the half of
    gradient, shapes = gradients[-1], [own.shape for own in gradients]
    for own, shape in zip(gradients[-2::-1], shapes[-2::-1], strict=True):
        (back,) = jax.linear_transpose(halved, jax.ShapeDtypeStruct(shape, own.dtype))(gradient)
        gradient = own + back
    return _mean(found), gradient / len(each)


def _in_tiles(
    params: Params, image: Array, targets: Targets, loss: Loss, config: TransferConfig
) -> tuple[tuple[Array, LossParts], Array]:
    tiles = tiles_of(params, image.shape, loss, config)
    if tiles is None:  # an octave that is no larger than one
        return jax.value_and_grad(
            lambda image: _whole(params, image, targets, loss, config), has_aux=True
        )(image)
    check_targets(layers_shapes(params, image.shape, loss.layers, config.border), loss, targets)

    def measure(patch: Array, place: Array) -> dict[str, Any]:
        view = view_tile(params, patch, place, tiles, loss.layers, config)
        found = {}
        for name, term in loss.items():
            own = targets[name]
            seen = with_shares(view, windows(own.shares, tiles, place))
            found[name] = term.measure(seen, windows(own.fields, tiles, place))
        return found

    found = add_up(lambda place: measure(tiles.patch(image, place), place), tiles)
    (value, parts), by_measure = jax.value_and_grad(
        lambda found: _compare(loss, found, targets), has_aux=True
    )(found)

    def share(patch: Array, place: Array) -> Array:
        own = measure(patch, place)
        return jnp.asarray(
            sum(
                jnp.vdot(slope, leaf)
                for slope, leaf in zip(*map(jax.tree.leaves, (by_measure, own)), strict=True)
            )
        )

    def back_propagate(gradient: Array, place: Array) -> tuple[Array, None]:
        return tiles.add_patch(
            gradient, jax.grad(share)(tiles.patch(image, place), place), place
        ), None

    return (value, parts), lax.scan(back_propagate, jnp.zeros_like(image), tiles.places)[0]


def _compare(loss: Loss, found: Mapping[str, Any], targets: Targets) -> tuple[Array, LossParts]:
    parts: dict[str, Parts] = {}
    for name, term in loss.items():
        distances = term.distance(found[name], targets[name].wanted)
        parts[name] = {
            part: targets[name].scale[part] * distance for part, distance in distances.items()
        }
    return _weighted_sum(loss, parts), parts


def _weighted_sum(loss: Loss, parts: Mapping[str, Parts]) -> Array:
    """What the parts of the terms come to: Σ weight Σ part weight · part.

    Raises:
        ConfigError: A term weighs other parts than it has.
    """
    total: Any = 0.0
    for name, own in loss.items():
        weights = own.part_weights
        if weights is None:
            weights = dict.fromkeys(parts[name], 1 / max(len(parts[name]), 1))
        elif set(weights) != set(parts[name]):
            raise ConfigError(
                f"the term {name} weighs {', '.join(weights)}, but its parts are "
                f"{', '.join(parts[name])}; name exactly those"
            )
        total = total + own.weight * sum(
            weights[part] * value for part, value in parts[name].items()
        )
    return jnp.asarray(total)
