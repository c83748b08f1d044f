"""Activation normalisation: filters rescaled so that all respond alike on average."""

import warnings
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from nst_jax.checks import ConfigError
from nst_jax.config import Pooling
from nst_jax.network.vgg import NETWORKS, Params, features, network_of
from nst_jax.pixels import check_image

_ENOUGH_IMAGES = 50
_FLOOR = 0.1  # of the layer's mean over its filters


def normalise_activations(
    params: Params,
    images: Iterable[Float[Array | np.ndarray, "_height _width 3"]],
    pooling: Pooling = "avg",
) -> Params:
    """Scales each filter so that its mean activation over images and positions is 1.

    With a the mean activation of a filter, its kernel and bias are divided by a, and what the next
    layer reads of it is multiplied by a. ReLU and pooling commute with a positive factor, so every
    layer computes what it did, each channel divided by its a.

    A filter that hardly ever fires would be blown up, and would rule the Gram matrices: means below
    a tenth of their layer's mean count as that tenth, which departs from the paper.

    Args:
        params: The network's parameters.
        images: sRGB in [0, 1], of any sizes; the paper used the ImageNet validation set. Fewer than
            50 draw a warning.
        pooling: The pooling that the network will be used with.

    Returns:
        The rescaled parameters.

    Raises:
        ConfigError: There are no images, or one is none.

    Example:
        >>> normalised = normalise_activations(params, photographs, "max")

    References:
        Gatys, Ecker and Bethge (CVPR 2016), section 2.
    """
    layers = tuple(NETWORKS[network_of(params)])

    @jax.jit  # the parameters as an argument, or each program would hold a copy of them
    def mean_activations(params: Params, image: Array) -> dict[str, Array]:
        return {
            layer: found.mean((0, 1))
            for layer, found in features(params, image, layers, pooling).items()
        }

    sums, num_images = None, 0
    for image in images:
        check_image("normalising", image)
        means = mean_activations(params, jnp.asarray(image))
        sums = means if sums is None else jax.tree.map(jnp.add, sums, means)
        num_images += 1
    if sums is None:
        raise ConfigError("there are no images to normalise on; give photographs, at least 50")
    if num_images < _ENOUGH_IMAGES:
        warnings.warn(
            (
                f"normalising on {num_images} images: below {_ENOUGH_IMAGES}, rarely active "
                "filters are blown up and results suffer"
            ),
            stacklevel=2,
        )
    normalised = {"mean": params["mean"]}
    incoming = jnp.ones(3)
    for layer in layers:
        mean = sums[layer] / num_images
        scale = jnp.maximum(mean, _FLOOR * mean.mean())
        normalised[layer] = {
            "kernel": params[layer]["kernel"] * incoming[:, None] / scale,
            "bias": params[layer]["bias"] / scale,
        }
        incoming = scale
    return normalised
