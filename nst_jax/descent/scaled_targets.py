"""The targets of many lanes at each size of the pyramid: one for each image and way to aim."""

import dataclasses
import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.config import TransferConfig
from nst_jax.descent.areas import NO_AREAS, Areas
from nst_jax.descent.keep import kept_target
from nst_jax.descent.resizing import NOWHERE, Wraps, resize
from nst_jax.descent.schedule import LEAST_SIDE
from nst_jax.network.borders import wraps
from nst_jax.network.vgg import Params, direct_params, prepare_params
from nst_jax.objective.boxes import boxes_of
from nst_jax.objective.loss import LossParts
from nst_jax.objective.measures import Measures, measures_of
from nst_jax.objective.octaves import can_be_halved, halved, halved_if_large, num_octaves
from nst_jax.objective.regions import has_positions, shared_masks, shares_of
from nst_jax.objective.styles import Style, Styles, aiming_at
from nst_jax.objective.target import Targets, nested, without_scale
from nst_jax.objective.targets import blended_targets, check_scales, targets_of, targets_of_one
from nst_jax.objective.terms import Loss, Source, Term
from nst_jax.objective.views import layers_shapes
from nst_jax.pixels import is_grey

_LOG = logging.getLogger(__name__)


class ScaledTargets:
    """The targets of images and losses that lanes choose from, at any size.

    Lanes choose among the targets of the first content image for each of `of_content`, then of the
    second content image, and so on; and likewise among those of style images.

    Args:
        params: The network's parameters, from `load_params`.
        contents: Content images, all (height, width, 3).
        styles: By region and mixture; their images, of any sizes, shrink as the content images do.
        config: As in `make_targets`.
        of_content: From `distinct_losses` of all lanes' losses, which have the same terms, those
            that aim apart at a content image.
        of_style: Likewise of style images.
        areas: Parts of the content images, from `checked_areas`.
        shares_rows: Whether devices share the rows of an image.

    Raises:
        ConfigError: As `features_shapes`.
    """

    def __init__(
        self,
        params: Params,
        contents: Sequence[Array],
        styles: Sequence[Styles],
        config: TransferConfig,
        of_content: Sequence[Loss],
        of_style: Sequence[Loss],
        areas: Areas = NO_AREAS,
        shares_rows: bool = False,
    ) -> None:
        # Put on the device by name: what is moved on purpose is no accident to whoever guards
        # against transfers.
        self._params = jax.device_put(direct_params(params))
        self._contents = contents
        self._styles = styles
        self._masks = shared_masks(areas.regions)
        self._keep = areas.keep
        self._of_content = of_content
        self._of_style = of_style
        self._config = config
        self._shares_rows = shares_rows
        self._loss = of_content[0]
        # The smaller sizes wrap; whether this one does, is to be said before they are painted.
        layers_shapes(params, self.shape, self._loss.layers, config.border)
        self._found: dict[tuple[int, int], Targets] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the content images."""
        return self._contents[0].shape[0], self._contents[0].shape[1]

    def are_grey(self, content: int, style: int) -> bool:
        """Whether targets that a lane chooses are made of grey images alone."""
        styles = self._styles[style // len(self._of_style)].values()
        images = [image for one in styles for image in one.images]
        return all(map(is_grey, [self._contents[content // len(self._of_content)], *images]))

    @cached_property
    def prepared(self) -> Params:
        """The parameters as the descent takes them."""
        # Winograd's algorithm takes rows in strips of its own, which the compiler does not deal out
        if self._shares_rows:
            return self._params
        return prepare_params(self._params, self._loss.layers, self._config.precision)

    @cached_property
    def parts(self) -> LossParts:
        """Zero for each part of each term."""
        image = jax.ShapeDtypeStruct(np.shape(self._contents[0]), jnp.float32)
        config = self._config.replace(octaves=1)
        find = lambda params, image: targets_of_one(params, image, image, config, self._loss)
        targets = jax.eval_shape(find, self._params, image)
        return {  # type: ignore[return-value], zeros for arrays
            name: dict.fromkeys(target.scale, 0) for name, target in targets.items()
        }

    def at(self, shape: tuple[int, int], deal: Callable[[Array], Array]) -> Targets:
        """The targets at a size, with a leading axis to choose from.

        Args:
            shape: Height and width of the content images there.
            deal: Puts an image on the devices that share it.

        Raises:
            ConfigError: A term is at no distance from a black image.
        """
        if shape not in self._found:
            count = num_octaves(self._config.octaves, self._config.border, shape)
            if shape == self.shape and count < self._config.octaves:
                _LOG.info(
                    "octaves: %d of %d, for the next has a side of fewer than 32 pixels, or that "
                    "does not wrap",
                    count,
                    self._config.octaves,
                )
            first, *others = (self._octave(shape, times, deal) for times in range(count))
            aims = {name: target for name, target in first.items() if name in self._loss}
            self._found[shape] = {**first, **nested([aims, *others])}
        return self._found[shape]

    def _octave(
        self, shape: tuple[int, int], times: int, deal: Callable[[Array], Array]
    ) -> Targets:
        """The targets of what is left of a size after so many halvings."""
        # By the equation, which compiles sooner by more than it is slower; but where factors are
        # rounded, the targets should be those that the descent sees.
        params = self._params if self._config.precision == "highest" else self.prepared
        see = lambda image: halved_if_large(deal(self._shrink(image, shape, NOWHERE)), times)
        own_wraps = wraps(self._config.border)
        see_content = lambda image: halved(deal(self._shrink(image, shape, own_wraps)), times)
        own_shape = (*(side // 2**times for side in shape), 3)
        find = partial(targets_of, config=self._config, shape=own_shape)
        by_content = [
            find(params, image, "content", loss)
            for image in map(see_content, self._contents)
            for loss in self._of_content
        ]
        by_style = list(self._targets_of_styles(params, see, shape, times))
        for targets in (*by_content, *by_style):
            check_scales(self._loss, targets)
        if self._keep is not None and not times:
            mask = jax.device_put(self._keep)
            kept = [kept_target(see_content(image), mask) for image in self._contents]
            each = [own for own in kept for _ in self._of_content]
            by_content = [aims | own for aims, own in zip(by_content, each, strict=True)]
        stack = partial(stack_targets, self._loss)
        return {**stack(by_content), **stack(by_style)}

    def _targets_of_styles(
        self, params: Params, see: Callable[[Array], Array], size: tuple[int, int], times: int
    ) -> Iterator[Targets]:
        """The targets of each style for each loss; an image of several styles is measured once."""
        measured: dict[Hashable, Measures] = {}
        shape = (*(side // 2**times for side in size), 3)

        def measures(image: Array, mask: Any, place: int, loss: Loss) -> Measures:
            key = id(image), id(mask), place, tuple(loss)
            if key not in measured:
                measured[key] = measures_of(params, see(image), loss, self._config, mask)
            return measured[key]

        for styles in self._styles:
            for place, loss in enumerate(self._of_style):
                found: Targets = {}
                for (region, mix), style in styles.items():
                    own = aiming_at(loss, region, mix)
                    if not own:
                        continue
                    if style.masks == (None,):
                        image = see(style.images[0])
                        aims = targets_of(params, image, "style", own, self._config, shape)
                    else:
                        each = [
                            measures(image, mask, place, own)
                            for image, mask in zip(style.images, style.masks, strict=True)
                        ]
                        aims = blended_targets(
                            params, each, style.shares, own, shape, self._config.border
                        )
                    if times and not self._is_large_enough(region, style, own, size, times):
                        aims = without_scale(aims)
                    found |= self._in_region(region, aims, own, shape)
                yield found

    def _is_large_enough(
        self, region: str | None, style: Style, loss: Loss, size: tuple[int, int], times: int
    ) -> bool:
        """Whether a style, and its region of the picture, are large enough in an octave."""
        sides = [self._shape_at(image, size) for image in style.images]
        parts = [(own, mask) for own, mask in zip(sides, style.masks, strict=True)]
        if region is not None:
            parts.append((size, self._masks[region]))
        return all(
            can_be_halved(own, times)
            and all(has_positions(mask, layer, own[0] * own[1] / 4**times) for layer in loss.layers)
            for own, mask in parts
        )

    def _in_region(
        self, region: str | None, targets: Targets, loss: Loss, shape: tuple[int, ...]
    ) -> Targets:
        """The targets with what the picture's positions stand for in a region."""
        if region is None or np.all(self._masks[region] == 1):
            return targets
        mask = jax.device_put(self._masks[region])
        shares = shares_of(mask, loss.layers, shape, self._config.border)
        # cut out of what several devices share, a box would go from one to another
        boxes = {} if self._shares_rows or self._config.tile else boxes_of(shares)
        found = {}
        for name, target in targets.items():
            shares_of_term, boxes_of_term = (
                {layer: by_layer[layer] for layer in loss[name].layers if layer in by_layer}
                for by_layer in (shares, {} if loss[name].reach or target.fields else boxes)
            )
            found[name] = target._replace(shares=shares_of_term, boxes=boxes_of_term)
        return found

    def _shrink(self, image: Array, shape: tuple[int, int], wraps: Wraps) -> Array:
        """An image at the size that it has where the content images have `shape`."""
        own = self._shape_at(image, shape)
        return image if own == image.shape[:2] else resize(image, own, wraps)

    def _shape_at(self, image: Array, shape: tuple[int, int]) -> tuple[int, ...]:
        """Height and width of an image where the content images have `shape`."""
        whole = self._contents[0].shape[:2]
        if shape == whole:
            return image.shape[:2]
        return tuple(
            max(round(side * small / large), LEAST_SIDE)
            for side, small, large in zip(image.shape[:2], shape, whole, strict=True)
        )


