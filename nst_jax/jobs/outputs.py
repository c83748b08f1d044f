"""What lies where a job is to write.

It is checked before the job runs, compared where the job goes on, and written at its end.
"""

import dataclasses
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.files.images import ImageError, check_output, write_image
from nst_jax.jobs.checkpoint import Saved
from nst_jax.jobs.inputs import Sources
from nst_jax.jobs.job import Job
from nst_jax.jobs.record import RunRecord
from nst_jax.jobs.record_files import (
    SETTINGS_KEYWORD,
    deciding,
    first_difference,
    plain,
    read_record,
)
from nst_jax.jobs.sharing import shareable
from nst_jax.jobs.study_folder import StudyFolder

_LOG = logging.getLogger(__name__)

_OTHER_FILE = "choose another --output"
_OTHER_FOLDER = "choose another --output-dir"
_OVERWRITE_FILE = f"pass --overwrite, or {_OTHER_FILE}"
OVERWRITE_FOLDER = f"pass --overwrite, or {_OTHER_FOLDER}"

# The weights of layers, which `balance` finds when a run begins.
WEIGHTS_FOUND = "weights_by_layer"
# These make no other run.
_NO_MATTER = ("versions", "device", "save_every")


def check_run_outputs(job: Job, sources: Sources) -> None:
    """Makes sure that a run can be written, and that nothing is lost that it may not overwrite.

    Args:
        job: The run.
        sources: What it is made of, which it never overwrites.

    Raises:
        ConfigError, ImageError: It cannot.
    """
    _refuse_folders([job.record], _OTHER_FILE)
    on_the_way = job.on_the_way() if job.preset.save_every or job.overwrite else []
    there = [path for path in (job.output, job.record, *on_the_way) if path.exists()]
    before = [job.fine_output, job.fine_output.with_suffix(".json")] if job.fine else []
    lost = [*there, *filter(Path.exists, [job.preview, *before])]
    _refuse_inputs(lost, sources, job.preset.network, _OTHER_FILE)
    if job.overwrite or job.resume:
        return
    if job.checkpoint.exists:
        raise ConfigError(
            f"{job.checkpoint.path}: a run was cut off; pass --resume to go on with it, "
            "or --overwrite to begin anew"
        )
    if there:
        raise ConfigError(f"{there[0]}: is there already; {_OVERWRITE_FILE}")


def check_study_outputs(
    folder: StudyFolder,
    names: Sequence[str],
    sources: Sources,
    network: str | None,
    overwrite: bool,
) -> None:
    """Makes sure that a study can be written, and that nothing is lost that is not its own.

    Args:
        folder: The study's.
        names: Those of its lanes.
        sources: What it is made of, which it never overwrites.
        network: The network or its file, likewise.
        overwrite: Whether what is there already may be lost.

    Raises:
        ImageError: The study cannot be written, or would overwrite what it is made of.
        ConfigError: There is something else, or another study.
    """
    pictures = [folder.lane_image(name) for name in names]
    records = [folder.lane_record(name) for name in names]
    for path in pictures:
        check_output(path)
    _refuse_folders([folder.record, *records], _OTHER_FOLDER)
    copies = [
        folder.copy(kind, name)
        for kind, images in (("content", sources.content), ("style", sources.style))
        for name in images
    ]
    beside = [path for path in (folder.record, *folder.report, *copies) if path.exists()]
    lanes = [path for path in (*pictures, *records) if path.exists()]
    _refuse_inputs([*beside, *lanes], sources, network, _OTHER_FOLDER)
    if overwrite:
        return
    if beside and not lanes and not folder.record.exists():
        raise ConfigError(f"{beside[0]}: is there already, of no study; {OVERWRITE_FOLDER}")


def _refuse_folders(records: Iterable[Path], advice: str) -> None:
    for path in records:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder, where a record would go; {advice}")


def _refuse_inputs(
    outputs: Iterable[Path], sources: Sources, network: str | None, advice: str
) -> None:
    files = {f"the {label} image": path for label, path in sources.labelled().items()}
    files |= {"the file of the network": Path(network)} if network else {}
    for output in outputs:
        for what, path in files.items():
            if path.is_file() and os.path.samefile(path, output):
                raise ImageError(f"{output}: is {what}, which would be lost; {advice}")


