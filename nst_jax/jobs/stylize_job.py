"""One style transfer from files to files.

Beside the result lies everything that it takes to make it again.
"""

import dataclasses
import logging
import signal
import time
from collections.abc import Callable, Sequence

import jax
from msgspec import UNSET

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.descent.descend import chunks_of, only_lane
from nst_jax.descent.fit import fitting_run
from nst_jax.descent.problem import Problem, make_problem
from nst_jax.descent.result import Callback, TransferResult
from nst_jax.descent.run_arguments import RunArguments
from nst_jax.descent.snapshot import SnapshotError
from nst_jax.descent.start import check_sharing, make_key
from nst_jax.files.images import check_output
from nst_jax.files.lock import only_one
from nst_jax.host.stopping import Stopped, StopSignals
from nst_jax.jobs.checkpoint import Saved, Saver
from nst_jax.jobs.describe import (
    describe_device,
    describe_versions,
)
from nst_jax.jobs.fine_style import as_one_run, fine_style_job, read_fine_style
from nst_jax.jobs.inputs import (
    Inputs,
    Sources,
    describe_areas,
    label_of,
    read_inputs,
    styles_by_name,
)
from nst_jax.jobs.job import Job
from nst_jax.jobs.outputs import (
    check_run_outputs,
    check_same,
    config_of,
    is_run_finished,
    why_early,
    with_saved_weights,
    write_picture,
)
from nst_jax.jobs.parts import values_of
from nst_jax.jobs.presets import Preset
from nst_jax.jobs.preview import Preview
from nst_jax.jobs.record import RunInputs, RunSettings
from nst_jax.jobs.record_files import plain
from nst_jax.jobs.run_plan import RunPlan, plan_run
from nst_jax.jobs.run_results import clean_up, write_run
from nst_jax.weights import LoadedWeights

_LOG = logging.getLogger(__name__)


def run_job(
    job: Job,
    show: Callback,
    on_start: Callable[[RunPlan], None] = lambda plan: None,
    loaded: LoadedWeights | None = None,
) -> TransferResult | None:
    """Reads the images and the weights, runs the descent, and writes result and record.

    Args:
        job: What to do.
        show: Called with the progress, as `stylize` calls its callback.
        on_start: Called with what is about to be done, before the first step; before that of a fine
            style, too.
        loaded: The network, if it was read already.

    Returns:
        What `stylize` returned; None where the job goes on with a run that was finished already.

    Raises:
        ConfigError, ImageError, WeightsError: The user's input is wrong, or another run writes the
            same output; neither result nor record has been written then.
        Stopped: Ctrl-C or SIGTERM came; the best image until then is written.
    """
    check_output(job.output, job.preset.keep_alpha, job.preset.bits)
    busy = (
        f"{job.output}: another run is writing it; wait until that has ended, or choose "
        "another --output"
    )
    with only_one(job.lock, busy):
        return _run(job, show, on_start, loaded, time.monotonic())


def _run(
    job: Job,
    show: Callback,
    on_start: Callable[[RunPlan], None],
    loaded: LoadedWeights | None,
    started: float,
) -> TransferResult | None:
    devices = jax.local_devices()[: job.num_devices]
    if not 1 <= job.num_devices == len(devices):
        raise ConfigError(
            f"--devices is {job.num_devices}; it must be between 1 and "
            f"{len(jax.local_devices())}, which this machine has"
        )
    styles = styles_by_name(job.styles)
    content = {job.content.stem: job.content} if job.content else {}
    areas = job.masks, job.region_maps, job.keep
    sources = Sources(content, styles, job.initial, *areas, job.fine)
    check_run_outputs(job, sources)
    inputs = read_inputs(sources, job.preset, job.max_pixels, job.hashes, job.shape, loaded)
    if job.preset.config.scaling == "mean" and not inputs.loaded.normalised:
        _LOG.warning(
            "the paper's network was activation-normalised, this one is not; make one "
            "with 'nst-jax weights normalise'"
        )
    check_sharing(inputs.shape[0], job.preset.config, devices)
    if job.fine:
        _LOG.info(f"first the style with the detail of {job.fine}: {job.fine_output}")
        before, show = as_one_run(show, job.preset)
        then = plan_run(inputs, job.preset.config, devices, goes_on=False)
        on_first = lambda plan: on_start(dataclasses.replace(plan, then=then))
        fine = fine_style_job(job)
        made = run_job(fine, before, on_first, inputs.loaded)
        if reason := why_early(fine) if made is None else str(made.failure):
            raise ConfigError(f"{job.fine_output}: {reason}")
        inputs = inputs._replace(styles=read_fine_style(job, inputs.shape))
    saved = job.checkpoint.read() if job.resume else None
    if saved:
        job = with_saved_weights(job, saved)
        settings = _describe(job, config_of(saved, job.preset.config), inputs)
        check_same(plain(settings), saved.settings, job.checkpoint.path)
        problem = make_problem(_arguments(job, settings.preset().config, inputs, devices))
    else:
        as_asked = _describe(job, job.preset.config, inputs)
        if job.resume and is_run_finished(job, plain(as_asked)):
            return None
        config = _fitting_config(job, inputs, devices)
        problem = make_problem(_arguments(job, config, inputs, devices))
        job = _with_weights_of(problem, job)
        settings = _describe(job, config, inputs)
        job.checkpoint.remove()
        if job.overwrite:  # pictures on the way to another result
            for path in job.on_the_way():
                path.unlink(missing_ok=True)
    on_start(plan_run(inputs, settings.preset().config, devices, goes_on=saved is not None))
    preview = Preview(job.preview, job.output.stem, job.preview_every)
    with StopSignals() as signals:
        result = _descend(job, problem, inputs, settings, saved, show, preview, signals)
    stopped = signal.Signals(signals.received).name if signals.received else ""
    try:
        write_run(job, settings, result, inputs, stopped, time.monotonic() - started)
    except ConfigError:  # it failed at once, and has no good image
        preview.remove()
        raise
    preview.remove()
    if result.cut_off and signals.received:
        how = (
            "the same command with --resume goes on"
            if job.checkpoint.exists
            else "nothing could be saved to go on from"
        )
        raise Stopped(
            f"stopped at step {int(result.num_steps)} of {job.preset.config.num_steps}, wrote "
            f"{job.output}; {how}",
            signals.received,
        )
    clean_up(job)
    return result


