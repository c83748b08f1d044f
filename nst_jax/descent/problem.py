"""What a run is given, checked, and made into the lanes of a pyramid."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.descent.areas import Areas, checked_areas
from nst_jax.descent.arguments import (
    as_arrays,
    check_balance,
    checked_keys,
    chosen_optimizer,
    count_lanes,
    precision_here,
    spelt_out,
)
from nst_jax.descent.colours import in_luminance, recolour
from nst_jax.descent.keep import pasting
from nst_jax.descent.lanes import Lanes
from nst_jax.descent.placement import Placement
from nst_jax.descent.pyramid import Pyramid
from nst_jax.descent.run_arguments import RunArguments
from nst_jax.descent.scaled_targets import ScaledTargets, distinct_losses
from nst_jax.descent.start import (
    check_sharing,
    checked_image,
    initial_image,
    make_key,
    mean_colour,
    noise_around,
)
from nst_jax.objective.regions import with_regions, with_weights_of
from nst_jax.objective.styles import as_images, first_image, make_style, styles_in
from nst_jax.objective.terms import Loss
from nst_jax.objective.weights import check_weights
from nst_jax.optim.optimizers import traced_hyperparams

_LOG = logging.getLogger(__name__)


class Problem(NamedTuple):
    """A batch of runs that is ready to begin.

    Args:
        pyramid: The compiled programs' host.
        lanes: What differs from run to run.
        keeps_detail: As in `Pyramid.descend`.
        finish: Makes the picture of an image of the run; None where the image is the picture.
        loss: The loss of each lane, as it is without regions.
        is_single: Whether it is a batch of one, whose result has no axis of lanes.
    """

    pyramid: Pyramid
    lanes: Lanes
    keeps_detail: Sequence[bool]
    finish: Callable[[Array], Array] | None
    loss: Loss
    is_single: bool


Start = Callable[[Array, Array, Any], Array]
"""Makes the image that a run starts from of its content, its first style, and a random key."""


def make_problem(run: RunArguments) -> Problem:
    """Checks the arguments of a run.

    Raises:
        ConfigError: As `stylize_batch`.
    """
    check_weights(run.weights)
    config, own_optimizer = chosen_optimizer(run.optimizer, run.config)
    config, said = precision_here(config)
    if said:
        _LOG.warning(said)
    keys = None if run.keys is None else checked_keys("keys", run.keys, 1)
    images = [checked_image("style", image) for image in as_images(run.style)]
    photograph, start = (
        _of_content(run.content, config)
        if run.texture_shape is None
        else _of_texture(run.texture_shape, images, config)
    )
    areas = checked_areas(
        Areas(run.regions, run.keep), photograph.shape, [image.shape for image in images]
    )
    regions = areas.regions
    content, images, finish = recolour(photograph, images, config.colours)
    check_balance(config, run.weights)
    plain = spelt_out(run.loss, run.weights, config)
    styles = styles_in(images, config, regions, plain)
    num_lanes = count_lanes("weights", as_arrays(run.weights), keys) if run.weights else 1
    terms = as_arrays(with_regions(plain, regions)) if regions else plain
    num_lanes = max(num_lanes, count_lanes("loss", terms, keys))
    if run.initial is not None:
        first = _for_each_lane(_checked_initial(run.initial, content, config), num_lanes)
        config = dataclasses.replace(config, init="content")
    elif config.init == "noise" and keys is not None:
        first = jnp.stack([start(content, first_image(styles), key) for key in keys])
    else:
        key = make_key(0) if config.init == "noise" else None
        first = _for_each_lane(start(content, first_image(styles), key), num_lanes)
    check_sharing(content.shape[0], config, run.devices or ())
    by_lane, plain = jax.tree.map(lambda number: np.broadcast_to(number, num_lanes), (terms, plain))
    losses = [
        jax.tree.map(lambda numbers, lane=lane: numbers[lane], by_lane) for lane in range(num_lanes)
    ]
    of_content, of_style = distinct_losses(losses, "content"), distinct_losses(losses, "style")
    lanes = Lanes(
        content=of_content[1],
        style=of_style[1],
        loss=by_lane,
        hyperparams={
            name: np.full(num_lanes, number, np.float32)
            for name, number in traced_hyperparams(config, own_optimizer).items()
        },
        images=first,
        active=np.ones(num_lanes, bool),
        is_grey=np.zeros(num_lanes, bool),  # the pyramid finds out
    )
    placement = Placement(tuple(run.devices or ()), by_rows=True)
    aims = of_content[0], of_style[0]
    targets = ScaledTargets(
        run.params, [content], [styles], config, *aims, areas, placement.shares_rows
    )
    pyramid = Pyramid(targets, config, placement, own_optimizer)
    keeps_detail = [config.init != "noise"] * num_lanes
    if config.balance:
        plain = pyramid.balance(lanes, keeps_detail, plain)
        lanes = dataclasses.replace(lanes, loss=with_weights_of(by_lane, plain))
    finish = pasting(finish, photograph, areas.keep)
    return Problem(pyramid, lanes, keeps_detail, finish, plain, run.is_single)


def _of_content(content: Any, config: TransferConfig) -> tuple[Array, Start]:
    """A photograph, and where a picture of it begins."""
    return checked_image("content", content), partial(initial_image, kind=config.init)


def _of_texture(
    shape: Sequence[int], styles: Sequence[Array], config: TransferConfig
) -> tuple[Array, Start]:
    """What stands for the photograph of a texture, its mean colour, and faint noise around that.

    Raises:
        ConfigError: The settings are of a picture with content, or the shape is none.
    """
    if config.init != "noise":
        raise ConfigError(
            f"init is {config.init!r}, but without a content image a run begins from noise; give "
            "init='noise', or call nst.texture"
        )
    if config.colours != "style":
        raise ConfigError(
            f"colours is {config.colours!r}, but there is no content to take them from; "
            "leave it out"
        )
    colour = mean_colour(make_style(styles, config.style_mix), shape)
    return colour, lambda content, style, key: noise_around(content, key)


def _checked_initial(initial: Any, content: Array, config: TransferConfig) -> Array:
    """The caller's own image to start from, as the run sees it.

    Raises:
        ConfigError: It is no image of the content's shape.
    """
    image = checked_image("initial", initial)
    if image.shape != content.shape:
        raise ConfigError(
            f"the initial image has shape {image.shape}, the content image {content.shape}; they "
            "must be the same"
        )
    return in_luminance(image) if config.colours == "luminance" else image


def _for_each_lane(image: Array, num_lanes: int) -> Array:
    # By NumPy: with JAX, each little operation is a program to load before the first step.
    return jax.device_put(np.broadcast_to(np.asarray(image), (num_lanes, *image.shape)))
