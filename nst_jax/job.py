"""One style transfer from files to files, with everything beside the result that it takes to make it again."""

import dataclasses
import glob
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np

from nst_jax.checkpoint import Checkpoint, Keeper, Saved, check_checkpoint_every
from nst_jax.config import LARGEST_SEED, ConfigError, Init, Preset, TransferConfig, check_at_least
from nst_jax.files import remove_partials
from nst_jax.fit import fitting_config
from nst_jax.grid import check_layer_weights, weights_by_layer
from nst_jax.history import Progress, TransferResult
from nst_jax.images import MAX_PIXELS, ImageError, check_output, read_image, write_image
from nst_jax.lanes import Callback
from nst_jax.lock import only_one
from nst_jax.objective import LossWeights
from nst_jax.record import (
    check_hashes,
    check_same,
    describe_inputs,
    describe_machine,
    describe_network,
    describe_result,
    image_metadata,
    write_record,
)
from nst_jax.stopping import Stopped, StopSignals
from nst_jax.transfer import check_sharing, make_key, stylize
from nst_jax.weights import load_weights


@dataclasses.dataclass(frozen=True)
class Job:
    """What to make of which files.

    Args:
        content: The content photograph.
        style: The style image.
        output: The result; its ending decides its format. A JSON file with the same stem is written beside it.
        preset: All settings; `preset.config.init` holds unless `initial` is given.
        initial: Image file to start from.
        seed: Of the noise of `init="noise"`.
        num_devices: Local devices that share the image, by rows.
        layer_weights: Weight of each layer, as a set of weights in a grid says it; None weighs them alike.
        resume: Go on from the checkpoint that a run of the same settings left, if it did.
        overwrite: Whether what is there already may be lost.
        checkpoint_every: Seconds between two checkpoints; 0 writes one only when asked to stop.
        max_pixels: An image of more is refused.
        hashes: SHA-256 that `content`, `style`, `initial` or `network` must have, by those names.
    """

    content: Path
    style: Path
    output: Path
    preset: Preset
    initial: Path | None = None
    seed: int = 0
    num_devices: int = 1
    layer_weights: Mapping[str, float] | None = None
    resume: bool = False
    overwrite: bool = False
    checkpoint_every: float = 60.0
    max_pixels: int = MAX_PIXELS
    hashes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_at_least("--seed", self.seed, 0, LARGEST_SEED)
        check_at_least("--devices", self.num_devices, 1)
        check_checkpoint_every(self.checkpoint_every)
        if self.layer_weights is not None:
            config = self.preset.config
            check_layer_weights("of the record", self.layer_weights, config.content_layers + config.style_layers)

    @property
    def weights(self) -> LossWeights:
        """What each part of the loss counts."""
        preset, chosen = self.preset, self.layer_weights
        layers = (preset.config.content_layers, preset.config.style_layers)
        by_layer = [weights_by_layer(chosen, names) for names in layers] if chosen else []
        return LossWeights(preset.content_weight, preset.style_weight, preset.tv_weight, *by_layer)

    @property
    def record(self) -> Path:
        """The JSON file beside the result."""
        return self.output.with_suffix(".json")

    def at_iteration(self, step: int) -> Path:
        """The image saved at a step on the way."""
        return self.output.with_name(f"{self.output.stem}_at_iteration_{step}.png")

    @property
    def checkpoint(self) -> Checkpoint:
        """What a run that was cut off goes on from; it is removed when the run is finished."""
        return Checkpoint(self.output.with_name(f"{self.output.name}.checkpoint"))

    @property
    def lock(self) -> Path:
        """What a run holds; by the stem, as the record and the images on the way are named."""
        return self.output.with_name(f".{self.output.stem}.lock")


def run_job(job: Job, say: Callable[[str], None], callback: Callback) -> TransferResult | None:
    """Reads the images and the weights, runs the descent, and writes result and record.

    Args:
        job: What to do.
        say: Called with a line that the user should know.
        callback: Called with the progress, as in `stylize`.

    Returns:
        What `stylize` returned; None where the job goes on with a run that was finished already.

    Raises:
        ConfigError, ImageError, WeightsError: The user's input is wrong, or another run writes the same
            output; neither result nor record has been written then.
        Stopped: Ctrl-C or SIGTERM came; the best image until then is written.
    """
    check_output(job.output)
    busy = f"{job.output}: another run is writing it; wait until that has ended, or choose another --output"
    with only_one(job.lock, busy):
        return _run(job, say, callback)


