"""The page of a study that is under way."""

import logging

from nst_jax.files.images import ImageError
from nst_jax.host.now_and_then import NowAndThen
from nst_jax.jobs.record import LaneValues
from nst_jax.jobs.record_files import plain
from nst_jax.jobs.sharing import shareable
from nst_jax.jobs.study_plan import StudyPlan
from nst_jax.jobs.study_results import describe_study, write_copies
from nst_jax.report.write import write_page_so_far

_LOG = logging.getLogger(__name__)


class StudyPage:
    """Writes the page from the first lane on, before the report is made at the end.

    Args:
        plan: The study.
        every: Seconds between two pages, more where writing takes long; 0 writes none.
    """

    def __init__(self, plan: StudyPlan, every: float) -> None:
        self._plan, self._times = plan, NowAndThen(every, at_once=True)
        self._has_copies = False

    def update(self) -> None:
        """Writes it if it is time and a lane is to come; a study goes on where that fails."""
        folder, names = self._plan.folder, self._plan.names
        if not self._times.is_time or all(folder.lane_record(name).exists() for name in names):
            return
        with self._times.timed():
            try:
                self._write()
            except (OSError, ImageError) as error:
                _LOG.warning(
                    f"{folder.path / 'index.html'}: cannot be written so far ({error}); the study "
                    "goes on"
                )

    def _write(self) -> None:
        plan = self._plan
        if not self._has_copies:
            write_copies(plan)
            self._has_copies = True
        study = shareable(plain(describe_study(plan)), plan.folder.path)
        planned = [
            {"coordinates": dict(where), "lane": plain(LaneValues(**lane.settings()))}
            for where, lane in zip(plan.grid.coordinates, plan.grid.lanes, strict=True)
        ]
        write_page_so_far(plan.folder.path, study, planned)
