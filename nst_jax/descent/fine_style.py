"""A new style image of the large forms of one style and the fine detail of another."""

import dataclasses
from collections.abc import Sequence

import jax

from nst_jax.checks import ConfigError, check_layers
from nst_jax.config import TransferConfig
from nst_jax.descent.result import Callback, TransferResult
from nst_jax.descent.run_arguments import Image, RunArguments
from nst_jax.descent.stylize import painted
from nst_jax.layer_names import layer_name
from nst_jax.network.borders import wraps
from nst_jax.network.vgg import Params

FINE_UNTIL = "conv2_1"
"""The deepest layer whose detail is the fine style's, unless told otherwise."""


def fine_style_config(config: TransferConfig, until: str, name: str = "until") -> TransferConfig:
    """The settings of the descent that makes a new style image, of those of a run.

    Args:
        config: The run's.
        until: As in `fine_style`.
        name: What messages call it.

    Raises:
        ConfigError: There is no such layer, or no style layer up to it.
    """
    until = layer_name(until)
    check_layers(name, (until,))
    if not config.style_layers:
        raise ConfigError("style_layers are empty, but a fine style needs some; give them")
    layers = tuple(layer for layer in config.style_layers if layer <= until)
    if not layers:
        raise ConfigError(
            f"{name} is {until}, but the first of the style layers is {min(config.style_layers)}; "
            "take that, or a deeper one"
        )
    return dataclasses.replace(
        config,
        content_layers=(),
        style_layers=layers,
        init="content",
        coarse_steps=(),  # shares of other steps, and of another image's sizes
        colours="content",  # those of the style, which the descent begins at
        style_mix=(),
        style_turns=False,  # the new image is what may be turned
        octaves=1,  # of which the smaller ones would meet the other's larger forms
        balance=False,
        border="replicate" if any(wraps(config.border)) else config.border,
    )


def fine_style(
    params: Params,
    style: Image,
    fine: Image,
    config: TransferConfig | None = None,
    *,
    until: str = FINE_UNTIL,
    devices: Sequence[jax.Device] | None = None,
    callback: Callback | None = None,
    progress: bool | None = None,
) -> TransferResult:
    """Makes a new style image of one's large forms and colours and the fine detail of `fine`.

    L = β Σ_{l ≤ until} w_l s_l ‖G_l − A_l‖², A_l the Gram matrices of `fine` in the colours of
    `style`, and its `Grain`, by the weights of `LossWeights()`, descended from `style` itself
    without content. Layers deeper than `until` have no say, and so stay near what they were.

    Args:
        params: The network's parameters, from `load_params`.
        style: Image with the large forms and the colours, sRGB in [0, 1].
        fine: Image with the detail, of any size; its size in pixels is that of its strokes. First
            `match_colours` gives it the mean and the covariance of the style's colours.
        config: The settings of the run that the style is for, of which the style layers up to
            `until`, the steps, and how the descent goes count; `TransferConfig()` if left out.
        until: The deepest layer that is to be as in `fine`, between conv1_1 and conv5_4; a deeper
            one takes over larger forms.
        devices: As in `stylize`, and so `callback` and `progress`.

    Returns:
        The best image seen, of the shape of `style`, and the history of the loss.

    Raises:
        ConfigError: An image or a setting is not what it should be, or there is no style layer up
            to `until`.

    Example:
        >>> style = fine_style(params, first, second, config).image
        >>> result = stylize(params, content, style, config)

    References:
        Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling perceptual factors in neural
        style transfer" (CVPR 2017), section 6, who match the colours of both to the content first;
        with `colours="content"`, `stylize` does so with the new style.
    """
    config = fine_style_config(config or TransferConfig(), until)
    run = RunArguments(params, style, fine, config, devices=devices)
    return painted(run.single(None), callback, progress)
