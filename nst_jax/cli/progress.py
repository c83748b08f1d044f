"""How progress is shown: a live bar in a terminal, plain lines elsewhere."""

import sys
import time
from typing import Self

from tqdm import tqdm

from nst_jax.cli.durations import duration
from nst_jax.cli.events import event
from nst_jax.cli.lines import LINES, printable, say, tells
from nst_jax.cli.live import LivePage
from nst_jax.descent.result import Progress
from nst_jax.descent.schedule import Scale
from nst_jax.descent.time_left import TimeLeft, seconds_for
from nst_jax.host.bars import Closes
from nst_jax.host.timings import Rates, keep_rates, read_rates
from nst_jax.jobs.run_plan import RunPlan
from nst_jax.study.result import FinishedLane

_SECONDS_BETWEEN_LINES = 10


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class _Display(Closes):
    """A context manager that writes above its bar, and closes it, if it has drawn one.

    Args:
        page: A page that shows the same, if there is one.
    """

    def __init__(self, page: LivePage | None = None) -> None:
        self._page = page
        self._bar: tqdm | None = None
        self._started = time.monotonic()
        self._time_left = TimeLeft()

    def __enter__(self) -> Self:
        LINES.write = self._say
        return self

    def close(self) -> None:
        LINES.write = say
        if self._bar is not None:
            self._bar.close()

    def _say(self, line: str) -> None:
        """Prints a line above the bar."""
        if self._bar is not None:
            self._bar.write(printable(line, sys.stderr), file=sys.stderr)
        else:
            say(line)

    def _draw(self, total: int) -> tqdm:
        """The bar; without a picture of one until something is done."""
        if self._bar is None:
            self._bar = tqdm(
                total=total, bar_format="{desc}", dynamic_ncols=True, file=sys.stderr, leave=True
            )
        return self._bar

    @property
    def _gone(self) -> str:
        return f"{duration(time.monotonic() - self._started)} gone"


class ProgressDisplay(_Display):
    """A run's progress: a bar on a terminal, and elsewhere a line every ten seconds.

    Both say the loss, the time left and each change of size.
    """

    def __init__(self, page: LivePage | None = None) -> None:
        super().__init__(page)
        self._last_line = self._started
        self._has_told_time = False
        self._program = ""
        self._compiled: frozenset[tuple[int, int]] = frozenset()
        self._afterwards: float | None = 0.0

    def start(self, plan: RunPlan) -> None:
        """Called before the first step of a run, or of that of its style: says what comes."""
        self._keep_rates()
        self._program, self._time_left, self._has_told_time = plan.program, TimeLeft(), False
        (height, width), rates = plan.shape, read_rates(plan.program)
        self._compiled = frozenset(rates)
        self._afterwards = 0.0
        if plan.then:
            self._afterwards = _seconds_for(plan.then, read_rates(plan.then.program))
        told = {"num_steps": plan.num_steps, "num_devices": plan.num_devices}
        told |= {"device": plan.device, "num_cores": plan.num_cores}
        told |= {"of": "style" if plan.then else "picture"}
        event("start", width=width, height=height, **told, seconds=_seconds_for(plan, rates))
        if self._page is not None:
            self._page.begin(f"compiling: {_plan_in_words(plan)}")
        if not tells():
            return
        self._say(_plan_in_words(plan))
        self._show(self._preparation(plan.scales[0]), plan.num_steps)

    def __call__(self, progress: Progress) -> None:
        """Called with where the run stands."""
        left = self._left(progress)
        _progress_event(progress, float(progress.best_loss), left)
        if self._page is not None:
            self._page.see(progress, left)
        if not tells():
            return
        text = f"loss {float(progress.best_loss):.4g}"
        present, *to_come = progress.ahead
        is_end = progress.step == progress.num_steps
        if _is_terminal():
            bar = self._draw(progress.num_steps)
            bar.bar_format = "{n_fmt}/{total_fmt} |{bar}| {desc}"
            times = [self._gone, *([f"{duration(left)} left"] if left is not None else [])]
            text = f"{text} [{', '.join(times)}]"
            if to_come and not present.num_steps:
                text = f"{text} {self._preparation(to_come[0])}"
            bar.set_description_str(text, refresh=False)
            bar.total = progress.num_steps  # fewer where a size has ended early
            bar.n = progress.step
            bar.refresh()
            return
        is_first_time = left is not None and not self._has_told_time
        is_time = time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES
        changes = bool(to_come) and not present.num_steps
        if not (is_end or is_first_time or is_time or changes):
            return
        self._has_told_time |= left is not None
        ends = f"  {duration(left)} left" if left is not None and not is_end else ""
        self._show(f"step {progress.step}/{progress.num_steps}  {text}{ends}")
        if changes:
            self._show(self._preparation(to_come[0]))

    def close(self) -> None:
        super().close()
        self._keep_rates()

    def _left(self, progress: Progress) -> float | None:
        """The seconds that are left; none are known where a run follows that was never timed."""
        left = self._time_left.see(time.monotonic(), progress)
        return None if left is None or self._afterwards is None else left + self._afterwards

    def _keep_rates(self) -> None:
        if self._program:
            keep_rates(self._program, self._time_left.rates)

    def _preparation(self, scale: Scale) -> str:
        """What comes before the steps at a size."""
        is_compiled = scale.shape in self._compiled
        return f"{'starting at' if is_compiled else 'compiling for'} {_size(scale)} …"

    def _show(self, line: str, total: int = 0) -> None:
        """A line; on a terminal, where the bar will be."""
        if _is_terminal():
            self._draw(total).set_description_str(line)
        else:
            self._last_line = time.monotonic()
            say(line)


