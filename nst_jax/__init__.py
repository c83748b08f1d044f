"""Neural style transfer after Gatys, Ecker and Bethge (CVPR 2016) as pure functions in JAX."""

from importlib.metadata import version as _version

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.descent.balanced import balanced
from nst_jax.descent.chunk import Chunk
from nst_jax.descent.colours import match_colours, with_luminance
from nst_jax.descent.descend import descend, descend_batch
from nst_jax.descent.fine_style import fine_style
from nst_jax.descent.result import Progress, TransferResult
from nst_jax.descent.step import TransferState, init, step
from nst_jax.descent.stylize import stylize, stylize_batch
from nst_jax.descent.texture import texture
from nst_jax.files.images import ImageError, read_image, write_image
from nst_jax.files.metadata import read_origin
from nst_jax.files.sheets import make_sheet
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.jobs.presets import PRESETS, Preset
from nst_jax.network.normalisation import normalise_activations
from nst_jax.network.vgg import NETWORKS, direct_params, features, prepare_params
from nst_jax.objective.default import content, default_loss, style
from nst_jax.objective.edges import Edges, edges
from nst_jax.objective.grain import Grain, grain
from nst_jax.objective.loss import loss_and_gradient, total_loss
from nst_jax.objective.losses import content_loss, gram_matrix, style_loss, total_variation
from nst_jax.objective.matting import Matting
from nst_jax.objective.moments import BatchNorm, Covariance, Wasserstein
from nst_jax.objective.neighbours import NearestNeighbours, RelaxedEMD
from nst_jax.objective.regions import Region
from nst_jax.objective.similarity import SelfSimilarity
from nst_jax.objective.sliced import SlicedWasserstein
from nst_jax.objective.statistics import Content, Gram, TotalVariation
from nst_jax.objective.target import Target, Targets
from nst_jax.objective.targets import make_targets
from nst_jax.objective.term_class import static, term
from nst_jax.objective.terms import Loss, Term
from nst_jax.objective.views import View
from nst_jax.objective.weights import LossWeights, TermWeights
from nst_jax.optim.bounds import within_bounds
from nst_jax.optim.lbfgs import Preconditioner, safeguarded_lbfgs
from nst_jax.optim.optimizers import make_optimizer
from nst_jax.optim.preconditioner import curvature_preconditioner
from nst_jax.report.evaluate import Evaluation, evaluate
from nst_jax.report.perceptual import lpips_distance
from nst_jax.report.sheets import make_labelled_sheet
from nst_jax.study.result import StudyResult
from nst_jax.study.run import run_study
from nst_jax.weights import WeightsError, load_params

__version__ = _version("nst-jax")

__all__ = [
    "NETWORKS",
    "PRESETS",
    "BatchNorm",
    "Chunk",
    "ConfigError",
    "Content",
    "Covariance",
    "Edges",
    "Evaluation",
    "Grain",
    "Gram",
    "ImageError",
    "Loss",
    "LossWeights",
    "Matting",
    "NearestNeighbours",
    "Preconditioner",
    "Preset",
    "Progress",
    "Region",
    "RelaxedEMD",
    "SelfSimilarity",
    "SlicedWasserstein",
    "StudyResult",
    "Target",
    "Targets",
    "Term",
    "TermWeights",
    "TotalVariation",
    "TransferConfig",
    "TransferResult",
    "TransferState",
    "View",
    "Wasserstein",
    "WeightsError",
    "balanced",
    "content",
    "content_loss",
    "curvature_preconditioner",
    "default_loss",
    "descend",
    "descend_batch",
    "direct_params",
    "edges",
    "evaluate",
    "features",
    "fine_style",
    "grain",
    "gram_matrix",
    "init",
    "keep_programs",
    "load_params",
    "loss_and_gradient",
    "lpips_distance",
    "make_labelled_sheet",
    "make_optimizer",
    "make_sheet",
    "make_targets",
    "match_colours",
    "normalise_activations",
    "prepare_params",
    "read_image",
    "read_origin",
    "run_study",
    "safeguarded_lbfgs",
    "static",
    "step",
    "style",
    "style_loss",
    "stylize",
    "stylize_batch",
    "term",
    "texture",
    "total_loss",
    "total_variation",
    "with_luminance",
    "within_bounds",
    "write_image",
]
