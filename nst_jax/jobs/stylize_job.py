"""One style transfer from files to files, with everything beside the result that it takes to make
it again."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from nst_jax.config import ConfigError, TransferConfig
from nst_jax.descent.descend import descend
from nst_jax.descent.fit import fitting_config
from nst_jax.descent.result import Callback, TransferResult
from nst_jax.descent.snapshot import SnapshotError
from nst_jax.descent.start import check_sharing, make_key
from nst_jax.files.atomic import remove_partials
from nst_jax.files.images import check_output, write_image
from nst_jax.files.lock import only_one
from nst_jax.host.stopping import Stopped, StopSignals
from nst_jax.jobs.checkpoint import Saver
from nst_jax.jobs.inputs import read_images, read_like
from nst_jax.jobs.job import Job
from nst_jax.jobs.outputs import check_outputs, config_of, is_finished
from nst_jax.jobs.record import (
    check_hashes,
    check_same,
    describe_inputs,
    describe_machine,
    describe_network,
    describe_result,
    image_metadata,
    write_record,
)
from nst_jax.objective.default import default_loss
from nst_jax.weights import load_weights

_LOG = logging.getLogger(__name__)


def run_job(job: Job, show: Callback) -> TransferResult | None:
    """Reads the images and the weights, runs the descent, and writes result and record.

    Args:
        job: What to do.
        show: Called with the progress, as `stylize` calls its callback.

    Returns:
        What `stylize` returned; None where the job goes on with a run that was finished already.

    Raises:
        ConfigError, ImageError, WeightsError: The user's input is wrong, or another run writes the
            same output; neither result nor record has been written then.
        Stopped: Ctrl-C or SIGTERM came; the best image until then is written.
    """
    check_output(job.output)
    busy = (
        f"{job.output}: another run is writing it; wait until that has ended, or choose "
        "another --output"
    )
    with only_one(job.lock, busy):
        return _run(job, show)


def _run(job: Job, show: Callback) -> TransferResult | None:
    preset, devices = job.preset, jax.local_devices()[: job.num_devices]
    if not 1 <= job.num_devices == len(devices):
        raise ConfigError(
            f"--devices is {job.num_devices}; it must be between 1 and "
            f"{len(jax.local_devices())}, which this machine has"
        )
    inputs = {"content": job.content, "style": job.style} | (
        {"initial": job.initial} if job.initial else {}
    )
    check_outputs(job, inputs)
    contents, styles = read_images(
        {"content": job.content}, {"style": job.style}, preset, job.max_pixels
    )
    content, style = contents["content"], styles["style"]
    initial = read_like(job.initial, content, preset, job.max_pixels) if job.initial else None
    loaded = load_weights(preset.network)
    _LOG.info(f"network: {loaded.why}")
    if preset.config.scaling == "mean" and not loaded.normalised:
        _LOG.warning(
            "the paper's network was activation-normalised, this one is not; make one "
            "with 'nst-jax weights normalise'"
        )
    described = {
        "inputs": describe_inputs(inputs),
        "network": describe_network(loaded),
        "height": content.shape[0],
        "width": content.shape[1],
    }
    check_hashes({**described["inputs"], "network": described["network"]}, job.hashes)

    check_sharing(content.shape[0], preset.config, devices)
    saved = job.checkpoint.read() if job.resume else None
    if saved:
        config, memory = config_of(saved, preset.config), ""
    elif job.resume and is_finished(job, _describe(job, preset.config, described)):
        return None
    else:
        config, memory = fitting_config(
            loaded.params,
            content,
            style,
            default_loss(preset.config, job.weights),
            preset.config,
            devices,
        )
        if job.resume:
            _LOG.info("nothing was saved; the run begins anew")
    if memory:
        _LOG.info(memory)
    settings = _describe(job, config, described)
    if saved:
        check_same(settings, saved.settings, job.checkpoint.path)
    else:
        job.checkpoint.remove()

    with StopSignals() as signals:
        saver = Saver(job.checkpoint, settings, job.checkpoint_every)
        chunks = descend(
            loaded.params,
            content,
            style,
            config,
            job.weights,
            key=make_key(job.seed) if config.init == "noise" else None,
            initial=initial,
            devices=devices,
            start=saved and saved.arrays,
            every=preset.save_every,
        )
        chunk = None
        try:
            for chunk in chunks:
                progress = chunk.progress
                if preset.save_every and progress.step % preset.save_every == 0:
                    iteration = image_metadata(settings | {"iteration": progress.step})
                    write_image(
                        job.at_iteration(progress.step), np.asarray(progress.image), iteration
                    )
                show(progress)
                saver.save(chunk, is_last=signals.received is not None)
                if signals.received:
                    break
        except SnapshotError as error:
            raise ConfigError(
                f"{job.checkpoint.path}: {error}; pass --overwrite to begin anew"
            ) from error
        assert chunk is not None  # a run has at least one step
        result = chunk.result()
    if result.failure and result.best_step <= 1:  # the last good image is what the run began with
        job.checkpoint.remove()
        raise ConfigError(f"{result.failure} (--style-weight, --content-weight, --tv-weight)")
    if result.failure:
        _LOG.warning(f"{result.failure}; the best image is that of step {result.best_step}")
    # The record first: without it, nobody could tell whose image is there, and whether the run may
    # go on. It says that the run is finished once the image is there, which may have been another's
    # till then.
    record = {
        "settings": settings,
        "output": job.output.name,
        "finished": False,
        "reason": str(result.failure) or None,
    }
    record |= describe_result(result)
    write_record(job.record, record)
    write_image(job.output, np.asarray(result.image), image_metadata(settings))
    if not result.cut_off:
        write_record(job.record, record | {"finished": True})
    elif signals.received:
        how = (
            "the same command with --resume goes on"
            if job.checkpoint.exists
            else "nothing could be saved to go on from"
        )
        raise Stopped(
            (
                f"stopped at step {int(result.num_steps)} of {config.num_steps}, wrote "
                f"{job.output}; {how}"
            ),
            signals.received,
        )
    job.checkpoint.remove()
    intermediate = (
        range(preset.save_every, config.num_steps + 1, preset.save_every)
        if preset.save_every
        else ()
    )
    for output in (job.output, job.record, *map(job.at_iteration, intermediate)):
        remove_partials(output)  # of a run that was killed
    return result


def _describe(job: Job, config: TransferConfig, described: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides the result, as plain values for JSON."""
    preset = dataclasses.asdict(job.preset)
    return json.loads(
        json.dumps(
            {
                **described,
                **({"weights_by_layer": dict(job.layer_weights)} if job.layer_weights else {}),
                "seed": job.seed,
                "num_devices": job.num_devices,
                **{
                    name: value
                    for name, value in preset.items()
                    if name not in ("config", "network")
                },
                **dataclasses.asdict(config),
                **describe_machine(),
            }
        )
    )
