"""How hard each part of a style pulls at the pixels, and weights that make all pull alike.

Styles differ in which layers their statistics are far off at, and so in which layers the descent
follows. With w_l ∝ 1 / ‖∂L_l/∂x‖₂, found once where it begins, all have the same say there; the
weights are then numbers like others, so that the loss is a function still.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.stages import Wrapped

from nst_jax.config import TransferConfig
from nst_jax.descent.keep import KEPT, keeping
from nst_jax.descent.lanes import Lanes
from nst_jax.descent.piece import chosen_targets
from nst_jax.descent.placement import Placement
from nst_jax.host.operation_order import in_least_memory
from nst_jax.network.vgg import Params
from nst_jax.objective.loss import loss_and_gradient
from nst_jax.objective.regions import copies_of, with_part_weights
from nst_jax.objective.target import Targets
from nst_jax.objective.terms import Loss, Term
from nst_jax.pixels import in_grey

_LOG = logging.getLogger(__name__)

_ROUNDING = 1e-9  # of the loss of a black image; less is what float32 makes of 0


class Pulls:
    """Measures the parts of style terms; lanes that differ in weights alone are measured once.

    Args:
        params: The network's parameters.
        targets: From `ScaledTargets`, at the size of the images.
        config: As in `LaneProgram`.
        placement: Likewise.
    """

    def __init__(
        self, params: Params, targets: Targets, config: TransferConfig, placement: Placement
    ) -> None:
        self._params = placement.put_everywhere(params)
        self._targets = placement.deal_targets(targets)
        self._config, self._placement = config.program(), placement
        self._found: dict[Hashable, Mapping[str, float]] = {}

    def balance(self, lanes: Lanes, loss: Loss) -> Loss:
        """The loss of lanes in which each part of a style term pulls alike; the sums stay.

        In regions, a part is what it comes to over all of them. A term keeps its weights where one
        of its parts is met already, so that nothing can be told of its gradient.

        Args:
            lanes: Their images are those that are measured.
            loss: Theirs, as it is without regions.
        """
        each = []
        for lane, image in enumerate(lanes.images):
            own, plain, chosen = jax.tree.map(
                lambda numbers, lane=lane: numbers[lane],
                (lanes.loss, loss, (lanes.content, lanes.style, lanes.is_grey)),
            )
            terms = {
                name: self._balanced(name, term, copies_of(name, own), chosen, image)
                for name, term in plain.of("style").items()
                if term.is_balanced
            }
            each.append(Loss({**plain, **terms}))
        return jax.tree.map(lambda *numbers: np.stack(numbers), *each)

    def _balanced(
        self, name: str, term: Term, copies: Loss, chosen: tuple[Any, ...], image: Array
    ) -> Term:
        if not copies:  # every region is too small for it
            return term
        parts = list(dict.fromkeys(part for own in copies for part in self._targets[own].scale))
        weights = term.part_weights or dict.fromkeys(parts, 1 / len(parts))
        # one alone has nothing to be balanced against
        if float(term.weight) and len(weights) > 1:
            weights = self._alike(name, term, weights, parts, copies, chosen, image)
        own = {part: np.float32(weight) for part, weight in weights.items()}
        return dataclasses.replace(term, part_weights=own)

    def _alike(
        self,
        name: str,
        term: Term,
        weights: Mapping[str, Any],
        parts: Sequence[str],
        copies: Loss,
        chosen: tuple[Any, ...],
        image: Array,
    ) -> Mapping[str, Any]:
        """The weights of a term's parts with which each pulls alike, of the same sum."""
        # Weights of regions are shares of the picture, and those of the whole make no difference.
        copies = Loss(
            {
                own: copy if copy.region else dataclasses.replace(copy, weight=np.float32(1))
                for own, copy in copies.items()
            }
        )
        numbers = (float(leaf) for leaf in jax.tree.leaves(_bare(copies)))
        pixels = hashlib.sha256(np.asarray(jax.device_get(image)).tobytes()).digest()
        key = name, pixels, *map(int, chosen), *numbers
        if key not in self._found:
            self._found[key] = {
                part: self._norm(_alone(copies, term, weights, part), chosen, image)
                for part in weights
                if part in parts  # a layer may have too few positions in every region
            }
        norms = self._found[key]
        lacking = [part for part, norm in norms.items() if not 0 < norm < np.inf]
        if lacking:
            is_met = norms[lacking[0]] == 0
            why = "is met at the start already" if is_met else "has no finite gradient at the start"
            _LOG.warning(
                f"the {name} term of {lacking[0]} {why}, so that its layers cannot be balanced; "
                "their weights stay"
            )
            return weights
        total = sum(map(float, weights.values())) / sum(1 / norm for norm in norms.values())
        return {part: total / norms[part] if part in norms else np.float32(0) for part in weights}

    def _norm(self, loss: Loss, chosen: tuple[Any, ...], image: Array) -> float:
        """‖∂loss/∂x‖₂ at an image, or 0 where the loss is next to nothing of a black one's."""
        put = self._placement.put_everywhere((loss, chosen))
        targets = {name: own for name, own in self._targets.items() if name in (*loss, KEPT)}
        (value, norm), (most, _) = (
            jax.device_get(
                _seeing_program()(
                    self._params, targets, *put, self._placement.deal_image(place), self._config
                )
            )
            for place in (image, jax.device_put(np.zeros(image.shape, np.float32)))
        )
        return 0.0 if value <= _ROUNDING * most else float(norm)


def _bare(copies: Loss) -> Loss:
    """The terms without what parts count, which is what is asked for."""
    return Loss({name: dataclasses.replace(own, part_weights=None) for name, own in copies.items()})


def _alone(copies: Loss, term: Term, parts: Collection[str], part: str) -> Loss:
    """The copies of a term where one of its parts counts alone."""
    weights = {other: np.float32(other == part) for other in parts}
    return with_part_weights(copies, dataclasses.replace(term, part_weights=weights))


@cache
def _seeing_program() -> Wrapped:
    return jax.jit(_seen_at, static_argnames="config", compiler_options=in_least_memory())


def _seen_at(
    params: Params,
    targets: Targets,
    loss: Loss,
    chosen: tuple[Array, Array, Array],
    image: Array,
    config: TransferConfig,
) -> tuple[Array, Array]:
    """The loss at an image, and the length of its gradient.

    `chosen` are the lane's content, its style, and whether it is grey.
    """
    content, style, is_grey = chosen
    own = chosen_targets(targets, loss, content, style)
    evaluate = lambda image: loss_and_gradient(params, image, own, loss, config)
    (value, _), gradient = keeping(evaluate, targets, content)(in_grey(image, is_grey))
    return value, jnp.linalg.norm(in_grey(gradient, is_grey).ravel())
