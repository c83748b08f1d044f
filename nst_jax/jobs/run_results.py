"""What a run writes when it ends, and what it removes."""

import logging

import msgspec

from nst_jax.checks import ConfigError
from nst_jax.descent.result import TransferResult
from nst_jax.host.drafts import remove_drafts
from nst_jax.jobs.describe import describe_history, finite_or_none
from nst_jax.jobs.inputs import Inputs
from nst_jax.jobs.job import Job
from nst_jax.jobs.outputs import write_picture
from nst_jax.jobs.ran import describe_ran
from nst_jax.jobs.record import RunRecord, RunSettings
from nst_jax.jobs.record_files import plain, write_record

_LOG = logging.getLogger(__name__)


def write_run(
    job: Job,
    settings: RunSettings,
    result: TransferResult,
    inputs: Inputs,
    stopped: str,
    seconds: float,
) -> None:
    """Writes the record and the picture of a run, unless it failed before it had one.

    Args:
        job: The run.
        settings: Everything that decides its result.
        result: How it ended.
        inputs: What it was made of.
        stopped: The signal that stopped it, if one did.
        seconds: How long it took.

    Raises:
        ConfigError: It failed.
        ImageError: One of them cannot be written.
    """
    if result.failure and result.best_step <= 1:  # the last good image is what the run began with
        job.checkpoint.remove()
        raise ConfigError(f"{result.failure} (--style-weight and the other weights)")
    if result.failure:
        _LOG.warning(f"{result.failure}; the best image is that of step {result.best_step}")
    # The record first: without it, nobody could tell whose image is there, and whether the run may
    # go on. It says that the run is finished once the image is there, which may have been another's
    # till then.
    record = RunRecord(
        settings=settings,
        output=job.output.name,
        finished=False,
        reason=_why_early(result, stopped),
        best_loss=finite_or_none(result.loss),
        best_step=int(result.best_step),
        history=describe_history(result),
        ran=describe_ran(seconds),
    )
    write_record(job.record, record)
    write_picture(job.output, result.image, plain(settings), inputs.alpha, inputs.origin)
    if not result.cut_off:
        write_record(job.record, msgspec.structs.replace(record, finished=True))


def _why_early(result: TransferResult, stopped: str) -> str | None:
    """Why a run ended early, if it did."""
    if result.failure:
        return str(result.failure)
    return f"stopped by {stopped} at step {int(result.num_steps)}" if result.cut_off else None


def clean_up(job: Job) -> None:
    """Removes what a finished run needs no more, and what one that was killed left half written."""
    job.checkpoint.remove()
    every, num_steps = job.preset.save_every, job.preset.config.num_steps
    steps = range(every, num_steps + 1, every) if every else ()
    for output in (job.output, job.record, job.preview, *map(job.at_iteration, steps)):
        remove_drafts(output)
