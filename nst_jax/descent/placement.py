"""Where arrays lie when several devices share the work.

Either the lanes are dealt out over them, or the rows of every image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

_LANES = PartitionSpec("lanes")


@dataclass(frozen=True)
class Placement:
    """Devices, and what each has of the arrays.

    It is hashable, and so a static argument of compiled programs.

    Args:
        devices: They share the work; with none, all is on the default device.
        by_rows: Whether they share the rows of every image instead of the lanes.
        in_turn: Whether the lanes of one device run one after another instead of under `vmap`; None
            does what suits the backend.
    """

    devices: tuple[jax.Device, ...] = ()
    by_rows: bool = False
    in_turn: bool | None = None

    @property
    def runs_in_turn(self) -> bool:
        """Whether the lanes of one device run one after another.

        One lane keeps a CPU's cores busy. In turn, the activations of one at a time are in memory,
        a lane that has ended costs nothing, and each is rounded as a run of its own would be:
        L-BFGS multiplies a difference in the last digit by ten a step.
        """
        return jax.default_backend() == "cpu" if self.in_turn is None else self.in_turn

    def for_rows(self, num_rows: int) -> "Placement":
        """The same with as many of the devices as that number of rows goes round."""
        if not self.shares_rows:
            return self
        most = max(count for count in range(1, len(self.devices) + 1) if num_rows % count == 0)
        return replace(self, devices=self.devices[:most])

    def put_everywhere(self, tree: Any) -> Any:
        """Arrays of which every device needs all."""
        return self._put(
            tree, lambda shape, axis: PartitionSpec(), jax.tree.map(lambda leaf: -1, tree)
        )

    def deal(self, tree: Any, height_axes: Any = None) -> Any:
        """Arrays with a leading axis of lanes, each lane on its device, or its rows on theirs.

        Args:
            tree: The arrays, or shapes in their place.
            height_axes: For each which of a lane's own axes is the image's height, −1 for none;
                left out, none has such an axis.
        """
        axes = jax.tree.map(lambda leaf: -1, tree) if height_axes is None else height_axes
        return self._put(
            tree,
            lambda shape, axis: (
                _behind_lanes(self._rows(shape[1:], axis)) if self.by_rows else _LANES
            ),
            axes,
        )

    def deal_targets(self, targets: Any) -> Any:
        """Targets, with a leading axis to choose from, where they are needed.

        Those by position are dealt out by rows where images are.
        """
        if not self.by_rows:
            return self.put_everywhere(targets)

        by_rows = lambda fields: self.deal(fields, jax.tree.map(lambda field: 0, fields))

        def dealt(target: Any) -> Any:
            return target._replace(
                fields=by_rows(target.fields),
                wanted=self.put_everywhere(target.wanted),
                scale=self.put_everywhere(target.scale),
                shares=by_rows(target.shares),
                octaves=self.put_everywhere(target.octaves),  # their rows may not go round
            )

        return {name: dealt(target) for name, target in targets.items()}

    def deal_image(self, image: Any) -> Any:
        """A content or style image where its targets are computed.

        Its rows lie on their devices, if they go round.
        """
        return self._put(image, self._rows, 0)

    def keep_dealt(self, state: Any, height_axes: Any) -> Any:
        """Tells the compiler to leave the arrays of a lane where they are.

        `height_axes` is as in `deal`.
        """
        if not self.shares_rows:
            return state
        keep = lambda leaf, axis: lax.with_sharding_constraint(
            leaf, self._sharding(self._rows(leaf.shape, axis))
        )
        return jax.tree.map(keep, state, height_axes)

    def run_on_each(
        self, run: Callable[..., Any], takes: Sequence[bool], gives: Sequence[bool]
    ) -> Callable[..., Any]:
        """`run` on every device with its own lanes.

        Args:
            run: The function.
            takes: Which of its arguments have a leading axis of lanes; the rest is everywhere.
            gives: Which of its results have; the rest have lanes as their second axis.
        """
        if len(self.devices) < 2 or self.by_rows:
            return run
        in_specs = tuple(_LANES if by_lane else PartitionSpec() for by_lane in takes)
        out_specs = tuple(_LANES if by_lane else PartitionSpec(None, "lanes") for by_lane in gives)
        return jax.shard_map(
            run, mesh=self._mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )

    @property
    def shares_rows(self) -> bool:
        """Whether there is more than one device to an image."""
        return self.by_rows and len(self.devices) > 1

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), ("rows" if self.by_rows else "lanes",))

    def _rows(self, shape: Sequence[int], axis: int) -> PartitionSpec:
        """That axis dealt out, if it goes round."""
        goes_round = self.shares_rows and axis >= 0 and shape[axis] % len(self.devices) == 0
        return PartitionSpec(*[None] * axis, "rows") if goes_round else PartitionSpec()

    def _sharding(self, spec: PartitionSpec) -> Sharding:
        return (
            SingleDeviceSharding(self.devices[0])
            if len(self.devices) == 1
            else NamedSharding(self._mesh, spec)
        )

    def _put(
        self, tree: Any, spec_of: Callable[[Sequence[int], int], PartitionSpec], axes: Any
    ) -> Any:
        """The arrays where they belong, or shapes that say so.

        `spec_of` takes a shape and the axis of its height.
        """

        def put(leaf: Any, axis: int) -> Any:
            where = self._sharding(spec_of(np.shape(leaf), axis)) if self.devices else None
            return (
                leaf.update(sharding=where)
                if isinstance(leaf, jax.ShapeDtypeStruct)
                else jax.device_put(leaf, where)
            )

        return jax.tree.map(put, tree, axes)


def height_axes(make: Callable[[Any], Any], shape: Sequence[int]) -> Any:
    """For each array made of an image, the axis that is the image's height; −1 where none is.

    Args:
        make: Makes a tree of arrays of an image; it is not run, only asked for shapes.
        shape: Of the image.
    """
    of_height = lambda height: jax.eval_shape(
        make, jax.ShapeDtypeStruct((height, *shape[1:]), jnp.float32)
    )

    def axis(once: Any, twice: Any) -> int:
        if once.ndim != twice.ndim:  # optimisers that factor large arrays
            return -1
        grown = [
            place
            for place, (side, other) in enumerate(zip(once.shape, twice.shape, strict=True))
            if side != other
        ]
        return grown[0] if len(grown) == 1 else -1

    return jax.tree.map(axis, of_height(shape[0]), of_height(2 * shape[0]))


def _behind_lanes(spec: PartitionSpec) -> PartitionSpec:
    return PartitionSpec(None, *spec) if len(spec) else spec


DEFAULT_DEVICE = Placement()
