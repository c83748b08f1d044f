"""How long the rest of a run takes, by the last steps that were made."""

from collections import deque
from collections.abc import Mapping, Sequence

from nst_jax.descent.result import Progress
from nst_jax.descent.schedule import Scale

_PIECES = 8  # that are remembered: 16 seconds or so of a run


class TimeLeft:
    """Estimates the time left from the last steps at the present size.

    Σ n_s p_s r_s over the sizes s ahead, of n steps on p pixels at r seconds a pixel and step. The
    time up to the first step at a size counts for nothing, because the program is compiled and the
    targets are made in it; a size that was not reached yet takes as long a pixel as the last.

    It has no clock of its own.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=_PIECES)
        self._shape: tuple[int, int] | None = None
        self._rates: dict[tuple[int, int], float] = {}
        self._last: float | None = None

    @property
    def rates(self) -> Mapping[tuple[int, int], float]:
        """Seconds a pixel and step at each height and width at which steps were timed."""
        return self._rates

    def see(self, now: float, progress: Progress) -> float | None:
        """Takes where a run stands, and tells the seconds that are left.

        Args:
            now: The time, in seconds since any moment.
            progress: Of one run, or, where the steps begin again, of another one.

        Returns:
            None before the third step, and until two steps were timed at any size.
        """
        step, present = progress.step, progress.ahead[0]
        if present.shape != self._shape or (self._seen and step < self._seen[-1][1]):
            self._seen.clear()
            self._shape = present.shape
        self._seen.append((now, step))
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        if after > before:
            self._last = (last - first) / (after - before) / _pixels(present)
            self._rates[present.shape] = self._last
        if step < 3 or self._last is None:
            return None
        return seconds_for(progress.ahead, self._rates, self._last)


def seconds_for(
    scales: Sequence[Scale], rates: Mapping[tuple[int, int], float], other: float
) -> float:
    """The time that steps at some sizes take.

    Args:
        scales: The sizes, and the steps at each.
        rates: As in `TimeLeft`.
        other: That of a size that is not among them.
    """
    return sum(scale.num_steps * _pixels(scale) * rates.get(scale.shape, other) for scale in scales)


def _pixels(scale: Scale) -> int:
    return scale.shape[0] * scale.shape[1]
