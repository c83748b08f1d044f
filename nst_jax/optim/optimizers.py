"""The optimisers that a configuration can name, each asking for images in [0, 1] alone."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.optim.bounds import within_bounds
from nst_jax.optim.lbfgs import safeguarded_lbfgs
from nst_jax.optim.preconditioner import curvature_preconditioner

# By how much factors in bfloat16 part losses that are equal, as a fraction of them: chosen on a
# CPU, where to allow it in float32 does no harm (docs/benchmarks).
_NOISE_OF_ROUNDING = 1e-3


def make_optimizer(config: TransferConfig) -> optax.GradientTransformationExtraArgs:
    """The optimiser that `config` names, as an optax transformation.

    It takes `value`, the loss at the parameters.

    Every image that it asks to evaluate lies in [0, 1], so that the loss seen is that of a picture
    that can be written. Below the highest precision, L-BFGS accepts a rise of the loss by a
    thousandth, the `noise` of `safeguarded_lbfgs`.

    Example:
        >>> optimizer = make_optimizer(TransferConfig(optimizer="adam", learning_rate=0.05))
    """
    if config.optimizer == "lbfgs":
        noise = 0.0 if config.precision == "highest" else _NOISE_OF_ROUNDING
        return within_bounds(
            safeguarded_lbfgs(config.memory, preconditioner=curvature_preconditioner(), noise=noise)
        )

    def method(learning_rate: Any) -> optax.GradientTransformation:
        falling = optax.exponential_decay(learning_rate, 100, config.decay)
        return optax.sgd(falling) if config.optimizer == "sgd" else optax.adam(falling)

    return _projected(optax.inject_hyperparams(method)(config.learning_rate))


def traced_hyperparams(
    config: TransferConfig, optimizer: optax.GradientTransformation | None = None
) -> dict[str, float]:
    """The numbers of an optimiser that its state holds, so that lanes of one program may vary them.

    Args:
        config: Names the optimiser.
        optimizer: Where one is given apart; its numbers are its own.
    """
    if optimizer is not None or config.optimizer == "lbfgs":
        return {}
    return {"learning_rate": config.learning_rate}


# the same object for the same one, so that what was compiled for it serves again
@functools.lru_cache(maxsize=32)
def keep_in_range(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """An optimiser of one's own, each of whose moves is cut off at 0 and 1.

    Args:
        optimizer: Any of optax's that needs no line search; it may take `value`, the loss at the
            parameters.

    Raises:
        ConfigError: It asks for more than a loss and its gradient.

    Example:
        >>> optimizer = keep_in_range(optax.adamw(0.02))
    """
    kept = _projected(optimizer)
    image = jax.ShapeDtypeStruct((16, 16, 3), jnp.float32)
    value = jax.ShapeDtypeStruct((), jnp.float32)
    try:
        jax.eval_shape(
            lambda image, value: kept.update(image, kept.init(image), image, value=value),
            image,
            value,
        )
    except TypeError as error:
        raise ConfigError(
            f"the optimizer cannot be used ({error}); give one that needs a loss and its gradient "
            "alone, no line search, such as optax.adamw(0.02)"
        ) from error
    return kept


def _projected(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    def project(updates: Any, params: Any) -> Any:
        return optax.projections.projection_hypercube(params + updates) - params

    return optax.with_extra_args_support(optax.chain(optimizer, optax.stateless(project)))
