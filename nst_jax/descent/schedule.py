"""The sizes that a descent goes through, and the steps at each.

An image begins at half the size. Noise has no detail to keep, and none that a descent would remove:
what the network does not see stays as it was, and the picture dithered. So a start from noise
begins as small as the network can judge, and each larger size with what the smaller one painted.
docs/benchmarks has how rough the pictures are.
"""

import math
from typing import NamedTuple

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.network.borders import wraps

_LEAST_FINEST = 384  # pixels of the longest side
LEAST_SIDE = 16  # four poolings
# Of the steps, at half the size; docs/benchmarks has other shares, and smaller sizes.
_SHARE = 1 / 20
# From noise: halves down to the least size of a shorter side, a fifth of the steps at the largest
# of them and a tenth at each other.
_LEAST_FROM_NOISE = 32
_SHARES_FROM_NOISE = (1 / 5, 1 / 10)


class Scale(NamedTuple):
    """One stage of the descent.

    Args:
        shape: Height and width of its image.
        num_steps: Evaluations made there.
    """

    shape: tuple[int, int]
    num_steps: int


def make_schedule(shape: tuple[int, int], config: TransferConfig) -> list[Scale]:
    """The scales of a descent, coarsest first, the whole size last.

    An image goes from half the size, from 384 pixels up; noise from as small a size as there is.

    Args:
        shape: Height and width of the result.
        config: Says whether to go from coarse to fine at all, whether from noise, and the steps of
            all scales together.

    Raises:
        ConfigError: `config.coarse_steps` asks for a size that is too small, or a share of no step.
    """
    scales, left = [], config.num_steps
    for place, share in enumerate(config.coarse_steps or _usual_shares(shape, config), 1):
        steps = int(share * config.num_steps + 1e-9)  # 0.29 of 100 are 29
        if not 0 < steps < left or min(shape) < LEAST_SIDE * 2**place:
            if config.coarse_steps:
                raise ConfigError(
                    f"coarse_steps asks for {steps} of {config.num_steps} steps at 1/{2**place} of "
                    f"{shape[1]} × {shape[0]} pixels; there must be one at least, and "
                    f"{LEAST_SIDE} pixels of the shorter side, so give fewer or larger shares"
                )
            break
        # what wraps at the largest size wraps at each
        units = (LEAST_SIDE if goes_on else 1 for goes_on in wraps(config.border))
        height, width = (
            unit * max(round(side / (2**place * unit)), 1)
            for side, unit in zip(shape, units, strict=True)
        )
        scales.append(Scale((height, width), steps))
        left -= steps
    return [*reversed(scales), Scale(shape, left)]


def _usual_shares(shape: tuple[int, int], config: TransferConfig) -> list[float]:
    """Of the steps, at half the size, at a quarter, and so on."""
    if not config.coarse_to_fine:
        return []
    if config.init != "noise":
        return [_SHARE] if max(shape) >= _LEAST_FINEST else []
    halvings = int(math.log2(max(min(shape) / _LEAST_FROM_NOISE, 1)))
    first, other = _SHARES_FROM_NOISE
    return [first, *[other] * (halvings - 1)][:halvings]
