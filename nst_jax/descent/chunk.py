"""What a descent hands out between two pieces of its work."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from nst_jax.descent.result import Progress, TransferResult
from nst_jax.descent.snapshot import Arrays, Snapshot, to_arrays


class Chunk:
    """Where a descent stands: what to show, what to save, and what to end with.

    Valid until the next chunk is asked for, which moves its arrays on; what its methods have
    returned by then stays, but for the snapshot's arrays and the progress's image, which are the
    descent's own.

    Args:
        snapshot: Makes what it takes to go on.
        progress: Makes what is to be shown.
        result: Makes what the descent has found if it ends here.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        progress: Callable[[], Progress],
        result: Callable[[], TransferResult],
    ) -> None:
        self._make: (
            tuple[Callable[[], Snapshot], Callable[[], Progress], Callable[[], TransferResult]]
            | None
        ) = snapshot, progress, result
        self._pick: Callable[[Any], Any] = lambda tree: tree

    @property
    def progress(self) -> Progress:
        """Steps, loss and image so far."""
        return self._pick(self._made[1]())

    def snapshot(self) -> Arrays:
        """Arrays by name from which `start=` of the same descent goes on, bit for bit."""
        return to_arrays(self._made[0]())

    def result(self) -> TransferResult:
        """What the descent has found if it ends here, marked as cut off where it was to go on.

        At a size smaller than the content's, the image is enlarged and evaluated once, so that the
        loss is its own.
        """
        found = self._pick(self._made[2]())
        return found._replace(image=jnp.array(found.image))  # a copy, which stays

    def picking(self, pick: Callable[[Any], Any]) -> "Chunk":
        """The chunk, from now on as seen by somebody who knows of fewer lanes."""
        before = self._pick
        self._pick = lambda tree: pick(before(tree))
        return self

    def expire(self) -> None:
        """Lets go of all arrays, whoever still holds the chunk."""
        self._make = None

    @property
    def _made(
        self,
    ) -> tuple[Callable[[], Snapshot], Callable[[], Progress], Callable[[], TransferResult]]:
        if self._make is None:
            raise RuntimeError(
                "the descent has gone on to another size, and this chunk is no longer "
                "valid; use each before the next"
            )
        return self._make
