"""VGG-16 and VGG-19 as pure functions of their parameters.

Parameters are `{"mean": (3,), "conv1_1": {"kernel": (3, 3, 3, 64), "bias": (64,)}, …}`, with
whatever preprocessing the network was trained with already folded in (see `nst_jax.weights`): it
takes sRGB in [0, 1] whoever trained it.

References:
    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition"
    (ICLR 2015), table 1, columns D and E.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from nst_jax.checks import ConfigError, check_one_of
from nst_jax.compiled import compiled_alone
from nst_jax.config import Border, Pooling, Precision
from nst_jax.dtypes import accumulation_type
from nst_jax.network.borders import pad_to_even, wraps
from nst_jax.network.convolution import convolve, direct_kernel, prepare_kernels
from nst_jax.network.pooling import pool
from nst_jax.pixels import WHILE_IT_MOVES, check_image

Params = Mapping[str, Any]
"""`{"mean": (3,), layer: {"kernel": (3, 3, in, out), "bias": (out,)}}`, float32."""

Side = Any
"""Pixels, or a dimension that `jax.export` leaves open."""

_BLOCK_CHANNELS = (64, 128, 256, 512, 512)
_BLOCK_DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


def _kernel_shapes(depths: Sequence[int]) -> Mapping[str, tuple[int, int, int, int]]:
    shapes, in_channels = {}, 3
    for block, (depth, out_channels) in enumerate(
        zip(depths, _BLOCK_CHANNELS, strict=True), start=1
    ):
        for index in range(1, depth + 1):
            shapes[f"conv{block}_{index}"] = (3, 3, in_channels, out_channels)
            in_channels = out_channels
    return MappingProxyType(shapes)


NETWORKS: Mapping[str, Mapping[str, tuple[int, int, int, int]]] = MappingProxyType(
    {name: _kernel_shapes(depths) for name, depths in _BLOCK_DEPTHS.items()}
)
"""For each network its convolutions in order, and the shape of each one's kernel."""


def network_of(params: Params) -> str:
    """The network whose convolutions `params` holds, as a name in `NETWORKS`.

    Raises:
        ConfigError: `params` holds neither network's set of layers.
    """
    layers = set(params) - {"mean"}
    for name, shapes in NETWORKS.items():
        if layers == set(shapes):
            return name
    raise ConfigError(
        f"params has the layers {', '.join(sorted(layers))}, which is neither VGG-16 nor VGG-19"
    )


def prepare_params(
    params: Params, layers: Sequence[str] | None = None, precision: Precision = "highest"
) -> Params:
    """The parameters in the form in which `features` is fastest on this backend.

    On a CPU, where Winograd's algorithm computes most layers, their kernels are transformed once,
    to four times their size; of parameters as they are loaded, in every evaluation anew. What is
    prepared already, and everything elsewhere, stays as it is.

    Args:
        params: A network's parameters, from `load_params`.
        layers: What deeper layers have is left as it is; all are prepared if left out.
        precision: Below `"highest"`, the transformed kernels of conv2_1 and deeper layers, and the
            features that they multiply, are rounded to bfloat16: for CPUs with AMX or AVX512-BF16.

    Raises:
        ConfigError: They are prepared for less precision already, or there is no such precision.

    Example:
        >>> prepared = prepare_params(params, ["conv1_1", "conv4_2"])
    """
    names = list(NETWORKS[network_of(params)])
    seen = names if layers is None else [layer for layer in layers if layer in names]
    deepest = max(map(names.index, seen), default=-1)
    kernels = {name: params[name]["kernel"] for name in names[: deepest + 1]}
    kernels = prepare_kernels(kernels, precision).items()
    return {**params, **{name: {**params[name], "kernel": kernel} for name, kernel in kernels}}


def direct_params(params: Params) -> Params:
    """The parameters in the form that is computed with by the equation, on a CPU too.

    That is more exact, compiles sooner, and several devices can share an image's rows. Elsewhere,
    and for parameters that are prepared, this returns what it is given.

    Args:
        params: A network's parameters, from `load_params`.

    Example:
        >>> exact = features(direct_params(params), image, ["conv4_2"])
    """
    if jax.default_backend() != "cpu":
        return params
    return {
        name: part if name == "mean" else {**part, "kernel": direct_kernel(part["kernel"])}
        for name, part in params.items()
    }


def least_size(layer: str) -> int:
    """The least height and width, in pixels, of an image that reaches `layer`.

    Each pooling before it halves both.
    """
    return stride(layer)


def stride(layer: str) -> int:
    """Pixels between two neighbouring positions of a layer."""
    return 2 ** (int(layer[len("conv")]) - 1)


def num_positions(length: Side, stride: int, border: Border) -> Side:
    """Positions of a layer along a side of so many pixels.

    Where the image ends with zeros, those that would see beyond it are left out.
    """
    return length // stride if border == "zero" else -(-length // stride)


def field_of_view(params: Params, layers: Sequence[str]) -> int:
    """Pixels that the positions of the named layers see beyond their own.

    To the side where they see more.
    """
    deepest, view = max(layers, key=list(NETWORKS[network_of(params)]).index), 0
    for name in NETWORKS[network_of(params)]:
        view += stride(name)
        if name == deepest:
            break
    return view