def _progress_event(progress: Progress, loss: float | None, left: float | None) -> None:
    height, width = progress.ahead[0].shape
    steps = {"step": progress.step, "num_steps": progress.num_steps, "done": progress.done}
    event("progress", **steps, loss=loss, width=width, height=height, seconds_left=left)


def _plan_in_words(plan: RunPlan) -> str:
    """Size, styles, steps, device, cores, and about how long."""
    coarser = [f"{scale.num_steps} at {_sides(scale)}" for scale in plan.scales[:-1]]
    first = f" (first {', '.join(coarser)})" if coarser else ""
    cores = f"{plan.num_cores} core{'s' * (plan.num_cores > 1)}"
    where = f"{plan.num_devices} × {plan.device}" if plan.num_devices > 1 else plan.device
    rates, how_long = read_rates(plan.program), ""
    seconds = _seconds_for(plan, rates)
    if seconds is not None:
        compiled = plan.shape in rates
        how_long = f", about {duration(seconds)}{'' if compiled else ' and compilation'}"
    elif not rates:
        how_long = "; the time it takes shows after the third step"
    total = plan.num_steps + (plan.then.num_steps if plan.then else 0)
    steps = f"{plan.num_steps}{f' of {total}' if plan.then else ''} step{'s' * (total > 1)}"
    blended = f", {plan.num_blended} styles blended" if plan.num_blended > 1 else ""
    what = f"{_size(plan.scales[-1])}{blended}, {steps}{first}"
    return f"{what}, on {where} with {cores}{how_long}"


def _seconds_for(plan: RunPlan, rates: Rates) -> float | None:
    """How long the steps take, by those of earlier runs, if there were any."""
    if not rates or plan.goes_on:
        return None
    return seconds_for(plan.scales, rates, list(rates.values())[-1])


def _size(scale: Scale) -> str:
    return f"{_sides(scale)} pixels"


def _sides(scale: Scale) -> str:
    height, width = scale.shape
    return f"{width} × {height}"


class StudyDisplay(_Display):
    """A study's progress: a line a finished lane, and on a terminal a bar below them."""

    def __init__(self, page: LivePage | None = None) -> None:
        super().__init__(page)
        self._num_lanes = self._finished = 0
        self._lane_seconds: float | None = None

    def start(self, num_lanes: int) -> None:
        """Called before the first of `num_lanes`."""
        self._num_lanes, self._started = num_lanes, time.monotonic()
        if self._page is not None:
            self._page.begin("compiling …", num_lanes=num_lanes)
        if num_lanes and _is_terminal() and tells():
            self._draw(num_lanes).set_description_str("compiling …")

    def __call__(self, progress: Progress) -> None:
        """Moves the bar; `progress` is that of the lanes that run."""
        left = self._time_left.see(time.monotonic(), progress)
        running = min(len(progress.loss), self._num_lanes - self._finished)
        waiting = self._num_lanes - self._finished - running
        if left is not None and progress.done < 1:
            self._lane_seconds = left / (1 - progress.done) / running
        if left is not None and self._lane_seconds is not None:
            left += waiting * self._lane_seconds
        _progress_event(progress, None, left)
        if self._page is not None:
            self._page.see(progress, left)
        if self._bar is not None:
            self._bar.bar_format = "{percentage:3.0f} % |{bar}| {desc}"
            times = [self._gone]
            if left is not None:
                times.append(f"{duration(left)} left")
            self._bar.set_description_str(f"[{', '.join(times)}]", refresh=False)
            self._bar.n = self._finished + running * progress.done
            self._bar.refresh()

    def finish(self, name: str, lane: FinishedLane) -> None:
        """Called when a lane is written."""
        self._finished += 1
        result, waiting = lane.result, self._num_lanes - self._finished
        what = f"FAILED: {result.failure}" if result.failure else f"loss {float(result.loss):.4g}"
        ended = {"loss": float(result.loss), "reason": str(result.failure) or None}
        place = {"number": self._finished, "count": self._num_lanes, "seconds": lane.seconds}
        event("lane", name=name, **place, **ended)
        if self._page is not None:
            self._page.add_lane(name, what, lane)
        if not tells() and not result.failure:
            return
        self._say(
            f"{self._finished}/{self._num_lanes}  {name}  {what}  {duration(lane.seconds)}"
            + (f", {duration(lane.seconds * waiting)} left" if waiting else "")
        )
