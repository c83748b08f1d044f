"""What the descent aims at: the terms' measures of both images, computed once."""

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from nst_jax.checks import ConfigError
from nst_jax.config import Border, TransferConfig
from nst_jax.network.vgg import Params, direct_params
from nst_jax.objective.default import as_loss
from nst_jax.objective.measures import Measures, measure_image, measures_of, what_is_seen
from nst_jax.objective.octaves import can_be_halved, halved, halved_if_large, num_octaves
from nst_jax.objective.styles import Styles, as_images, mixed_styles
from nst_jax.objective.target import Target, Targets, nested, without_scale
from nst_jax.objective.terms import TINY, Loss, Source, Term
from nst_jax.objective.tiles import IMAGE
from nst_jax.objective.views import layers_shapes
from nst_jax.pixels import check_image

StyleImage = Float[Array | np.ndarray, "_style_height _style_width 3"]


def make_targets(
    params: Params,
    content: Float[Array | np.ndarray, "height width 3"],
    style: StyleImage | Sequence[StyleImage],
    config: TransferConfig,
    loss: Loss | Term | None = None,
) -> Targets:
    """Computes once what does not change during the descent.

    Args:
        params: The network's parameters.
        content: Content image, sRGB in [0, 1]; the generated image has its shape.
        style: Style image, of any size the network takes; or several, which `config.style_mix`
            mixes; `config.style_turns` turns them.
        config: Names the pooling, the border, the precision, the size of the tiles, and the layers
            and the scaling of the default loss.
        loss: Terms to aim with; those of the default loss if left out.

    Returns:
        A `Target` for each term. `nst_jax.objective.statistics` has the coefficients of
        `config.scaling`.

    Raises:
        ConfigError: A layer is unknown, an image too small, or no floating-point sRGB in [0, 1].

    Example:
        >>> targets = make_targets(params, content, style, TransferConfig())
        >>> targets["style"].wanted["conv1_1"].shape
        (64, 64)
    """
    check_image("content", content)
    images = as_images(style)
    for image in images:
        check_image("style", image)
    loss, shape = as_loss(loss, config), np.shape(content)
    params = direct_params(params)
    styles = mixed_styles(images, config, loss)
    count = num_octaves(config.octaves, config.border, shape)
    return nested([_octave(params, content, styles, config, loss, times) for times in range(count)])


def _octave(
    params: Params,
    content: Array | np.ndarray,
    styles: Styles,
    config: TransferConfig,
    loss: Loss,
    times: int,
) -> Targets:
    """Those of images that are halved so often."""
    content = halved(content, times)
    shape = content.shape
    found = targets_of(params, content, "content", loss, config, shape)
    for (_, mix), blend in styles.items():
        own = Loss({name: term for name, term in loss.items() if term.style_mix == mix}).of("style")
        if not own:
            continue
        images = [halved_if_large(image, times) for image in blend.images]
        if len(images) == 1:
            aims = targets_of(params, images[0], "style", own, config, shape)
        else:
            measures = [measures_of(params, image, own, config) for image in images]
            aims = blended_targets(params, measures, blend.shares, own, shape, config.border)
        is_large_enough = all(can_be_halved(image.shape, times) for image in blend.images)
        found |= aims if is_large_enough else without_scale(aims)
    return found


def targets_of_one(
    params: Params,
    content: Array | np.ndarray,
    style: Array | np.ndarray,
    config: TransferConfig,
    loss: Loss,
) -> Targets:
    """`make_targets` where one style image stands for all, whose mixtures have its targets."""
    count = num_octaves(config.octaves, config.border, content.shape)
    each = []
    for times in range(count):
        small, of_style = halved(content, times), halved_if_large(style, times)
        each.append(
            {
                **targets_of(params, small, "content", loss, config, small.shape),
                **targets_of(params, of_style, "style", loss, config, small.shape),
            }
        )
    return nested(each)


def targets_of(
    params: Params,
    image: Array | np.ndarray,
    source: Source,
    loss: Loss,
    config: TransferConfig,
    shape: tuple[int, ...],
) -> dict[str, Target]:
    """The targets of the terms whose source an image is.

    Args:
        params: As in `make_targets`, and so `config`.
        image: The content or the style image.
        source: Which of the two it is.
        loss: The terms, of which those of other sources are left out.
        shape: Of the generated image.
    """
    seen = what_is_seen(config, source)
    return _targets_of(params, image, source, loss, seen, shape, config.border)


