"""An area of the picture that stays the content's.

The loss is that of y = m · content + (1 − m) · x, m the mask: where m is 1, y is the content. So
the gradient in x is (1 − m) · ∂loss/∂y, and the style near the edge knows the pixels kept.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.checks import ConfigError
from nst_jax.descent.step import Evaluation
from nst_jax.objective.regions import check_mask
from nst_jax.objective.target import Target, Targets
from nst_jax.pixels import ROUNDING

KEPT = "kept pixels"
"""What is kept goes with the targets, which are by content image and size, too, by this name."""


def checked_keep(keep: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask of what is kept of a content image of that shape; None where nothing is.

    Raises:
        ConfigError: It is no such mask, or nothing is left to paint.
    """
    if keep is None:
        return None
    check_mask("keep", keep, shape)
    mask = np.asarray(jax.device_get(keep), np.float32)
    if (mask >= 1 - ROUNDING).all():
        raise ConfigError(
            "keep is 1 everywhere, which leaves nothing to paint; give 0 where the style goes"
        )
    return mask


@jax.jit
def kept_target(content: Array, mask: Array) -> Mapping[str, Target]:
    """What is kept of a content image, as one of its targets.

    Args:
        content: The content image at some size.
        mask: How much of each pixel stays the content's, of any size.
    """
    mask = jnp.clip(jax.image.resize(mask, content.shape[:2], "linear"), 0, 1)[..., None]
    return {KEPT: Target({"pixels": mask * content, "free": 1 - mask}, (), {})}


def keeping(evaluate: Evaluation, targets: Targets, content: Array) -> Evaluation:
    """The evaluation of y as one of x, where something is kept.

    Args:
        evaluate: Of the whole picture, y.
        targets: With a leading axis to choose from, as `ScaledTargets` has them.
        content: Which of those of content images is the lane's.
    """
    if KEPT not in targets:
        return evaluate
    own = jax.tree.map(lambda rows: rows[content], targets[KEPT].fields)

    def of_what_is_free(image: Array) -> tuple[tuple[Array, Any], Array]:
        found, gradient = evaluate(own["pixels"] + own["free"] * image)
        return found, own["free"] * gradient

    return of_what_is_free


def pasting(
    finish: Callable[[Array], Array] | None, content: Array, mask: np.ndarray | None
) -> Callable[[Array], Array] | None:
    """Makes the picture of an image of the run: what is kept lies over what `finish` makes."""
    if mask is None:
        return finish
    free = jax.device_put(1 - mask[..., None])
    pixels = jax.device_put(mask[..., None] * np.asarray(jax.device_get(content)))
    return lambda image: _paste(finish(image) if finish else image, pixels, free)


@jax.jit
def _paste(image: Array, pixels: Array, free: Array) -> Array:
    return jnp.clip(pixels + free * image, 0, 1)
