"""What a descent hands out between two pieces of its work."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from nst_jax.descent.result import Progress, TransferResult
from nst_jax.descent.snapshot import Arrays, Snapshot, to_arrays


class Chunk:
    """Where a descent stands: what to show, what to save, and what to end with.

    Valid until the next chunk is asked for, which moves its arrays on.

    Args:
        snapshot: What it takes to go on.
        progress: Makes what is to be shown.
        result: Makes what the descent has found if it ends here.
        pick: Takes from both the lanes that the caller knows of.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        progress: Callable[[], Progress],
        result: Callable[[], TransferResult],
        pick: Callable[[Any], Any] = lambda tree: tree,
    ) -> None:
        self._snapshot, self._progress, self._result, self._pick = snapshot, progress, result, pick

    @cached_property
    def progress(self) -> Progress:
        """Steps, loss and image so far."""
        return self._pick(self._progress())

    def snapshot(self) -> Arrays:
        """Arrays by name from which `start=` of the same descent goes on, bit for bit as it would have gone."""
        return to_arrays(self._snapshot)

    def result(self) -> TransferResult:
        """What the descent has found if it ends here, marked as cut off where it was to go on.

        At a size smaller than the content's, the image is enlarged and evaluated once, so that the loss is its own.
        """
        return self._pick(self._result())

    def picking(self, pick: Callable[[Any], Any]) -> "Chunk":
        """The same as seen by somebody who knows of fewer lanes."""
        return Chunk(self._snapshot, self._progress, self._result, pick)
