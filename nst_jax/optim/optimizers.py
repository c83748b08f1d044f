"""The optimisers that a configuration can name, each asking for images in [0, 1] alone."""

from typing import Any

import optax

from nst_jax.config import TransferConfig
from nst_jax.optim.bounds import within_bounds
from nst_jax.optim.lbfgs import safeguarded_lbfgs
from nst_jax.optim.preconditioner import curvature_preconditioner


def make_optimizer(config: TransferConfig) -> optax.GradientTransformationExtraArgs:
    """The optimiser that `config` names, as an optax transformation that takes `value`, the loss at the parameters.

    Every image that it asks to evaluate lies in [0, 1], so that the loss seen is that of a picture that can be written.
    """
    if config.optimizer == "lbfgs":
        return within_bounds(safeguarded_lbfgs(config.memory, preconditioner=curvature_preconditioner()))
    learning_rate = optax.exponential_decay(config.learning_rate, transition_steps=100, decay_rate=config.decay)
    method = optax.sgd(learning_rate) if config.optimizer == "sgd" else optax.adam(learning_rate)
    return optax.with_extra_args_support(optax.chain(method, _keep_in_range()))


def _keep_in_range() -> optax.GradientTransformation:
    def project(updates: Any, params: Any) -> Any:
        return optax.projections.projection_hypercube(params + updates) - params

    return optax.stateless(project)