def _fitting_config(job: Job, inputs: Inputs, devices: Sequence[jax.Device]) -> TransferConfig:
    """The settings of a run that begins, which the memory must do for."""
    fitting, memory = fitting_run(_arguments(job, job.preset.config, inputs, devices))
    if job.resume and not job.fine:  # whose own run may have gone on
        _LOG.info("nothing was saved; the run begins anew")
    if memory:
        _LOG.info(memory)
    return fitting


def _with_weights_of(problem: Problem, job: Job) -> Job:
    """The job with the weights of the style's layers, if its run was to find them."""
    if not job.preset.config.balance or job.layer_weights is not None:
        return job
    loss = only_lane(problem.loss)
    found = loss["style"].part_weights if "style" in loss else None
    weights = {layer: float(weight) for layer, weight in (found or {}).items()}
    return dataclasses.replace(job, layer_weights=weights or None)


def _arguments(
    job: Job, config: TransferConfig, inputs: Inputs, devices: Sequence[jax.Device]
) -> RunArguments:
    """What a descent is given."""
    if job.layer_weights is not None:  # as they were found
        config = dataclasses.replace(config, balance=False)
    given = RunArguments(
        inputs.loaded.params,
        next(iter(inputs.contents.values()), inputs.shape),
        list(inputs.styles.values()),
        config,
        job.weights,
        initial=inputs.initial,
        devices=devices,
        regions=inputs.regions,
        keep=inputs.keep,
    )
    return given.single(make_key(job.seed) if config.init == "noise" else None)


def _describe(job: Job, config: TransferConfig, inputs: Inputs) -> RunSettings:
    """Everything that decides the result."""
    height, width = inputs.shape
    styles = tuple(inputs.files[label_of("style", name)] for name in inputs.styles)
    return RunSettings(
        inputs=RunInputs(
            content=inputs.files[label_of("content", job.content.stem)] if job.content else UNSET,
            style=styles[0] if len(styles) == 1 else styles,
            **describe_areas(inputs.sources, inputs.files),
            fine=inputs.files["fine"] if job.fine else UNSET,
            initial=inputs.files["initial"] if job.initial else UNSET,
        ),
        network=inputs.network,
        height=height,
        width=width,
        seed=job.seed,
        num_devices=job.num_devices,
        versions=describe_versions(),
        device=describe_device(),
        weights_by_layer=dict(job.layer_weights) if job.layer_weights else UNSET,
        **values_of(job.preset, Preset, leave_out=("config", "network")),
        **values_of(config, TransferConfig),
    )


def _descend(
    job: Job,
    problem: Problem,
    inputs: Inputs,
    settings: RunSettings,
    saved: Saved | None,
    show: Callback,
    preview: Preview,
    signals: StopSignals,
) -> TransferResult:
    """Runs the descent until its end or a signal; saves, shows and writes what comes on the way."""
    every, told = job.preset.save_every, plain(settings)
    saver = Saver(job.checkpoint, told, job.checkpoint_every)
    chunks = chunks_of(problem, saved and saved.arrays, every)
    chunk = None
    try:
        for chunk in chunks:
            progress = chunk.progress
            if every and progress.step % every == 0:
                on_the_way = told | {"iteration": progress.step}
                path = job.at_iteration(progress.step)
                write_picture(path, progress.image, on_the_way, inputs.alpha, inputs.origin)
            preview.show(progress)
            show(progress)
            saver.save(chunk, is_last=signals.received is not None)
            if signals.received:
                break
    except SnapshotError as error:
        raise ConfigError(
            f"{job.checkpoint.path}: {error}; pass --overwrite to begin anew"
        ) from error
    assert chunk is not None  # a run has at least one step
    return chunk.result()
