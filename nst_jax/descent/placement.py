"""Where arrays lie when several devices share the work: the lanes dealt out over them, or the rows of every image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

_LANES = PartitionSpec("lanes")


@dataclass(frozen=True)
class Placement:
    """Devices and what each has of the arrays. Hashable, and so a static argument of what is compiled.

    Args:
        devices: They share the work; with none, all is on the default device.
        by_rows: Whether they share the rows of every image instead of the lanes.
    """

    devices: tuple[jax.Device, ...] = ()
    by_rows: bool = False

    def for_rows(self, num_rows: int) -> "Placement":
        """The same with as many of the devices as that number of rows goes round."""
        if not self.shares_rows:
            return self
        most = max(count for count in range(1, len(self.devices) + 1) if num_rows % count == 0)
        return replace(self, devices=self.devices[:most])

    def put_everywhere(self, tree: Any) -> Any:
        """Arrays of which every device needs all."""
        return self._put(tree, lambda shape: PartitionSpec())

    def deal(self, tree: Any) -> Any:
        """Arrays with a leading axis of lanes, each lane on its device, or its rows on theirs."""
        return self._put(tree, lambda shape: _behind_lanes(self._rows(shape[1:])) if self.by_rows else _LANES)

    def deal_targets(self, targets: Any) -> Any:
        """Targets, with a leading axis to choose from: activations by rows where images are."""
        return self.deal(targets) if self.by_rows else self.put_everywhere(targets)

    def deal_image(self, image: Any) -> Any:
        """A content or style image where its targets are to be computed: its rows on their devices, if they go round."""
        return self._put(image, self._rows)

    def keep_dealt(self, state: Any) -> Any:
        """Tells the compiler to leave the arrays of a lane where they are."""
        if not self.shares_rows:
            return state
        return jax.tree.map(lambda leaf: lax.with_sharding_constraint(leaf, self._sharding(self._rows(leaf.shape))), state)

    def run_on_each(self, run: Callable[..., Any], takes: Sequence[bool], gives: Sequence[bool]) -> Callable[..., Any]:
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
        return jax.shard_map(run, mesh=self._mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)

    @property
    def shares_rows(self) -> bool:
        """Whether there is more than one device to an image."""
        return self.by_rows and len(self.devices) > 1

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), ("rows" if self.by_rows else "lanes",))

    def _rows(self, shape: Sequence[int]) -> PartitionSpec:
        """Which axis is dealt out by rows: the first of images and activations, the last of images as vectors (L-BFGS's)."""
        num_devices = len(self.devices)
        if not self.shares_rows:
            return PartitionSpec()
        if len(shape) == 3 and shape[0] % num_devices == 0:
            return PartitionSpec("rows")
        is_vector = len(shape) in (1, 2) and shape[-1] % (3 * num_devices) == 0
        return PartitionSpec(*[None] * (len(shape) - 1), "rows") if is_vector else PartitionSpec()

    def _sharding(self, spec: PartitionSpec) -> Sharding:
        return SingleDeviceSharding(self.devices[0]) if len(self.devices) == 1 else NamedSharding(self._mesh, spec)

    def _put(self, tree: Any, spec_of: Callable[[Sequence[int]], PartitionSpec]) -> Any:
        """The arrays where they belong, or shapes that say so."""

        def put(leaf: Any) -> Any:
            where = self._sharding(spec_of(np.shape(leaf))) if self.devices else None
            return leaf.update(sharding=where) if isinstance(leaf, jax.ShapeDtypeStruct) else jax.device_put(leaf, where)

        return jax.tree.map(put, tree)


def _behind_lanes(spec: PartitionSpec) -> PartitionSpec:
    return PartitionSpec(None, *spec) if len(spec) else spec


DEFAULT_DEVICE = Placement()