def blended_targets(
    params: Params,
    measures: Sequence[Measures],
    shares: Sequence[float],
    loss: Loss,
    shape: tuple[int, ...],
    border: Border,
) -> dict[str, Target]:
    """The targets of a style that several images make, from the measures of each.

    Args:
        params: As in `targets_of`, and so `loss` and `shape`.
        measures: From `measures_of`.
        shares: As in `Style`.
        border: What lies beyond the generated image.

    Raises:
        ConfigError: A term aims at positions of the style, of which several images have others.

    References:
        Σ bᵢ ‖G − Aᵢ‖² = ‖G − Ā‖² + Σ bᵢ ‖Aᵢ − Ā‖², Ā = Σ bᵢ Aᵢ: the same gradient as one term.
    """
    loss = loss.of("style")
    for name, fields in measures[0].fields.items():
        if fields:
            raise ConfigError(
                f"the term {name} aims at positions of the style image, but there are several, "
                "turned copies, or a mask on it; give one style as it is, or another term"
            )
    weights = jax.device_put(np.asarray(shares, np.float32))
    return _blended_targets(params, tuple(measures), weights, loss, shape, border)


@partial(jax.jit, static_argnames=("shape", "border"))
def _blended_targets(
    params: Params,
    measures: tuple[Measures, ...],
    shares: Array,
    loss: Loss,
    shape: tuple[int, ...],
    border: Border,
) -> dict[str, Target]:
    found = {
        name: term.blend([own.found[name] for own in measures], list(shares))
        for name, term in loss.items()
    }
    shapes = layers_shapes(params, shape, (*loss.layers, IMAGE), border)
    return _aimed(loss, measures[0]._replace(found=found), shapes)


@partial(jax.jit, static_argnames=("source", "config", "shape", "border"))
def _targets_of(
    params: Params,
    image: Array | np.ndarray,
    source: Source,
    loss: Loss,
    config: TransferConfig,
    shape: tuple[int, ...],
    border: Border,
) -> dict[str, Target]:
    loss = loss.of(source)
    if not loss:
        return {}
    measures = measure_image(params, jnp.asarray(image), loss, config)
    return _aimed(loss, measures, layers_shapes(params, shape, (*loss.layers, IMAGE), border))


def _aimed(
    loss: Loss, measures: Measures, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Target]:
    """The targets of terms, from what they measure of their source image."""
    found = {}
    for name, term in loss.items():
        fields, measured, nothing = (by_term[name] for by_term in measures)
        for layer in fields:
            if layer not in term.layers:
                raise ConfigError(
                    f"the term {name} has fields of {layer}, which is not among its "
                    f"layers {', '.join(term.layers)}"
                )
        wanted = term.aim(measured)
        if not isinstance(term.distance(measured, wanted), Mapping):
            raise ConfigError(
                f"the method distance of the term {name} gives no dict; give scalars by "
                "part, such as {'all': …}"
            )
        found[name] = Target(fields, wanted, term.scale(nothing, wanted, shapes))
    return found


def check_scales(loss: Loss, targets: Targets) -> None:
    """Makes sure that a black image is at some distance, where `Term.scale` divides by it.

    Raises:
        ConfigError: One is not, so that nothing can be said of how much it should count.
    """
    for name, target in targets.items():
        if type(loss[name]).scale is not Term.scale:
            continue
        for part, value in target.scale.items():
            if not float(value) < 1 / (10 * TINY):
                raise ConfigError(
                    f"the term {name} finds a black image at no distance from what is wanted "
                    f"({part}), so its scale cannot be told; "
                    "give its class a method scale(nothing, wanted, shapes)"
                )


def check_targets(shapes: Mapping[str, tuple[int, ...]], loss: Loss, targets: Targets) -> None:
    """Makes sure that targets are those of a loss, and of an image of that size.

    Args:
        shapes: Of the generated image's layers.
        loss: The loss.
        targets: From `make_targets`.

    Raises:
        ConfigError: They are not.
    """
    if set(loss) != set(targets):
        raise ConfigError(
            f"the loss has the terms {', '.join(loss)}, the targets {', '.join(targets)}; "
            "make the targets of this loss"
        )
    counts = {name: 1 + len(target.octaves) for name, target in targets.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ConfigError(f"the targets have unlike octaves, {found}; make all by one config")
    for name in loss:
        for layer, field in targets[name].fields.items():
            if field.shape[:2] != shapes[layer][:2]:
                raise ConfigError(
                    f"the image's features at {layer} have shape {shapes[layer]}, "
                    f"the {loss[name].source} image's {field.shape}; "
                    "both images must have the same height and width"
                )
