"""A group of a study: lanes that share one compiled program, run in batches that the memory holds.

What differs between the lanes of a group is traced: weights, learning rates, seeds, images.
"""

import logging
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.descent.areas import NO_AREAS, Areas
from nst_jax.descent.arguments import as_arrays, precision_here
from nst_jax.descent.colours import Recoloured, recolour
from nst_jax.descent.fit import fitting_config
from nst_jax.descent.keep import pasting
from nst_jax.descent.lanes import Lanes
from nst_jax.descent.piece import Optimizer
from nst_jax.descent.placement import Placement
from nst_jax.descent.pyramid import Pyramid
from nst_jax.descent.result import TransferResult
from nst_jax.descent.scaled_targets import ScaledTargets, distinct_losses
from nst_jax.descent.snapshot import Arrays
from nst_jax.descent.start import initial_image, make_key
from nst_jax.host.memory import FreeBytes, free_bytes, lanes_that_fit
from nst_jax.network.vgg import Params
from nst_jax.objective.regions import with_regions, with_weights_of
from nst_jax.objective.styles import as_images, first_image, styles_in
from nst_jax.objective.terms import Loss
from nst_jax.optim.optimizers import traced_hyperparams
from nst_jax.study.grid import Grid, loss_of
from nst_jax.study.lane import Lane
from nst_jax.study.result import FinishedLane, Images, RunningLanes

_LOG = logging.getLogger(__name__)

Saved = Callable[[Sequence[int], int], Arrays | None]
"""Maps the lanes of a batch, as places in the grid, and the number that it runs with padding, to a
snapshot of it, or None."""


