"""What settings can be: the checks that several modules make, and the error they raise."""

import difflib
import re
from collections.abc import Collection, Iterable
from numbers import Integral
from typing import Any

import numpy as np

LARGEST_WEIGHT = 3.4e38
"""What a weight must be less than: float32 ends there."""

LARGEST_SEED = 2**32 - 1


class ConfigError(ValueError):
    """A setting is wrong; the message says which, what it may be, and what to do."""


def checked_mix(name: str, mix: Any) -> tuple[float, ...]:
    """A mixture of style images as numbers.

    Raises:
        ConfigError: It is none; the message calls it by that name.
    """
    if isinstance(mix, str) or not isinstance(mix, Iterable):
        raise ConfigError(f"{name} is {mix!r}; give a number for each style image, such as (3, 7)")
    mix = tuple(mix)
    for share in mix:
        check_weight(f"a share of {name}", share)
    if mix and not any(mix):
        raise ConfigError(f"{name} has no share above 0; at least one style must count")
    return tuple(map(float, mix))


def checked_shares(name: str, shares: Any) -> tuple[float, ...]:
    """Shares of a whole, of which some is left.

    Raises:
        ConfigError: They are none; the message calls them by that name.
    """
    is_several = isinstance(shares, Iterable) and not isinstance(shares, str)
    shares = tuple(shares) if is_several else shares
    if (
        not is_several
        or not all(is_number(share) and 0 < share < 1 for share in shares)
        or sum(shares) >= 1
    ):
        raise ConfigError(
            f"{name} is {shares!r}; give numbers between 0 and 1 that add up to less than 1, such "
            "as (0.2, 0.1)"
        )
    return tuple(map(float, shares))


def check_layers(name: str, layers: Iterable[object]) -> None:
    for layer in layers:
        if not re.fullmatch(r"conv[1-5]_[1-4]", str(layer)):
            raise ConfigError(
                f"unknown layer {layer!r} in {name}; layers are called conv1_1 … "
                "conv5_4 (VGG-16: … conv5_3)"
            )


def check_one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    # 0 and 1 equal False and True, but records tell them apart.
    if value not in allowed or isinstance(value, bool) != isinstance(allowed[0], bool):
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(str, allowed))}")


def is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def check_scaling(name: str, loss: str, scaling: str) -> None:
    """Makes sure that a loss of that name has such a scaling.

    Raises:
        ConfigError: It has not.
    """
    if scaling != "relative" and loss not in ("gram", "features"):
        raise ConfigError(
            f"{name} is {loss!r} and scaling {scaling!r}, but only gram and features have scalings "
            "other than relative; give scaling 'relative'"
        )


def check_at_least(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Makes sure that a setting is a whole number, `least` or more and `most` or less.

    Raises:
        ConfigError: It is not.
    """
    if not is_whole(value) or value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, {bounds}")


def check_weight(name: str, value: Any) -> None:
    """Makes sure that a part of the loss, of that name, can have that weight.

    Raises:
        ConfigError: It cannot.
    """
    if not is_number(value) or not 0 <= value < LARGEST_WEIGHT:
        raise ConfigError(f"{name} is {value!r}; it must be a finite number, at least 0")


def check_known(key: str, known: Collection[str]) -> None:
    """Makes sure that a key of a file is one of those known.

    Raises:
        ConfigError: It is not; the message names the nearest one.
    """
    if key not in known:
        near = difflib.get_close_matches(key, known, 1)
        raise ConfigError(
            f"unknown key {key!r}; "
            f"{f'did you mean {near[0]}?' if near else 'known are ' + ', '.join(known)}"
        )
