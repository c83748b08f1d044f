"""What is where a single run would write, and whether it may go there."""

import dataclasses
import glob
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_jax.config import ConfigError, TransferConfig
from nst_jax.files.images import ImageError
from nst_jax.jobs.checkpoint import Saved
from nst_jax.jobs.job import Job
from nst_jax.jobs.record import check_same


def check_outputs(job: Job, inputs: Mapping[str, Path]) -> None:
    if job.record.is_dir():
        raise ImageError(
            f"{job.record}: is a folder, where the record of the run would go; choose "
            "another --output"
        )
    pattern = glob.escape(job.output.stem) + "_at_iteration_*.png"
    intermediate = sorted(job.output.parent.glob(pattern)) if job.preset.save_every else []
    weights = {"network": Path(job.preset.network)} if job.preset.network else {}
    for name, path in {**inputs, **weights}.items():
        for output in (job.output, job.record, *intermediate):
            if output.exists() and path.is_file() and os.path.samefile(path, output):
                what = "file of the network" if name == "network" else f"{name} image"
                raise ImageError(
                    f"{output}: is the {what}, which would be lost; choose another --output"
                )
    if job.overwrite or job.resume:
        return
    if job.checkpoint.exists:
        raise ConfigError(
            f"{job.checkpoint.path}: a run was cut off; pass --resume to go on with it, "
            "or --overwrite to begin anew"
        )
    for output in (job.output, job.record, *intermediate):
        if output.exists():
            raise ConfigError(
                f"{output}: is there already; pass --overwrite, or choose another --output"
            )


def config_of(saved: Saved, config: TransferConfig) -> TransferConfig:
    """The settings of the run to go on with; what was chosen for it by the memory that was free
    then stays."""
    chosen = {name: saved.settings[name] for name in ("tile", "memory") if name in saved.settings}
    if config.tile:
        chosen.pop("tile", None)
    return dataclasses.replace(config, **chosen)


def is_finished(job: Job, settings: Mapping[str, Any]) -> bool:
    """Whether the result is there already, whole.

    Raises:
        ConfigError: Another one is there.
    """
    if not job.output.exists() and not job.record.exists():
        return False
    try:
        record = json.loads(job.record.read_text())
        found, is_finished = dict(record["settings"]), bool(record["finished"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{job.output}: is there already, of no run that can go on; pass --overwrite, "
            "or choose another --output"
        ) from error
    check_same(
        {**settings, "tile": None, "memory": None},
        {**found, "tile": None, "memory": None},
        job.record,
    )
    return is_finished and job.output.exists()
