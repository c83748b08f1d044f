"""The loss and its derivative in the pixels, which is all that a step of the descent evaluates."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from nst_jax.config import TransferConfig
from nst_jax.network.vgg import Params
from nst_jax.objective.loss import LossTerms, LossWeights, total_loss
from nst_jax.objective.targets import Targets
from nst_jax.objective.tiles import Tiles
from nst_jax.objective.tiling import tiled_loss_and_gradient
from nst_jax.pixels import WHILE_IT_MOVES, check_image


def loss_and_gradient(
    params: Params,
    image: Float[Array | np.ndarray, "height width 3"],
    targets: Targets,
    weights: LossWeights,
    config: TransferConfig,
) -> tuple[tuple[Float[Array, ""], LossTerms], Float[Array, "height width 3"]]:
    """`total_loss` and its gradient, evaluated as `config` says: whole, or in tiles, with the same result but for rounding.

    Args:
        params: The network's parameters; from `prepare_params`, for speed on a CPU.
        image: The generated image, sRGB in [0, 1] or up to 1 beyond, which is checked outside of `jit` alone.
        targets: From `make_targets`, with the same `config`.
        weights: What each part counts.
        config: Names the layers, the pooling, and the size of the tiles.

    Returns:
        ((loss, its unweighted parts), ∂loss/∂image).

    Raises:
        ConfigError: As `total_loss`.

    References:
        Gatys, Ecker and Bethge (CVPR 2016), equation 7 and its derivative.
    """
    check_image("given", image, WHILE_IT_MOVES)
    image = jnp.asarray(image)
    if config.tile and not Tiles(image.shape, config.tile, params, config.content_layers + config.style_layers).is_one:
        return tiled_loss_and_gradient(params, image, targets, weights, config)
    return jax.value_and_grad(lambda image: total_loss(params, image, targets, weights, config), has_aux=True)(image)
