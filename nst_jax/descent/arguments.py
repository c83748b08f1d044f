"""The arguments of a run, checked and brought into one form: loss, weights, optimiser, keys."""

import contextlib
import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.core import Tracer

from nst_jax.checks import LARGEST_SEED, ConfigError, check_at_least
from nst_jax.config import TransferConfig
from nst_jax.descent.start import make_key
from nst_jax.host.devices import multiplies_bfloat16
from nst_jax.objective.default import as_loss, default_loss
from nst_jax.objective.terms import Loss, Term
from nst_jax.objective.weights import LossWeights
from nst_jax.optim.optimizers import keep_in_range
from nst_jax.pixels import shape_of


def spelt_out(
    loss: Loss | Term | None, weights: LossWeights | None, config: TransferConfig
) -> Loss:
    """The loss of a run, its numbers as arrays.

    So runs and studies of the same loss run the same program, and round alike.

    Lists and tuples of lanes become arrays; else they would count as branches of the tree.

    Raises:
        ConfigError: Both are given, or one cannot be.
    """
    if loss is None:
        terms = default_loss(config, weights)
        if weights is not None:
            as_arrays(weights)  # so that messages name them as the caller did
        return as_arrays(terms)
    if weights is not None:
        raise ConfigError(
            "both weights and loss are given; the terms of a loss have weights of their "
            "own, so leave weights out"
        )
    if not isinstance(loss, Loss | Term):
        raise ConfigError(
            f"loss is {loss!r}; give a sum of terms, such as nst.content() + 20 * nst.style()"
        )
    loss = as_loss(loss, config)
    loss.check()
    return as_arrays(loss)


def as_arrays(tree: Any) -> Any:
    """The numbers of weights or of a loss as float32 arrays.

    Raises:
        ConfigError: One is no number.
    """
    name = "weights" if isinstance(tree, LossWeights) else "loss"

    def as_array(path: Any, leaf: Any) -> np.ndarray:
        if isinstance(leaf, Tracer):
            return np.asarray(leaf)  # which JAX refuses, and says why
        with contextlib.suppress(TypeError, ValueError):
            if not isinstance(leaf, str | bytes):  # which NumPy may take for a number
                return np.asarray(leaf, np.float32)
        raise ConfigError(
            f"{name}{jax.tree_util.keystr(path)} is {leaf!r}, no number; give one, or make a field "
            "of your own term nst.static, which holds anything"
        )

    return jax.tree_util.tree_map_with_path(
        as_array, tree, is_leaf=lambda leaf: isinstance(leaf, list | tuple)
    )


def check_balance(config: TransferConfig, weights: LossWeights | None) -> None:
    """Makes sure that weights which are to be found are not given.

    Raises:
        ConfigError: They are.
    """
    if config.balance and weights is not None and weights.style_layers is not None:
        raise ConfigError(
            "balance is on, which finds the weights of the style's layers, but "
            "weights.style_layers are given; leave one of the two out"
        )


def checked_keys(name: str, keys: Any, num_axes: int) -> Array:
    """Random keys with so many axes; seeds, and `jax.random.PRNGKey`, as `jax.random.key`.

    Raises:
        ConfigError: They are none.
    """
    if isinstance(keys, list | tuple) and keys and all(map(_is_key, keys)):
        with contextlib.suppress(TypeError, ValueError):  # which are refused below
            keys = jnp.stack(keys)
    is_plain = isinstance(keys, int | np.integer | np.ndarray | list | tuple | range)
    seeds = np.asarray(keys) if is_plain and shape_of(keys) is not None else None
    if seeds is not None and seeds.dtype.kind in "iu" and seeds.ndim == num_axes and seeds.size:
        for seed in seeds.flat:
            check_at_least(name, int(seed), 0, LARGEST_SEED)
        made = [make_key(int(seed)) for seed in seeds.flat]
        return jnp.stack(made) if num_axes else made[0]
    kind = getattr(keys, "dtype", None)
    if kind == np.uint32 and np.shape(keys)[num_axes:] == (2,):
        keys = jax.random.wrap_key_data(jnp.asarray(keys))
    if (
        not isinstance(keys, Array)
        or not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
        or keys.ndim != num_axes
    ):
        example = (
            "one key a lane, such as jax.random.split(jax.random.key(0), 4), or seeds"
            if num_axes
            else "a random key, such as jax.random.key(0), or a seed, such as 0"
        )
        found = repr(keys) if kind is None else f"of {kind} with shape {np.shape(keys)}"
        raise ConfigError(f"{name} is {found}; give {example}")
    return keys


