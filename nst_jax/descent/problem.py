"""What a run is given, checked, and made into the lanes of a pyramid."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from nst_jax.config import ConfigError, TransferConfig
from nst_jax.descent.colours import in_luminance, recolour
from nst_jax.descent.lanes import Lanes
from nst_jax.descent.placement import Placement
from nst_jax.descent.pyramid import Pyramid
from nst_jax.descent.scaled_targets import distinct_losses
from nst_jax.descent.start import (
    check_sharing,
    checked_image,
    initial_image,
    make_key,
    mean_colour,
    noise_around,
)
from nst_jax.network.vgg import Params
from nst_jax.objective.default import LossWeights, as_loss, default_loss
from nst_jax.objective.regions import (
    Region,
    checked_regions,
    names_of,
    shared_masks,
    with_regions,
)
from nst_jax.objective.styles import Style, Styles, as_images, make_style
from nst_jax.objective.terms import Loss, Term
from nst_jax.optim.optimizers import keep_in_range, traced_hyperparams


class Problem(NamedTuple):
    """A batch of runs that is ready to begin.

    Args:
        pyramid: The compiled programs' host.
        lanes: What differs from run to run.
        keeps_detail: As in `Pyramid.descend`.
        finish: Makes the picture of an image of the run, as in `Recoloured`.
    """

    pyramid: Pyramid
    lanes: Lanes
    keeps_detail: Sequence[bool]
    finish: Callable[[Array], Array] | None


def make_problem(
    params: Params,
    content: Any,
    style: Any,
    config: TransferConfig | None,
    weights: LossWeights | None,
    loss: Loss | Term | None,
    optimizer: str | optax.GradientTransformation | None,
    keys: Array | None,
    initial: Any,
    devices: Sequence[jax.Device] | None,
    regions: Sequence[Region] = (),
) -> Problem:
    """Checks the arguments of `stylize_batch`, which are described there.

    A picture without content, of which the size is given instead, begins with faint noise.

    Raises:
        ConfigError: As `stylize_batch`.
    """
    config, kept = chosen_optimizer(optimizer, config or TransferConfig())
    keys = None if keys is None else checked_keys("keys", keys, 1)
    images = [checked_image("style", image) for image in as_images(style)]
    has_content = np.ndim(content) != 1
    if not has_content and config.colours != "style":
        raise ConfigError(
            f"colours is {config.colours!r}, but there is no content to take them from; "
            "leave it out"
        )
    content = (
        checked_image("content", content)
        if has_content
        else mean_colour(make_style(images, config.style_mix), content)
    )
    content, images, finish = recolour(content, images, config.colours)
    regions = checked_regions(regions, content.shape, [image.shape for image in images])
    styles = _styles_of(images, config, regions)
    start = (
        partial(initial_image, content, next(iter(styles.values())).images[0], kind=config.init)
        if has_content
        else partial(noise_around, content)
    )
    num_lanes = _count_lanes("weights", _as_arrays(weights), keys) if weights else 1
    terms = spelt_out(loss, weights, config)
    if regions:
        terms = _as_arrays(with_regions(terms, regions))
    num_lanes = max(num_lanes, _count_lanes("loss", terms, keys))
    if initial is not None:
        initial = checked_image("initial", initial)
        if initial.shape != content.shape:
            raise ConfigError(
                f"the initial image has shape {initial.shape}, the content image "
                f"{content.shape}; they must be the same"
            )
        if config.colours == "luminance":
            initial = in_luminance(initial)
        images = _for_each_lane(initial, num_lanes)
        config = dataclasses.replace(config, init="content")
    elif config.init == "noise" and keys is not None:
        images = jnp.stack([start(key=key) for key in keys])
    else:
        key = make_key(0) if config.init == "noise" else None
        images = _for_each_lane(start(key=key), num_lanes)
    check_sharing(content.shape[0], config, devices or ())
    by_lane = jax.tree.map(lambda number: np.broadcast_to(number, num_lanes), terms)
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
            for name, number in traced_hyperparams(config, kept).items()
        },
        images=images,
        active=np.ones(num_lanes, bool),
        is_grey=np.zeros(num_lanes, bool),  # the pyramid finds out
    )
    placement = Placement(tuple(devices or ()), by_rows=True)
    aims = of_content[0], of_style[0]
    masks = dict(zip(names_of(regions), shared_masks(regions), strict=True))
    pyramid = Pyramid(params, [content], [styles], config, *aims, placement, kept, masks)
    return Problem(pyramid, lanes, [config.init != "noise"] * num_lanes, finish)


def _styles_of(
    images: Sequence[Array], config: TransferConfig, regions: Sequence[Region]
) -> Styles:
    """The style of each region, or of the whole picture.

    Raises:
        ConfigError: There is a mixture beside regions.
    """
    if not regions:
        return {None: make_style(images, config.style_mix)}
    if config.style_mix:
        raise ConfigError(
            "style_mix mixes the styles of the whole picture, but there are regions, which name "
            "theirs; leave one of the two out"
        )
    put = lambda mask: None if mask is None else jax.device_put(np.asarray(mask, np.float32))
    return {
        name: Style((images[region.style],), (1.0,), put(region.style_mask))
        for name, region in zip(names_of(regions), regions, strict=True)
    }


def _for_each_lane(image: Array, num_lanes: int) -> Array:
    # By NumPy: with JAX, each little operation is a program to load before the first step.
    return jax.device_put(np.broadcast_to(np.asarray(image), (num_lanes, *image.shape)))


def spelt_out(
    loss: Loss | Term | None, weights: LossWeights | None, config: TransferConfig
) -> Loss:
    """The loss of a run, its numbers as arrays.

    So runs and studies of the same loss run the same program, and round alike.

    Lists and tuples of lanes become arrays; else they would count as branches of the tree.

    Raises:
        ConfigError: Both are given, or one cannot be.
    """
    if loss is None:
        return _as_arrays(default_loss(config, weights))
    if weights is not None:
        raise ConfigError(
            "both weights and loss are given; the terms of a loss have weights of their "
            "own, so leave weights out"
        )
    if not isinstance(loss, Loss | Term):
        raise ConfigError(
            f"loss is {loss!r}; give a sum of terms, such as nst.content() + 20 * nst.style()"
        )
    loss = as_loss(loss, config)
    loss.check()
    return _as_arrays(loss)


def _as_arrays(tree: Any) -> Any:
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float32),
        tree,
        is_leaf=lambda leaf: isinstance(leaf, list | tuple),
    )


def checked_keys(name: str, keys: Any, num_axes: int) -> Array:
    """Random keys with so many axes; those of JAX's older style, `jax.random.PRNGKey`, as the new.

    Raises:
        ConfigError: They are none.
    """
    kind = getattr(keys, "dtype", None)
    if kind == np.uint32 and np.shape(keys)[num_axes:] == (2,):
        keys = jax.random.wrap_key_data(jnp.asarray(keys))
    if (
        not isinstance(keys, Array)
        or not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
        or keys.ndim != num_axes
    ):
        example = (
            "one key a lane, such as jax.random.split(jax.random.key(0), 4)"
            if num_axes
            else "a random key, such as jax.random.key(0)"
        )
        found = repr(keys) if kind is None else f"of {kind} with shape {np.shape(keys)}"
        raise ConfigError(f"{name} is {found}; give {example}")
    return keys


def chosen_optimizer(
    optimizer: str | optax.GradientTransformation | None, config: TransferConfig
) -> tuple[TransferConfig, optax.GradientTransformationExtraArgs | None]:
    """The settings that name the optimiser, and one of the caller's own as runs take it.

    Raises:
        ConfigError: It is none.
    """
    if optimizer is None:
        return config, None
    if isinstance(optimizer, str):
        return dataclasses.replace(config, optimizer=optimizer), None  # type: ignore[arg-type]
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ConfigError(
            f"optimizer is {optimizer!r}; give a name, or one of optax's transformations, "
            "such as optax.adamw(0.02)"
        )
    return config, keep_in_range(optimizer)


def check_numbers(name: str, numbers: LossWeights | Loss) -> None:
    """Makes sure that weights, or a loss's numbers, are finite, each for all lanes or one a lane.

    Raises:
        ConfigError: One is not, or a weight of the default loss is negative.
    """
    # a term of one's own may be meant to grow
    least = 0.0 if isinstance(numbers, LossWeights) else -np.inf
    for path, leaf in jax.tree_util.tree_leaves_with_path(numbers):
        if leaf.ndim > 1 or not np.all(np.isfinite(leaf) & (leaf >= least)):
            bound = ", at least 0" if least == 0 else ""
            raise ConfigError(
                f"{name}{jax.tree_util.keystr(path)} is {leaf}; it must be a finite "
                f"number{bound}, or one a lane"
            )


def _count_lanes(name: str, numbers: LossWeights | Loss, keys: Array | None) -> int:
    """How many lanes the weights, or a loss's numbers, and the keys are for."""
    check_numbers(name, numbers)
    sizes: dict[str, int] = {} if keys is None else {"keys": keys.shape[0]}
    sizes |= {
        f"{name}{jax.tree_util.keystr(path)}": leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(numbers)
        if leaf.ndim
    }
    if len(set(sizes.values())) > 1:
        raise ConfigError(
            "the numbers of lanes differ: "
            f"{', '.join(f'{name} has {size}' for name, size in sizes.items())}"
        )
    return next(iter(sizes.values()), 1)
