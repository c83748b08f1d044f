"""The arguments of a run, gathered where it is asked for and passed on whole."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax
import numpy as np
import optax
from jax import Array
from jaxtyping import Float

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.descent.arguments import (
    as_arrays,
    check_average,
    check_balance,
    check_plain_numbers,
    checked_devices,
    checked_keys,
    chosen_optimizer,
    spelt_out,
)
from nst_jax.network.vgg import Params
from nst_jax.objective.regions import Region
from nst_jax.objective.terms import Loss, Term
from nst_jax.objective.weights import LossWeights, check_weights
from nst_jax.pixels import shape_of

Image = Float[Array | np.ndarray, "_height _width 3"]
Mask = Float[Array | np.ndarray, "_height _width"]


@dataclass(frozen=True, eq=False)
class RunArguments:
    """The arguments of `stylize_batch`, which are described there, not yet checked.

    Args:
        is_single: Whether it is a batch of one, as `single` makes it.
    """

    params: Params
    content: Image | tuple[int, int]
    style: Image | Sequence[Image]
    config: TransferConfig
    weights: LossWeights | None = None
    _: KW_ONLY
    loss: Loss | Term | None = None
    optimizer: str | optax.GradientTransformation | None = None
    keys: Array | Sequence[int] | None = None
    initial: Image | None = None
    devices: Sequence[jax.Device] | None = None
    regions: Sequence[Region] = ()
    keep: Mask | None = None
    is_single: bool = False

    def __post_init__(self) -> None:
        # an iterator would serve one of those who look at it
        if isinstance(self.regions, Iterator):
            object.__setattr__(self, "regions", tuple(self.regions))
        object.__setattr__(self, "devices", checked_devices(self.devices))
        config, own_optimizer = chosen_optimizer(self.optimizer, self.config)
        if own_optimizer is None:
            check_average(config)
        layers = self.config.content_layers if self.loss is None else ()
        if layers and self.texture_shape is not None and self.config.init == "noise":
            raise ConfigError(
                f"content_layers are {', '.join(layers)}, but there is no content image; give "
                "content_layers=(), or call nst.texture"
            )

    @property
    def texture_shape(self) -> tuple[Any, ...] | None:
        """Height and width, where they are given in place of a content image."""
        return tuple(self.content) if shape_of(self.content) == (2,) else None

    def single(self, key: Array | int | None) -> "RunArguments":
        """The arguments of `stylize`, with its key, as those of a batch of one.

        Raises:
            ConfigError: A number is not finite, there are several where one belongs, or weights are
                given that are to be found.
        """
        check_weights(self.weights)
        check_balance(self.config, self.weights)
        loss = spelt_out(self.loss, self.weights, self.config)
        if self.weights is not None:
            check_plain_numbers("weights", as_arrays(self.weights))
        check_plain_numbers("loss", loss)
        return dataclasses.replace(
            self,
            weights=None,
            loss=jax.tree.map(lambda leaf: leaf[None], loss),
            keys=None if key is None else checked_keys("key", key, 0)[None],
            is_single=True,
        )
