"""Textures: pictures of a style alone, of any size."""

import dataclasses
from collections.abc import Sequence

import jax
from jax import Array

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.descent.result import Callback, TransferResult
from nst_jax.descent.run_arguments import Image, RunArguments
from nst_jax.descent.stylize import painted
from nst_jax.network.vgg import Params
from nst_jax.objective.terms import Loss, Term
from nst_jax.objective.weights import LossWeights
from nst_jax.pixels import shape_of


def texture_config(config: TransferConfig | None = None) -> TransferConfig:
    """The settings of a texture: without content, and grown from noise.

    Args:
        config: The others; by default the outermost pixels are repeated beyond the picture.
    """
    config = config or TransferConfig(border="replicate")
    return dataclasses.replace(config, content_layers=(), init="noise")


def texture(
    params: Params,
    source: Image | Sequence[Image],
    shape: tuple[int, int],
    config: TransferConfig | None = None,
    weights: LossWeights | None = None,
    *,
    loss: Loss | Term | None = None,
    key: Array | int | None = None,
    devices: Sequence[jax.Device] | None = None,
    callback: Callback | None = None,
    progress: bool | None = None,
) -> TransferResult:
    """Paints a texture of any size that looks like a source, from faint noise of its mean colour.

    The loss is `default_loss` without content: β Σ_l w_l s_l ‖G_l − A_l‖² and the distance of its
    `Grain`. Since both are of means over positions, the source may have any other size. With
    `border="wrap"` the texture tiles, with `"wrap_x"` from right to left alone, with `"wrap_y"`
    from bottom to top.

    Args:
        params: The network's parameters, from `load_params`.
        source: An image with the texture, sRGB in [0, 1]; or several, which `config.style_mix`
            mixes.
        shape: Height and width of the texture in pixels; multiples of 16 of sides that wrap.
        config: The run's settings, of which `content_layers` and `init` do not count;
            `TransferConfig(border="replicate")` if left out.
        weights: What each part of the default loss counts; `LossWeights()` if left out.
        loss: A loss of one's own instead, as in `stylize`; its content is the mean colour.
        key: Makes the noise, or its seed; `jax.random.key(0)` if left out.
        devices: As in `stylize`, and so `callback` and `progress`.

    Returns:
        The best image seen and the history of the loss.

    Raises:
        ConfigError: An image or a layer is not what it should be, or the shape cannot wrap.

    Example:
        >>> config = TransferConfig(border="wrap", num_steps=300)
        >>> tile = texture(params, read_image("bricks.jpg", size=512), (256, 256), config).image
        >>> write_image("wall.png", np.tile(tile, (2, 2, 1)))

    References:
        Gatys, Ecker and Bethge, "Texture synthesis using convolutional neural networks" (NeurIPS
        2015), with noise of low contrast and several sizes from small to large.
    """
    if shape_of(shape) != (2,):
        raise ConfigError(f"shape is {shape!r}; give (height, width) in pixels")
    run = RunArguments(
        params, shape, source, texture_config(config), weights, loss=loss, devices=devices
    )
    return painted(run.single(key), callback, progress)
