"""Many photographs, one run after another: what is done is left alone, and a failure ends no other.

Runs of one size share a compiled program.
"""

import dataclasses
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nst_jax.checks import ConfigError
from nst_jax.descent.result import Callback
from nst_jax.files.images import ImageError
from nst_jax.host.memory import is_out_of_memory
from nst_jax.jobs.job import Job
from nst_jax.jobs.outputs import why_early
from nst_jax.jobs.run_plan import RunPlan
from nst_jax.jobs.stylize_job import run_job
from nst_jax.weights import load_weights

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """How many runs ended.

    Args:
        computed: Pictures that were painted now.
        kept: Pictures that were there already, of the same settings.
        failed: Why there is no picture, or one of a run that ended early, by photograph.
    """

    computed: int
    kept: int
    failed: Mapping[Path, str]


@dataclass(frozen=True)
class Place:
    """Where a run stands among the others.

    Args:
        number: From 1.
        count: How many there are.
        job: The run.
        seconds_left: About how long this and the others take that are not there yet; None before
            one has ended, and where all are there.
    """

    number: int
    count: int
    job: Job
    seconds_left: float | None


def run_jobs(
    jobs: Sequence[Job],
    on_job: Callable[[Place], tuple[Callback, Callable[[RunPlan], None]]],
) -> Summary:
    """Runs jobs of one network, each a content image of its own.

    Args:
        jobs: What to do. One whose result or checkpoint is there goes on from it, unless it may
            overwrite.
        on_job: Called before each; returns what `run_job` is to call.

    Raises:
        WeightsError: The network cannot be had.
        Stopped: Ctrl-C or SIGTERM came.
    """
    loaded = load_weights(jobs[0].preset.network)
    _LOG.info(f"network: {loaded.why}")
    failed: dict[Path, str] = {}
    computed, kept, spent = 0, 0, 0.0
    for number, job in enumerate(jobs, 1):
        started, left = time.monotonic(), None
        waiting = [job for job in jobs[number - 1 :] if job.overwrite or not job.output.exists()]
        if computed and waiting:
            left = spent / computed * len(waiting)
        show, on_start = on_job(Place(number, len(jobs), job, left))
        is_there = job.output.exists() or job.record.exists() or job.checkpoint.exists
        job = dataclasses.replace(job, resume=is_there and not job.overwrite)
        photograph = job.content or job.output
        try:
            result = run_job(job, show, on_start, loaded)
        except (ConfigError, ImageError) as error:
            failed[photograph] = str(error)
            continue
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            failed[photograph] = "out of memory; paint it at a smaller --size"
            continue
        if result is None:
            kept += 1
            _LOG.info(f"{job.output} is there already, of the same settings")
            if reason := why_early(job):
                failed[photograph] = reason
            continue
        if result.failure:
            failed[photograph] = str(result.failure)
        computed, spent = computed + 1, spent + time.monotonic() - started
    return Summary(computed, kept, failed)


def jobs_of_folder(
    photographs: Sequence[Path], folder: Path, ending: str, make: Callable[[Path, Path], Job]
) -> list[Job]:
    """A job for each photograph, each with a name of its own in a folder.

    Args:
        photographs: Images of one folder.
        folder: Where the results go.
        ending: What is added to the name of a photograph; of two that differ in their endings
            alone, these are added, too, and a number where that is a name already.
        make: Makes the job of a photograph and its result.
    """
    stems = Counter(path.stem.casefold() for path in photographs)
    taken = {stem for stem, count in stems.items() if count == 1}
    jobs = []
    for path in photographs:
        name = path.stem
        if name.casefold() not in taken or stems[name.casefold()] > 1:
            whole = f"{path.stem}_{path.suffix[1:]}"
            numbered = (f"{whole}_{number}" for number in itertools.count(2))
            names = itertools.chain([whole], numbered)
            name = next(name for name in names if name.casefold() not in taken)  # so on some disks
            taken.add(name.casefold())
        jobs.append(make(path, folder / f"{name}{ending}"))
    return jobs