def _is_key(key: Any) -> bool:
    return isinstance(key, Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


def chosen_optimizer(
    optimizer: str | optax.GradientTransformation | None, config: TransferConfig
) -> tuple[TransferConfig, optax.GradientTransformationExtraArgs | None]:
    """The settings that name the optimiser, and one of the caller's own as runs take it.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(optimizer, str):
        config = dataclasses.replace(config, optimizer=optimizer)  # type: ignore[arg-type]
    if optimizer is None or isinstance(optimizer, str):
        return config, None
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ConfigError(
            f"optimizer is {optimizer!r}; give a name, or one of optax's transformations, "
            "such as optax.adamw(0.02)"
        )
    return config, keep_in_range(optimizer)


def precision_here(config: TransferConfig) -> tuple[TransferConfig, str]:
    """The settings with the precision that a run has on this device.

    A CPU has no use for activations of half the size, and for rounded factors only where it has
    instructions for them.

    Returns:
        The settings, and a line that says that a CPU computes in float32; empty where none does
        against what was asked.
    """
    if jax.default_backend() != "cpu" or config.precision == "highest":
        return config, ""
    if multiplies_bfloat16():
        return dataclasses.replace(config, precision="default"), ""
    return (
        dataclasses.replace(config, precision="highest"),
        f"precision {config.precision}: this CPU has no AMX or AVX512-BF16 that is known of, so "
        "that everything is float32",
    )


def check_average(config: TransferConfig) -> None:
    """Makes sure that an average is one of an optimiser whose images scatter.

    Raises:
        ConfigError: It is not.
    """
    if config.average and config.optimizer == "lbfgs":
        raise ConfigError(
            f"average is {config.average}, but lbfgs keeps the best image, and needs none; "
            "take the optimizer adam or sgd, or leave average out"
        )


def check_numbers(name: str, numbers: LossWeights | Loss) -> None:
    """Makes sure that weights, or a loss's numbers, are finite, each for all lanes or one a lane.

    Raises:
        ConfigError: One is not, or a weight of the default loss is negative.
    """
    # a term of one's own may be meant to grow
    least = 0.0 if isinstance(numbers, LossWeights) else -np.inf
    for path, leaf in jax.tree_util.tree_leaves_with_path(numbers):
        if leaf.ndim > 1 or not leaf.size or not np.all(np.isfinite(leaf) & (leaf >= least)):
            bound = ", at least 0" if least == 0 else ""
            raise ConfigError(
                f"{name}{jax.tree_util.keystr(path)} is {leaf}; it must be a finite "
                f"number{bound}, or one a lane"
            )


def check_plain_numbers(name: str, numbers: LossWeights | Loss) -> None:
    """`check_numbers`, where one run takes one number of each.

    Raises:
        ConfigError: Also where there are several.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(numbers):
        if leaf.ndim:
            raise ConfigError(
                f"{name}{jax.tree_util.keystr(path)} is {leaf}, but one run takes one number; "
                "stylize_batch takes one a lane"
            )
    check_numbers(name, numbers)


def checked_devices(devices: Any) -> tuple[jax.Device, ...] | None:
    """Devices as a tuple.

    Raises:
        ConfigError: They are none, or one is there twice.
    """
    if devices is None:
        return None
    found = tuple(devices) if isinstance(devices, Iterable) else (devices,)
    if not isinstance(devices, Iterable) or not all(isinstance(one, jax.Device) for one in found):
        raise ConfigError(f"devices is {devices!r}; give a list of them, such as jax.devices()[:2]")
    if len(set(found)) < len(found):
        raise ConfigError("devices names one twice; give each once")
    return found


def count_lanes(name: str, numbers: LossWeights | Loss, keys: Array | None) -> int:
    """How many lanes the weights, or a loss's numbers, and the keys are for."""
    check_numbers(name, numbers)
    sizes: dict[str, int] = {} if keys is None else {"keys": keys.shape[0]}
    sizes |= {
        f"{name}{jax.tree_util.keystr(path)}": leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(numbers)
        if leaf.ndim
    }
    if len(set(sizes.values())) > 1:
        raise ConfigError(
            "the numbers of lanes differ: "
            f"{', '.join(f'{name} has {size}' for name, size in sizes.items())}"
        )
    return next(iter(sizes.values()), 1)
