"""One style transfer from files to files, with everything beside the result that it takes to make it again."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np

from nst_jax.config import ConfigError, Init, Preset
from nst_jax.fit import fitting_config
from nst_jax.history import Progress, TransferResult
from nst_jax.images import ImageError, check_output, read_image, write_image
from nst_jax.lanes import Callback
from nst_jax.objective import LossWeights
from nst_jax.record import describe_inputs, describe_machine, describe_network, describe_result, image_metadata, write_record
from nst_jax.transfer import check_sharing, stylize
from nst_jax.weights import LoadedWeights, load_weights


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
    """

    content: Path
    style: Path
    output: Path
    preset: Preset
    initial: Path | None = None
    seed: int = 0
    num_devices: int = 1

    def __post_init__(self) -> None:
        for name, weight in self._weights().items():
            if not 0 <= weight < float("inf"):
                raise ConfigError(f"--{name}-weight is {weight}; it must be a finite number, at least 0")
        if self.preset.save_every < 0:
            raise ConfigError(f"--save-every is {self.preset.save_every}; it must be at least 0, which saves the result alone")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"--seed is {self.seed}; it must be between 0 and {2**32 - 1}")

    def _weights(self) -> dict[str, float]:
        return {"content": self.preset.content_weight, "style": self.preset.style_weight, "tv": self.preset.tv_weight}

    @property
    def record(self) -> Path:
        """The JSON file beside the result."""
        return self.output.with_suffix(".json")


def run_job(job: Job, say: Callable[[str], None], callback: Callback) -> TransferResult:
    """Reads the images and the weights, runs the descent, and writes result and record.

    Args:
        job: What to do.
        say: Called with a line that the user should know.
        callback: Called with the progress, as in `stylize`.

    Returns:
        What `stylize` returned.

    Raises:
        ConfigError, ImageError, WeightsError: The user's input is wrong; neither result nor record has been written then.
    """
    preset, devices = job.preset, jax.local_devices()[: job.num_devices]
    if not 1 <= job.num_devices == len(devices):
        raise ConfigError(f"--devices is {job.num_devices}; it must be between 1 and {len(jax.local_devices())}, which this machine has")
    inputs = {"content": job.content, "style": job.style} | ({"initial": job.initial} if job.initial else {})
    check_output(job.output)
    if job.record.is_dir():
        raise ImageError(f"{job.record}: is a folder, where the record of the run would go; choose another --output")
    how: dict[str, Any] = {"size": preset.size, "rows": preset.rows, "resample": preset.resample}
    content = read_image(job.content, **how)
    squash: dict[str, Any] = {"shape": content.shape[:2], "resample": preset.resample}
    style = read_image(job.style, **(squash if preset.squash_style else how))
    initial = read_image(job.initial, **squash) if job.initial else None
    for name, path in inputs.items():
        if job.output.exists() and os.path.samefile(path, job.output):
            raise ImageError(f"{job.output}: is the {name} image, which would be lost; choose another --output")
    loaded = load_weights(preset.network, say)
    say(f"network: {loaded.why}")
    if preset.config.scaling == "mean" and not loaded.normalised:
        say("note: the paper's network was activation-normalised, this one is not; make one with 'nst-jax weights normalise'")

    check_sharing(content.shape[0], preset.config, devices)
    config, memory = fitting_config(loaded.params, content, style, preset.config, devices)
    if memory:
        say(memory)
    job = dataclasses.replace(job, preset=dataclasses.replace(preset, config=config))
    settings = _describe(job, loaded, inputs, content.shape)

    def save_and_report(progress: Progress) -> None:
        if preset.save_every and progress.step % preset.save_every == 0:
            name = f"{job.output.stem}_at_iteration_{progress.step}.png"
            write_image(job.output.with_name(name), np.asarray(progress.image), image_metadata(settings | {"iteration": progress.step}))
        callback(progress)

    result = stylize(
        loaded.params,
        content,
        style,
        config,
        LossWeights(content=preset.content_weight, style=preset.style_weight, total_variation=preset.tv_weight),
        key=jax.random.key(job.seed),
        initial=initial,
        callback=save_and_report,
        callback_every=preset.save_every,
        devices=devices,
    )
    if result.failure and result.best_step <= 1:
        raise ConfigError(f"{result.failure} (--style-weight, --content-weight, --tv-weight)")
    if result.failure:
        say(f"note: {result.failure}; the best image is that of step {result.best_step}")
    write_image(job.output, np.asarray(result.image), image_metadata(settings))
    write_record(job.record, {"settings": settings, **describe_result(result)})
    return result


def _describe(job: Job, loaded: LoadedWeights, inputs: dict[str, Path], shape: tuple[int, ...]) -> dict[str, Any]:
    """Everything that decides the result, as plain values for JSON."""
    preset = dataclasses.asdict(job.preset)
    return {
        "inputs": describe_inputs(inputs),
        "network": describe_network(loaded),
        "height": shape[0],
        "width": shape[1],
        "seed": job.seed,
        "num_devices": job.num_devices,
        **{name: value for name, value in preset.items() if name not in ("config", "network")},
        **preset["config"],
        **describe_machine(),
    }


def parse_init(text: str) -> tuple[Init | None, Path | None]:
    """What `--init` means: one of the kinds, or the path of an image to start from."""
    for kind in get_args(Init):
        if text == kind:
            return kind, None
    return None, Path(text)