@jax.jit
def stack_targets(loss: Loss, targets: Sequence[Targets]) -> Targets:
    """Targets of the same terms as one, with a leading axis to choose from."""
    wanted = {name: [own[name].wanted for own in targets] for name in targets[0]}
    rest = [{name: one._replace(wanted=None) for name, one in own.items()} for own in targets]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rest)
    return {
        # what is kept of the content belongs to no term
        name: target._replace(wanted=loss.get(name, Term()).stack(wanted[name]))
        for name, target in stacked.items()
    }


def distinct_losses(losses: Sequence[Loss], source: Source) -> tuple[list[Loss], np.ndarray]:
    """The losses that differ in more than weights where they aim at an image.

    Args:
        losses: With the same terms and static fields.
        source: The image.

    Returns:
        Those losses, and for each of the given ones its place among them.
    """
    found: dict[tuple[float, ...], int] = {}
    first, places = [], []
    for loss in losses:
        bare = Loss(
            {
                name: dataclasses.replace(term, weight=0.0, part_weights=None)
                for name, term in loss.of(source).items()
            }
        )
        key = tuple(float(number) for number in jax.tree.leaves(bare))
        if key not in found:
            found[key] = len(first)
            first.append(loss)
        places.append(found[key])
    return first, np.asarray(places, np.int32)
