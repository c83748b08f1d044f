"""`nst-jax rerun`: a result made again from its record."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from nst_jax.cli.options import CompilationCache, MaxPixels, MemoryLimit, Resume, Talk
from nst_jax.cli.study import run_and_report
from nst_jax.cli.stylize import run_and_say
from nst_jax.config import ConfigError
from nst_jax.files.images import MAX_PIXELS
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.host.processes import Processes
from nst_jax.jobs.job import Job
from nst_jax.jobs.rerun import job_of_record


@dataclass
class Rerun(Talk):
    """Make a result again from the .json beside it."""

    record: Positional[Annotated[Path, arg(metavar="FILE")]]
    """The .json beside a result, or a study.json; its files must be there, or beside it."""
    output: Annotated[
        Path | None,
        arg(metavar="PATH", help_behavior_hint="(default: the first result's name with _rerun)"),
    ] = None
    """Result; a folder for a study."""
    resume: Resume = False
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Replace a result that is there already."""
    max_pixels: MaxPixels = MAX_PIXELS
    memory_limit: MemoryLimit = None
    compilation_cache: CompilationCache = True

    def run(self) -> int:
        if self.compilation_cache:
            keep_programs()
        job = job_of_record(self.record, self.output)
        if isinstance(job, Job):
            return run_and_say(
                replace(
                    job, resume=self.resume, overwrite=self.overwrite, max_pixels=self.max_pixels
                )
            )
        if self.resume:
            raise ConfigError(
                f"{self.record}: is of a study, which goes on by itself when the same "
                "command is given again; leave --resume out"
            )
        return run_and_report(
            replace(job, overwrite=self.overwrite, max_pixels=self.max_pixels), Processes()
        )
