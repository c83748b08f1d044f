"""`--show`: a page for a browser on this machine that follows a run or a study."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from nst_jax.checks import ConfigError
from nst_jax.cli.durations import duration
from nst_jax.cli.events import event
from nst_jax.cli.lines import say
from nst_jax.descent.result import Progress
from nst_jax.files.sheets import make_thumbnail
from nst_jax.host.loopback import LoopbackServer, Served
from nst_jax.host.now_and_then import NowAndThen
from nst_jax.report.live import make_live_page
from nst_jax.study.result import FinishedLane

_PICTURE, _LANE = 1024, 256  # pixels
_MOST_POINTS, _MOST_CURVES = 500, 10
_WATCHED = 5.0  # seconds since the page last asked, in which somebody looks


@contextlib.contextmanager
def live_page(title: str, wanted: bool) -> Iterator["LivePage | None"]:
    """Serves a page while the block runs, and says where; None if it is not wanted.

    Raises:
        ConfigError: Nothing can be served on this machine.
    """
    if not wanted:
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(LoopbackServer())
        except OSError as error:
            raise ConfigError(
                f"--show: no page can be served here ({error.strerror or error}); leave it out"
            ) from error
        page = LivePage(server, title)
        say(f"follow it at {server.url}")
        event("page", url=server.url)
        yield page
        page.end()


class LivePage:
    """What the page shows.

    Args:
        server: Where it lies; it is running.
        title: The heading.
    """

    def __init__(self, server: LoopbackServer, title: str) -> None:
        self._server, self._times = server, NowAndThen(1.0, at_once=True)
        self._state: dict[str, Any] = {"title": title, "status": "reading …", "caption": ""}
        self._state |= {"done": 0.0, "num_steps": 1, "steps": [], "curves": [], "picture": 0}
        self._state |= {"lanes": [], "ended": False}
        self._num_lanes = 0
        page = make_live_page().encode()
        server.paths["/"] = Served("text/html; charset=utf-8", page)
        self._serve()

    def begin(self, status: str, title: str = "", num_lanes: int = 0) -> None:
        """A run begins, or a study of so many lanes.

        Args:
            status: What is about to be done.
            title: Another heading from now on.
            num_lanes: Of a study.
        """
        self._num_lanes = num_lanes
        self._serve(status=status, title=title or self._state["title"], steps=[], curves=[])

    def see(self, progress: Progress, left: float | None) -> None:
        """Takes where a run, or the lanes of a study that run, stand.

        Args:
            progress: As callbacks see it.
            left: Seconds that are left, as far as they are known.
        """
        losses = np.atleast_1d(progress.loss)
        self._add_point(progress.step, [_number(loss) for loss in losses[:_MOST_CURVES]])
        self._paint(progress)
        finished = len(self._state["lanes"])
        height, width = progress.ahead[0].shape
        parts = [f"step {progress.step} of {progress.num_steps}", f"{width} × {height} pixels"]
        done = progress.done
        if self._num_lanes:
            parts = [f"{finished} of {self._num_lanes} lanes are done", *parts]
            done = (finished + len(losses) * done) / self._num_lanes
            several = f", the first of {len(losses)}" if len(losses) > 1 else ""
            caption = f"a lane that runs{several}" if self._state["picture"] else ""
            self._state["caption"] = caption
        else:
            parts.append(f"loss {float(progress.best_loss):.4g}")
        if left is not None and progress.step < progress.num_steps:
            parts.append(f"{duration(left)} left")
        self._serve(status=" · ".join(parts), done=min(done, 1.0), num_steps=progress.num_steps)

    def add_lane(self, name: str, text: str, lane: FinishedLane) -> None:
        """Takes a lane that has ended.

        Args:
            name: The lane's.
            text: How it ended.
            lane: Its result.
        """
        lanes, path = self._state["lanes"], None
        if np.isfinite(lane.result.loss):
            path = f"lane/{len(lanes)}"
            self._server.paths[f"/{path}"] = _webp(np.asarray(lane.result.image), _LANE)
        failed = bool(lane.result.failure)
        lanes.append({"name": name, "text": text, "failed": failed, "picture": path})
        self._serve()

    def end(self) -> None:
        """Says that it is done, and gives whoever watches two seconds to see that."""
        was_watched = self._is_watched
        self._serve(status=f"{self._state['status']} · done", done=1.0, ended=True)
        now = time.monotonic()
        while was_watched and self._server.asked("/state") < now:
            if time.monotonic() > now + 2:
                return
            time.sleep(0.05)
        if was_watched:
            time.sleep(0.3)  # in which it asks for the last picture

    def _paint(self, progress: Progress) -> None:
        """Takes the picture, unless nobody looks."""
        is_last = progress.step == progress.num_steps
        if not (self._is_watched and (is_last or self._times.is_time)):
            return
        with self._times.timed():
            image = np.asarray(progress.image)
            if image.ndim == 4:
                image = image[0]
            self._server.paths["/picture"] = _webp(image, _PICTURE)
            self._state["picture"] += 1

    def _add_point(self, step: int, losses: list[float | None]) -> None:
        steps, curves = self._state["steps"], self._state["curves"]
        if len(curves) != len(losses) or (steps and step <= steps[-1]):  # other lanes
            steps, curves = [], [[] for _ in losses]
        if len(steps) == _MOST_POINTS:
            steps, curves = steps[::2], [curve[::2] for curve in curves]
        steps.append(step)
        for curve, loss in zip(curves, losses, strict=True):
            curve.append(loss)
        self._state |= {"steps": steps, "curves": curves}

    @property
    def _is_watched(self) -> bool:
        return time.monotonic() - self._server.asked("/state") < _WATCHED

    def _serve(self, **changes: Any) -> None:
        self._state |= changes
        data = json.dumps(self._state, allow_nan=False).encode()
        self._server.paths["/state"] = Served("application/json", data)


def _number(loss: np.floating) -> float | None:
    return float(f"{loss:.5g}") if np.isfinite(loss) else None


def _webp(image: np.ndarray, size: int) -> Served:
    return Served("image/webp", make_thumbnail(image, size, quality=85, effort=1))