class Group:
    """Lanes of a grid that run by one compiled program.

    Args:
        params: The network's parameters.
        contents: Content images by name, of one size; more than the lanes have does no harm.
        styles: Style images by name, or lists of several that are blended; likewise.
        grid: The study's grid.
        config: What the lanes have in common beside images and numbers.
        indices: The lanes, as places in the grid.
        optimizer: As in `LaneProgram`.
        areas: Parts of the picture that all lanes have.
        in_turn: As in `Placement`.
        free_of: Tells a device's free memory.
    """

    def __init__(
        self,
        params: Params,
        contents: Images,
        styles: Images,
        grid: Grid,
        config: TransferConfig,
        indices: Sequence[int],
        optimizer: Optimizer | None,
        areas: Areas = NO_AREAS,
        in_turn: bool | None = None,
        free_of: FreeBytes = free_bytes,
    ) -> None:
        self._grid = grid
        self._free_of = free_of
        self._indices = list(indices)
        self._optimizer = optimizer
        lanes = [grid.lanes[index] for index in indices]
        self._seen: dict[Hashable, Recoloured] = {}
        for lane in lanes:
            if lane.images_seen not in self._seen:
                own = contents[lane.content], as_images(styles[lane.style_key])
                seen = recolour(*own, lane.config.colours)
                finish = pasting(seen.finish, own[0], areas.keep)
                self._seen[lane.images_seen] = seen._replace(finish=finish)
        regions = areas.regions
        plain = [loss_of(lane, grid) for lane in lanes]
        losses = [as_arrays(with_regions(one, regions)) if regions else one for one in plain]
        self._contents = {lane.content_seen: self._seen_by(lane).content for lane in lanes}
        self._styles = {
            lane.style_seen: styles_in(self._seen_by(lane).styles, lane.config, regions, loss)
            for lane, loss in zip(lanes, plain, strict=True)
        }
        self._devices = jax.local_devices()[: len(lanes)]
        self._plain = dict(zip(indices, plain, strict=True))
        self._losses = dict(zip(indices, losses, strict=True))
        of_content, of_style = (distinct_losses(losses, kind) for kind in ("content", "style"))
        self._content_targets = self._targets_chosen(
            list(self._contents), [lane.content_seen for lane in lanes], of_content
        )
        self._style_targets = self._targets_chosen(
            list(self._styles), [lane.style_seen for lane in lanes], of_style
        )
        # In tiles the result is the same, with fewer pairs it would depend on what else the machine
        # does.
        config, said = fitting_config(
            params,
            next(iter(self._contents.values())),
            max(
                (
                    image
                    for styles in self._styles.values()
                    for style in styles.values()
                    for image in style.images
                ),
                key=lambda image: image.size,
            ),
            losses[0],
            config,
            fewer_pairs=False,
            optimizer=optimizer,
            free_of=free_of,
        )
        if said:
            _LOG.info(said)
        config, said = precision_here(config)
        if said:
            _LOG.warning(said)
        self._placement = Placement(tuple(self._devices), in_turn=in_turn)
        images = list(self._contents.values()), list(self._styles.values())
        aims = of_content[0], of_style[0]
        targets = ScaledTargets(params, *images, config, *aims, areas)
        self._pyramid = Pyramid(targets, config, self._placement, optimizer)
        if config.balance:
            for index in self._indices:
                one, keeps_detail = self._lanes_of([index], 1), [self._keeps_detail(index)]
                batch = jax.tree.map(lambda number: np.asarray(number)[None], self._plain[index])
                found = self._pyramid.balance(one, keeps_detail, batch)
                self._plain[index] = jax.tree.map(lambda numbers: numbers[0], found)
                self._losses[index] = with_weights_of(self._losses[index], self._plain[index])

    def run(
        self, lanes_at_once: int | None, saved: Saved, seconds: float
    ) -> Iterator[RunningLanes | FinishedLane]:
        """The lanes under way, and each when it has ended; the arguments are those of `run_lanes`.

        Raises:
            ConfigError: Not even one lane fits the memory.
        """
        size = self._compile(lanes_at_once)
        for start in range(0, len(self._indices), size):
            yield from self._run_batch(self._indices[start : start + size], size, saved, seconds)

    def _run_batch(
        self, batch: list[int], size: int, saved: Saved, seconds: float
    ) -> Iterator[RunningLanes | FinishedLane]:
        started = time.perf_counter()
        keeps_detail = [*map(self._keeps_detail, batch), *[False] * (size - len(batch))]
        chunk = None
        for chunk in self._pyramid.descend(
            self._lanes_of(batch, size), keeps_detail, start=saved(batch, size), seconds=seconds
        ):
            chunk.picking(partial(_first_lanes, len(batch))).picking(partial(self._finish, batch))
            yield RunningLanes(batch, size, chunk)
        assert chunk is not None  # there is always a piece
        result = chunk.result()
        result = result._replace(image=jax.device_get(result.image))
        took = (time.perf_counter() - started) / len(batch)
        for place, index in enumerate(batch):
            steps = int(result.num_steps[place])
            own: TransferResult = jax.tree.map(lambda leaf, place=place: leaf[place], result)
            histories = {"losses": own.losses, "terms": own.terms, "sizes": own.sizes}
            cut = jax.tree.map(lambda rows, steps=steps: rows[:steps], histories)
            yield FinishedLane(index, own._replace(**cut), took, self._plain[index])

    def _compile(self, lanes_at_once: int | None) -> int:
        """Compiles the program, and returns for how many lanes at once, over all devices."""
        num_lanes, num_devices = len(self._indices), len(self._devices)
        # In turn, more lanes at once are no faster, need more memory for their states, and are
        # written later.
        wanted = -(-min(lanes_at_once or num_lanes, num_lanes) // num_devices)
        per_device = 1 if lanes_at_once is None else wanted
        free = self._free_of(self._devices[0])
        needed, fitting = self._measure(per_device, free)
        if not fitting and per_device > 1:  # alone, a lane holds its state once
            per_device = 1
            needed, fitting = self._measure(per_device, free)
        if free is not None and not fitting:
            raise ConfigError(
                f"one lane needs {needed / 1e9:.1f} GB, of which {free / 1e9:.1f} GB are free; "
                "take smaller images"
            )
        if fitting < per_device or (lanes_at_once is None and not self._placement.runs_in_turn):
            num_batches = -(-wanted // fitting)
            # Batches of like size: what the last lacks would cost as much.
            measured, per_device = per_device, -(-wanted // num_batches)
            if per_device != measured:
                needed = sum(self._bytes_for(per_device))
        size = per_device * num_devices
        _LOG.info(
            f"{num_lanes} lane{'s' * (num_lanes > 1)}, {size} at once "
            f"on {num_devices} {self._devices[0].platform} device{'s' * (num_devices > 1)}, "
            f"{needed / 1e9:.2f} GB on each"
        )
        return size

    def _measure(self, lanes_per_device: int, free: int | None) -> tuple[int, int]:
        """The bytes that so many lanes need, and how many fit by that; all of them if none tells.

        Compiles the program for so many.
        """
        shared, own = self._bytes_for(lanes_per_device)
        if free is None:
            return shared + own, lanes_per_device
        # Several in turn have their states twice, as what goes in and what comes out, and what an
        # evaluation takes once.
        each = (
            2 * self._pyramid.state_bytes
            if self._placement.runs_in_turn and lanes_per_device > 1
            else own // lanes_per_device
        )
        rest = shared + own - each * lanes_per_device
        return shared + own, lanes_that_fit(free, rest, each)

    def _bytes_for(self, lanes_per_device: int) -> tuple[int, int]:
        """Compiles the program for so many lanes, and returns the bytes that it needs.

        First those that the lanes share, then those that are their own.
        """
        size = lanes_per_device * len(self._devices)
        return self._pyramid.compile(self._lanes_of(self._indices[:size], size))

    def _lanes_of(self, batch: list[int], size: int) -> Lanes:
        """The lanes of a batch, filled up with lanes that do not run."""
        filled = batch + batch[:1] * (size - len(batch))
        lanes = [self._grid.lanes[index] for index in filled]
        images = [
            initial_image(
                self._contents[lane.content_seen],
                first_image(self._styles[lane.style_seen]),
                make_key(lane.seed) if lane.config.init == "noise" else None,
                lane.config.init,
            )
            for lane in lanes
        ]
        return Lanes(
            content=np.asarray([self._content_targets[index] for index in filled], np.int32),
            style=np.asarray([self._style_targets[index] for index in filled], np.int32),
            loss=jax.tree.map(
                lambda *leaves: np.asarray(leaves, np.float32),
                *(self._losses[index] for index in filled),
            ),
            hyperparams=jax.tree.map(
                lambda *numbers: np.asarray(numbers, np.float32),
                *(traced_hyperparams(lane.config, self._optimizer) for lane in lanes),
            ),
            images=jnp.stack(images),
            active=np.arange(size) < len(batch),
            is_grey=np.zeros(size, bool),  # the pyramid finds out
        )

    def _keeps_detail(self, index: int) -> bool:
        return self._grid.lanes[index].config.init != "noise"

    def _seen_by(self, lane: Lane) -> Recoloured:
        return self._seen[lane.images_seen]

    def _targets_chosen(
        self,
        names: list[Hashable],
        chosen: Sequence[Hashable],
        distinct: tuple[Sequence[Loss], np.ndarray],
    ) -> dict[int, int]:
        """For each lane, which of the targets of the images of those names it has."""
        losses, places = distinct
        return {
            index: names.index(name) * len(losses) + int(place)
            for index, name, place in zip(self._indices, chosen, places, strict=True)
        }

    def _finish(self, batch: list[int], seen: Any) -> Any:
        """What is seen of a batch of lanes, with the pictures in place of the images of the run."""
        lanes = [self._grid.lanes[index] for index in batch]
        finish = [self._seen_by(lane).finish for lane in lanes]
        if not any(finish):
            return seen
        images = [
            image if make is None else make(image)
            for make, image in zip(finish, seen.image, strict=True)
        ]
        return seen._replace(image=jnp.stack(images))


def _first_lanes(num_lanes: int, batch: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[:num_lanes] if np.ndim(leaf) else leaf, batch)