def config_of(saved: Saved, config: TransferConfig) -> TransferConfig:
    """The settings of the run to go on with.

    What was chosen for it by the memory that was free then stays.

    Args:
        saved: Its checkpoint.
        config: The settings that are asked for now.

    Raises:
        ConfigError: The checkpoint holds values that cannot be.
    """
    chosen = {name: saved.settings[name] for name in ("tile", "memory") if name in saved.settings}
    if config.tile:
        chosen.pop("tile", None)
    if chosen.get("memory", config.memory) != config.memory:
        _LOG.info(f"L-BFGS goes on with the {chosen['memory']} pairs that it began with")
    return dataclasses.replace(config, **chosen)


def with_saved_weights(job: Job, saved: Saved) -> Job:
    """The job to go on with; weights of layers that were found when it began stay as well.

    Args:
        job: As it is asked for now.
        saved: Its checkpoint.

    Raises:
        ConfigError: The checkpoint holds weights that cannot be.
    """
    found = saved.settings.get(WEIGHTS_FOUND)
    if not job.preset.config.balance or job.layer_weights is not None or found is None:
        return job
    return dataclasses.replace(job, layer_weights=found)


def check_same(wanted: Mapping[str, Any], found: Mapping[str, Any], where: Path) -> None:
    """Makes sure that a run is of the settings that are wanted.

    Files are compared by what they hold, wherever they lie; versions, the device and what is saved
    on the way make no other run.

    Args:
        wanted: Plain settings.
        found: Plain settings of the run.
        where: The file that they were found in.

    Raises:
        ConfigError: It is of others; the message names the first.
    """
    name = first_difference(wanted, found, _NO_MATTER)
    if name is not None:
        there, here = deciding(found.get(name)), deciding(wanted.get(name))
        values = "" if isinstance(wanted.get(name), dict) else f", {there} there and {here} here"
        raise ConfigError(
            f"{where}: is of a run of other settings ({name} differs{values}); give "
            f"the same, or {_OTHER_FILE}"
        )


def is_run_finished(job: Job, settings: Mapping[str, Any]) -> bool:
    """Whether the result is there already, whole.

    Args:
        job: The run.
        settings: Its settings, as plain values.

    Raises:
        ConfigError: Another one is there.
    """
    if not job.output.exists() and not job.record.exists():
        return False
    try:
        record = read_record(job.record, RunRecord, _OVERWRITE_FILE)
    except ConfigError as error:
        raise ConfigError(
            f"{job.output}: is there already, of no run that can go on; {error}"
        ) from error
    free: dict[str, Any] = {"tile": None, "memory": None}  # as the memory was that the run found
    if job.preset.config.balance and job.layer_weights is None:
        free[WEIGHTS_FOUND] = None
    check_same({**settings, **free}, {**plain(record.settings), **free}, job.record)
    return record.finished and job.output.exists()


def why_early(job: Job) -> str | None:
    """Why the run whose result is there ended early; None where it did not.

    Raises:
        ConfigError: Its record cannot be read.
    """
    return read_record(job.record, RunRecord, _OVERWRITE_FILE).reason


def write_picture(
    path: Path,
    image: ArrayLike,
    settings: Mapping[str, Any],
    alpha: np.ndarray | None = None,
    origin: Mapping[str, str] | None = None,
) -> None:
    """Writes a picture that says what it is made of, as its settings say it is written.

    Pictures are passed on, so files go by their names, without their folders.

    Args:
        path: The file.
        image: (height, width, 3) of floating-point sRGB in [0, 1].
        settings: Plain values.
        alpha: As in `write_image`.
        origin: As in `write_image`.

    Raises:
        ImageError: It cannot be written.
    """
    texts = {
        "Software": software(),
        SETTINGS_KEYWORD: shareable(settings),
    }
    how = {name: settings[name] for name in ("bits", "quality", "dpi")}
    write_image(path, np.asarray(image), texts, alpha, origin=origin, **how)


def software() -> str:
    """What pictures say made them."""
    return f"nst-jax {version('nst-jax')}"