def _run(job: Job, say: Callable[[str], None], callback: Callback) -> TransferResult | None:
    preset, devices = job.preset, jax.local_devices()[: job.num_devices]
    if not 1 <= job.num_devices == len(devices):
        raise ConfigError(f"--devices is {job.num_devices}; it must be between 1 and {len(jax.local_devices())}, which this machine has")
    inputs = {"content": job.content, "style": job.style} | ({"initial": job.initial} if job.initial else {})
    _check_outputs(job, inputs)
    read = partial(read_image, resample=preset.resample, max_pixels=job.max_pixels)
    content = read(job.content, size=preset.size, rows=preset.rows)
    squashed = content.shape[:2]
    style = read(job.style, shape=squashed) if preset.squash_style else read(job.style, size=preset.size, rows=preset.rows)
    initial = read(job.initial, shape=squashed) if job.initial else None
    loaded = load_weights(preset.network, say)
    say(f"network: {loaded.why}")
    if preset.config.scaling == "mean" and not loaded.normalised:
        say("note: the paper's network was activation-normalised, this one is not; make one with 'nst-jax weights normalise'")
    described = {"inputs": describe_inputs(inputs), "network": describe_network(loaded), "height": content.shape[0], "width": content.shape[1]}
    check_hashes({**described["inputs"], "network": described["network"]}, job.hashes)

    check_sharing(content.shape[0], preset.config, devices)
    saved = job.checkpoint.read(say) if job.resume else None
    if saved:
        config, memory = _config_of(saved, preset.config), ""
    elif job.resume and _is_finished(job, _describe(job, preset.config, described)):
        return None
    else:
        config, memory = fitting_config(loaded.params, content, style, preset.config, devices)
        if job.resume:
            say("nothing was saved; the run begins anew")
    if memory:
        say(memory)
    settings = _describe(job, config, described)
    if saved:
        check_same(settings, saved.settings, job.checkpoint.path)
    else:
        job.checkpoint.remove()

    def save_and_report(progress: Progress) -> None:
        if preset.save_every and progress.step % preset.save_every == 0:
            write_image(job.at_iteration(progress.step), np.asarray(progress.image), image_metadata(settings | {"iteration": progress.step}))
        callback(progress)

    with StopSignals(say) as signals:
        keeper = Keeper(job.checkpoint, settings, job.checkpoint_every, lambda: signals.received is not None, say)
        result = stylize(
            loaded.params,
            content,
            style,
            config,
            job.weights,
            key=make_key(job.seed) if config.init == "noise" else None,
            initial=initial,
            callback=save_and_report,
            callback_every=preset.save_every,
            devices=devices,
            start=saved and saved.arrays,
            keep=keeper,
        )
    if result.failure and result.best_step <= 1:  # the last good image is what the run began with
        job.checkpoint.remove()
        raise ConfigError(f"{result.failure} (--style-weight, --content-weight, --tv-weight)")
    if result.failure:
        say(f"note: {result.failure}; the best image is that of step {result.best_step}")
    # The record first: without it, nobody could tell whose image is there, and whether the run may go on. It says that the run is finished
    # once the image is there, which may have been another's till then.
    record = {"settings": settings, "output": job.output.name, "finished": False, "reason": str(result.failure) or None}
    record |= describe_result(result)
    write_record(job.record, record)
    write_image(job.output, np.asarray(result.image), image_metadata(settings))
    if not keeper.stopped:
        write_record(job.record, record | {"finished": True})
    if keeper.stopped and signals.received:
        how = "the same command with --resume goes on" if job.checkpoint.exists else "nothing could be saved to go on from"
        raise Stopped(f"stopped at step {int(result.num_steps)} of {config.num_steps}, wrote {job.output}; {how}", signals.received)
    job.checkpoint.remove()
    intermediate = range(preset.save_every, config.num_steps + 1, preset.save_every) if preset.save_every else ()
    for output in (job.output, job.record, *map(job.at_iteration, intermediate)):
        remove_partials(output)  # of a run that was killed
    return result


def _check_outputs(job: Job, inputs: Mapping[str, Path]) -> None:
    if job.record.is_dir():
        raise ImageError(f"{job.record}: is a folder, where the record of the run would go; choose another --output")
    pattern = glob.escape(job.output.stem) + "_at_iteration_*.png"
    intermediate = sorted(job.output.parent.glob(pattern)) if job.preset.save_every else []
    weights = {"network": Path(job.preset.network)} if job.preset.network else {}
    for name, path in {**inputs, **weights}.items():
        for output in (job.output, job.record, *intermediate):
            if output.exists() and path.is_file() and os.path.samefile(path, output):
                what = "file of the network" if name == "network" else f"{name} image"
                raise ImageError(f"{output}: is the {what}, which would be lost; choose another --output")
    if job.overwrite or job.resume:
        return
    if job.checkpoint.exists:
        raise ConfigError(f"{job.checkpoint.path}: a run was cut off; pass --resume to go on with it, or --overwrite to begin anew")
    for output in (job.output, job.record, *intermediate):
        if output.exists():
            raise ConfigError(f"{output}: is there already; pass --overwrite, or choose another --output")


def _config_of(saved: Saved, config: TransferConfig) -> TransferConfig:
    """The settings of the run to go on with; what was chosen for it by the memory that was free then stays."""
    chosen = {name: saved.settings[name] for name in ("tile", "memory") if name in saved.settings}
    if config.tile:
        chosen.pop("tile", None)
    return dataclasses.replace(config, **chosen)


def _is_finished(job: Job, settings: Mapping[str, Any]) -> bool:
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
        raise ConfigError(f"{job.output}: is there already, of no run that can go on; pass --overwrite, or choose another --output") from error
    check_same({**settings, "tile": None, "memory": None}, {**found, "tile": None, "memory": None}, job.record)
    return is_finished and job.output.exists()


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
                **{name: value for name, value in preset.items() if name not in ("config", "network")},
                **dataclasses.asdict(config),
                **describe_machine(),
            }
        )
    )


def parse_init(text: str) -> tuple[Init | None, Path | None]:
    """What `--init` means: one of the kinds, or the path of an image to start from."""
    for kind in get_args(Init):
        if text == kind:
            return kind, None
    return None, Path(text)
