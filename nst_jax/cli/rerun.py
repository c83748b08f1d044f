"""`nst-jax rerun`: a result made again from its record, or with some settings changed."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from nst_jax.checks import ConfigError
from nst_jax.cli.options import (
    CompilationCache,
    Descent,
    Files,
    Follow,
    Loss,
    MaxPixels,
    MemoryLimit,
    Picture,
    Resume,
    Styles,
    as_preset,
    of_preset,
)
from nst_jax.cli.study import run_and_report
from nst_jax.cli.stylize import run_and_say
from nst_jax.files.images import MAX_PIXELS
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.host.processes import Processes
from nst_jax.jobs.job import Job
from nst_jax.jobs.presets import Preset
from nst_jax.jobs.rerun import changed_job, job_of_record, settings_of_record


@dataclass
class Rerun(Follow):
    """Make a result again from its record, or with some settings changed.

    Options of settings change the record's, which hold where none is given. The run begins anew,
    with more --num-steps too, because a finished one keeps nothing to go on from."""

    record: Positional[Annotated[Path, arg(metavar="FILE")]]
    """A result, the .json beside it, or a study.json; its files must be there, or beside it."""
    picture: Picture
    """How large it is, what it starts from, what lies beyond it."""
    loss: Loss
    """What the picture is to be like, and how much each part of that counts."""
    styles: Styles
    """How styles are taken."""
    descent: Descent
    """How the picture is found, and by which network."""
    files: Files
    """How the result is written."""
    seed: int = 0
    """Seed of the noise of --init noise."""
    output: Annotated[
        Path | None,
        arg(
            aliases=["-o"],
            metavar="PATH",
            help_behavior_hint="(default: the first result's name with _rerun)",
        ),
    ] = None
    """Result; a folder for a study."""
    resume: Resume = False
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Replace a result that is there already, and remove its images of --save-every."""
    max_pixels: MaxPixels = MAX_PIXELS
    memory_limit: MemoryLimit = None
    compilation_cache: CompilationCache = True

    @classmethod
    def with_defaults(cls, record: Path | None = None) -> "Rerun":
        """The command with the record's settings for all that is not given.

        Raises:
            ConfigError: The file is no record.
        """
        preset, seed = settings_of_record(record) if record else (Preset(), 0)
        groups = {
            "picture": Picture,
            "loss": Loss,
            "styles": Styles,
            "descent": Descent,
            "files": Files,
        }
        own = {name: of_preset(group, preset) for name, group in groups.items()}
        return cls(tyro.MISSING, **own, seed=seed)

    def run(self) -> int:
        if self.compilation_cache:
            keep_programs()
        job = changed_job(job_of_record(self.record, self.output), self._changes(), self.record)
        if isinstance(job, Job):
            return run_and_say(
                replace(
                    job, resume=self.resume, overwrite=self.overwrite, max_pixels=self.max_pixels
                ),
                self.show,
            )
        if self.resume:
            raise ConfigError(
                f"{self.record}: is of a study, which goes on by itself when the same "
                "command is given again; leave --resume out"
            )
        return run_and_report(
            replace(job, overwrite=self.overwrite, max_pixels=self.max_pixels),
            Processes(),
            self.show,
        )

    def _changes(self) -> dict[str, Any]:
        """The settings that are not the record's."""
        preset, seed = settings_of_record(self.record)
        groups = self.picture, self.loss, self.styles, self.descent, self.files
        asked = as_preset(groups, preset)
        pairs = [(asked, preset), (asked.config, preset.config)]
        changes = {
            field.name: getattr(new, field.name)
            for new, old in pairs
            for field in fields(old)
            if field.name != "config" and getattr(new, field.name) != getattr(old, field.name)
        }
        return changes if self.seed == seed else changes | {"seed": self.seed}