def features_shapes(
    params: Params, image_shape: Sequence[Side], layers: Sequence[str], border: Border = "zero"
) -> dict[str, tuple[Side, Side, int]]:
    """The shapes of what `features` finds, layers in the network's order.

    Args:
        params: A network's parameters.
        image_shape: The image's height and width.
        layers: Names such as `"conv4_2"`, in any order.
        border: As in `TransferConfig`.

    Raises:
        ConfigError: A layer is not in the network, or the image is too small for the deepest one,
            or cannot wrap.
    """
    if isinstance(layers, str):
        raise ConfigError(
            f"layers is the text {layers!r}; give a tuple of names, such as ({layers!r},)"
        )
    order = [name for name in NETWORKS[network_of(params)] if name in layers]
    unknown = [name for name in layers if name not in order]
    if unknown:
        raise ConfigError(
            f"unknown layer {unknown[0]!r}: {network_of(params)} has "
            f"{', '.join(NETWORKS[network_of(params)])}; name one of those"
        )
    if not order:
        return {}
    height, width = image_shape[:2]
    least = least_size(order[-1])
    # not one that `jax.export` leaves open
    if any(side < least for side in (height, width) if isinstance(side, int)):
        raise ConfigError(
            f"an image of {height} × {width} pixels is too small for {order[-1]}: "
            f"each side must be at least {least}; use a larger image or a shallower layer"
        )
    if any(wraps(border)):
        _check_wraps(height, width, order[-1], border)
    return {
        name: (
            num_positions(height, stride(name), border),
            num_positions(width, stride(name), border),
            params[name]["bias"].shape[0],
        )
        for name in order
    }


def _check_wraps(height: int, width: int, deepest: str, border: Border) -> None:
    step = stride(deepest)
    sides = list(zip((height, width), wraps(border), strict=True))
    if any(side % step for side, goes_on in sides if goes_on):
        below, above = (
            " × ".join(
                str(max(round_up(side), 1) * step if goes_on else side)
                for side, goes_on in reversed(sides)
            )
            for round_up in (lambda side: side // step, lambda side: -(-side // step))
        )
        raise ConfigError(
            f"a picture of {width} × {height} pixels cannot wrap: {deepest} has a position each "
            f"{step} pixels, so give it the shape of {below} or {above} (width × height), or "
            "take a shallower layer"
        )


def features(
    params: Params,
    image: Float[Array | np.ndarray, "height width 3"],
    layers: Sequence[str],
    pooling: Pooling = "avg",
    precision: Precision = "highest",
    border: Border = "zero",
) -> dict[str, Float[Array, "_height _width channels"]]:
    """Activations after ReLU at the named layers.

    Nothing deeper than the deepest of them is computed.

    F_l = ReLU(W_l ∗ F_{l−1} + b_l), and between blocks a 2 × 2 pooling of stride 2. An odd last row
    or column is dropped with the border `"zero"`; with any other, one more lies beyond it.

    Args:
        params: A network's parameters, as `load_params` returns them.
        image: sRGB in [0, 1] or up to 1 beyond, which is checked outside of `jit` alone; at least
            `least_size` of the deepest layer on either side.
        layers: Names such as `"conv4_2"`, in any order.
        pooling: `"avg"`, which the paper prefers, or `"max"`, what the networks were trained with.
        precision: As in `TransferConfig`; on a CPU, `prepare_params` rounds what `"default"` does.
        border: What each convolution sees beyond the image, as in `TransferConfig`. With
            `"reflect"`, a layer of one row or column, which has no other to mirror, repeats it.
            A side that wraps must be a multiple of the deepest layer's stride.

    Returns:
        The activations by the names in `layers`, bfloat16 where that is the precision.

    Raises:
        ConfigError: A layer is not in the network, the image is too small for the deepest one, or
            no image (integers, 0–255), or cannot wrap, or there is no such option.

    Example:
        >>> found = features(params, image, ["conv1_1", "conv4_2"])
        >>> found["conv1_1"].shape[:2] == image.shape[:2]
        True

    References:
        Gatys, Ecker and Bethge (CVPR 2016), section 2.
    """
    check_one_of("pooling", pooling, get_args(Pooling))
    check_one_of("border", border, get_args(Border))
    check_one_of("precision", precision, get_args(Precision))
    check_image("given", image, WHILE_IT_MOVES)
    image = jnp.asarray(image)
    wanted = tuple(features_shapes(params, image.shape, layers, border))
    return _features(dict(params), image, wanted, pooling, precision, border) if wanted else {}


@compiled_alone("wanted", "pooling", "precision", "border")
def _features(
    params: Params,
    image: Array,
    wanted: tuple[str, ...],
    pooling: Pooling,
    precision: Precision,
    border: Border,
) -> dict[str, Array]:
    """`features` of arguments that are right, of the layers in the network's order."""
    image = image.astype(accumulation_type(image.dtype))
    found, activations, step = {}, image - jnp.asarray(params["mean"], image.dtype)[None, None], 1
    if precision == "bfloat16":
        activations = activations.astype(jnp.bfloat16)
    for name in NETWORKS[network_of(params)]:
        if stride(name) != step:
            if border != "zero":
                activations = pad_to_even(activations, border)
            activations, step = pool(activations, pooling), stride(name)
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        responses: Array = convolve(activations, kernel, precision, border)
        activations = jax.nn.relu(responses + jnp.asarray(bias, activations.dtype)[None, None])
        if name in wanted:
            found[name] = activations
        if name == wanted[-1]:
            break
    return found
