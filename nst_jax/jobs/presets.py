"""Whole configurations known by a name."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from nst_jax.checks import (
    ConfigError,
    check_at_least,
    check_layers,
    check_one_of,
    check_weight,
    is_whole,
)
from nst_jax.config import TransferConfig
from nst_jax.descent.fine_style import FINE_UNTIL
from nst_jax.files.encoding import Encoding
from nst_jax.objective.weights import TermWeights

_STYLE_SIZE = re.compile(r"[0-9]{1,6}|([0-9]{1,4}(\.[0-9]{1,6})?|\.[0-9]{1,6})x")


@dataclass(frozen=True)
class Preset(TermWeights):
    """A whole configuration known by a name.

    It has the settings of the transfer, the weights of its loss, which are those of `TermWeights`,
    and how the images are read.

    The command line has each as an option, and says of it what stands here.

    Args:
        config: How the picture is found.
        network: The network, or a file with its weights in any known format; the best that is to be
            had if left out.
        size: Longest side of the result, or original, the photograph's own (in Python None).
        rows: Height of the result, instead of its longest side.
        resample: Filter that resizes the images.
        squash_style: Squash the style image to the content's shape instead of keeping its own.
        style_size: Longest side of each style image, or of all, in pixels (300), or as a factor of
            what it would be (0.5x); larger ones paint larger strokes.
        fine_until: Deepest layer whose detail is the fine style's; deeper ones take larger forms,
            too.
        keep_alpha: Leave transparent what is transparent in the content image; PNG, WebP or TIFF.
        bits: Bits of each colour in the result's file; 16 for PNG and TIFF.
        quality: Of JPEG and WebP results, 1 to 100.
        dpi: Pixels an inch that the result's file says, for print.
        save_every: Also write OUTPUT_at_iteration_<n>.png every so many steps, with zeros before n
            so that they sort; 0 never does.

    Raises:
        ConfigError: A value cannot be.
    """

    config: TransferConfig = dataclasses.field(default_factory=TransferConfig)
    _: dataclasses.KW_ONLY
    network: str | None = None
    size: int | None = 512
    rows: int | None = None
    resample: Literal["lanczos", "nearest"] = "lanczos"
    squash_style: bool = False
    style_size: tuple[str, ...] = ()
    fine_until: str = FINE_UNTIL
    keep_alpha: bool = False
    bits: int = 8
    quality: int = 95
    dpi: int | None = None
    save_every: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "rows"):
            value = getattr(self, name)
            if value is not None and not is_whole(value):
                raise ConfigError(f"{name} is {value!r}; it must be a whole number of pixels")
        for name in (field.name for field in dataclasses.fields(TermWeights)):
            check_weight(name, getattr(self, name))
        check_at_least("save_every", self.save_every, 0)
        check_one_of("resample", self.resample, ("lanczos", "nearest"))
        check_one_of("squash_style", self.squash_style, (False, True))
        self._check_style_size()
        check_layers("fine_until", (self.fine_until,))
        check_one_of("keep_alpha", self.keep_alpha, (False, True))
        Encoding(self.bits, self.quality, self.dpi)  # which checks them

    def _check_style_size(self) -> None:
        object.__setattr__(self, "style_size", tuple(self.style_size))
        for value in self.style_size:
            if not _STYLE_SIZE.fullmatch(str(value)):
                raise ConfigError(
                    f"style_size is {value}; it must be pixels of the longest side, such as 300, "
                    "or a factor of the usual size, such as 0.5x"
                )
        if self.style_size and self.squash_style:
            raise ConfigError(
                "style_size is given, but squash_style brings the style to the content's shape; "
                "leave one of the two out"
            )

    def replace(self, **changes: object) -> "Preset":
        """A copy with the given fields changed; fields of `config` may be named directly."""
        inner = {name: changes.pop(name) for name in list(changes) if name in _CONFIG_FIELDS}
        return dataclasses.replace(
            self, config=dataclasses.replace(self.config, **inner), **changes
        )


_CONFIG_FIELDS = {field.name for field in dataclasses.fields(TransferConfig)}


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "default": Preset(),
        "best": Preset(
            TransferConfig(border="replicate"), content_weight=1.5, neighbours_weight=2.0
        ),
        "paper": Preset(
            TransferConfig(scaling="mean", init="noise", num_steps=500, coarse_to_fine=False),
            # The paper's ratio is 1e-3, in units that it does not give. With these means it leaves
            # nothing of the photograph (docs/published).
            content_weight=0.1,
            style_weight=1.0,
            grain_weight=0.0,
        ),
        "notebook": Preset(
            TransferConfig(
                content_layers=("conv5_2",),
                pooling="max",
                scaling="notebook",
                optimizer="sgd",
                num_steps=4000,
                # 100 in units of the 0–255 range: the gradient grows by 255 and the pixels shrink
                # by 255 when the range is [0, 1].
                learning_rate=100 / 255**2,
                decay=0.96,
                coarse_to_fine=False,
            ),
            content_weight=2.5e-8,
            style_weight=1e-6,
            tv_weight=1e-6,
            grain_weight=0.0,
            size=None,
            rows=400,
            resample="nearest",
            squash_style=True,
            save_every=100,
        ),
        "photorealistic": Preset(matting_weight=30_000.0, grain_weight=0.0),
    }
)
"""The named configurations.

`best` has each place look like some place of the style as well (docs/benchmarks/pictures.md).
`paper` is meant for activation-normalised weights. `photorealistic` is for a photograph as style.
`notebook` is the Keras notebook, except that its pixels, which the notebook lets leave the range
until it saves them, are kept within it.
"""
