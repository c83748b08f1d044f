"""Neural style transfer after Gatys, Ecker and Bethge (CVPR 2016) as pure functions in JAX."""

from nst_jax.bounds import within_bounds
from nst_jax.config import PRESETS, ConfigError, Preset, TransferConfig
from nst_jax.descent import TransferState, init, make_optimizer, step
from nst_jax.gradient import loss_and_gradient
from nst_jax.history import Progress, TransferResult
from nst_jax.images import ImageError, make_sheet, read_image, write_image
from nst_jax.lbfgs import Preconditioner, safeguarded_lbfgs
from nst_jax.losses import content_loss, gram_matrix, style_loss, total_variation
from nst_jax.normalisation import normalise_activations
from nst_jax.objective import LossTerms, LossWeights, Targets, make_targets, total_loss
from nst_jax.perceptual import lpips_distance
from nst_jax.plots import make_labelled_sheet
from nst_jax.preconditioner import curvature_preconditioner
from nst_jax.study import run_study
from nst_jax.study_result import StudyResult
from nst_jax.transfer import stylize, stylize_batch
from nst_jax.vgg import NETWORKS, features, prepare_params
from nst_jax.weights import WeightsError, load_params

__all__ = [
    "NETWORKS",
    "PRESETS",
    "ConfigError",
    "ImageError",
    "LossTerms",
    "LossWeights",
    "Preconditioner",
    "Preset",
    "Progress",
    "StudyResult",
    "Targets",
    "TransferConfig",
    "TransferResult",
    "TransferState",
    "WeightsError",
    "content_loss",
    "curvature_preconditioner",
    "features",
    "gram_matrix",
    "init",
    "load_params",
    "loss_and_gradient",
    "lpips_distance",
    "make_labelled_sheet",
    "make_optimizer",
    "make_sheet",
    "make_targets",
    "normalise_activations",
    "prepare_params",
    "read_image",
    "run_study",
    "safeguarded_lbfgs",
    "step",
    "style_loss",
    "stylize",
    "stylize_batch",
    "total_loss",
    "total_variation",
    "within_bounds",
    "write_image",
]
