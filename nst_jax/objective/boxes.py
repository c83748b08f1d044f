"""The part of a layer that holds a region: a term sees no more of it.

So what a region costs goes by its size, and a partition of the image costs little more than one
style everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from nst_jax.objective.tiles import stride
from nst_jax.objective.views import View


@jax.tree_util.register_static
@dataclass(frozen=True)
class Box:
    """Some rows and columns of a layer, which are known when a program is compiled."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, whole: Any) -> Any:
        """The positions of a layer that lie in the box."""
        return whole[self.top : self.bottom, self.left : self.right]


def boxes_of(shares: Mapping[str, Any]) -> dict[str, Box]:
    """The part of each layer that holds a region, where it is not all of the layer.

    Its edges lie on multiples of 16 pixels, so that a mask that is mended a little compiles nothing
    anew.

    Args:
        shares: From `shares_of`.
    """
    found = {}
    for layer, own in shares.items():
        counts = np.asarray(jax.device_get(own))[..., 0] > 0
        if not counts.any():  # at a small size, a region may vanish
            continue
        edges: list[int] = []
        for axis, length in enumerate(counts.shape):
            places, step = np.flatnonzero(counts.any(1 - axis)), max(16 // stride(layer), 1)
            first, end = int(places[0]) // step * step, -(-int(places[-1] + 1) // step) * step
            edges += [first, min(end, length)]
        box = Box(*edges)
        if box.of(counts).size < counts.size:
            found[layer] = box
    return found


def in_boxes(view: View, boxes: Mapping[str, Box]) -> View:
    """The view of the whole image without the positions outside of boxes, given for some layers.

    Nothing is lost where others have no share, except to a term that reads neighbours (`reach`).
    """
    part = lambda by_layer: (
        by_layer | {layer: box.of(by_layer[layer]) for layer, box in boxes.items()}
    )
    corners = {layer: np.array([box.top, box.left], np.int32) for layer, box in boxes.items()}
    return view._replace(
        features=part(view.features), shares=part(view.shares), start=view.start | corners
    )
