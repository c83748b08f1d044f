"""One style transfer from files to files, with everything beside the result that it takes to make it again."""

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np

from nst_jax.config import ConfigError, Init, Preset
from nst_jax.files import whole_file
from nst_jax.history import Progress, TransferResult
from nst_jax.images import ImageError, check_output, read_image, write_image
from nst_jax.lanes import Callback
from nst_jax.objective import LossWeights
from nst_jax.transfer import stylize
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
    """

    content: Path
    style: Path
    output: Path
    preset: Preset
    initial: Path | None = None
    seed: int = 0

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
    preset = job.preset
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

    settings = describe(job, loaded, inputs, content.shape)

    def save_and_report(progress: Progress) -> None:
        if preset.save_every and progress.step % preset.save_every == 0:
            name = f"{job.output.stem}_at_iteration_{progress.step}.png"
            write_image(job.output.with_name(name), np.asarray(progress.image), _metadata(settings | {"iteration": progress.step}))
        callback(progress)

    result = stylize(
        loaded.params,
        content,
        style,
        preset.config,
        LossWeights(content=preset.content_weight, style=preset.style_weight, total_variation=preset.tv_weight),
        key=jax.random.key(job.seed),
        initial=initial,
        callback=save_and_report,
        callback_every=preset.save_every,
    )
    if not np.isfinite(result.loss):
        raise ConfigError("the loss is not finite at the first image; make --style-weight, --content-weight or --tv-weight smaller")
    write_image(job.output, np.asarray(result.image), _metadata(settings))
    _write_record(job.record, settings, result)
    return result


def describe(job: Job, loaded: LoadedWeights, inputs: dict[str, Path], shape: tuple[int, ...]) -> dict[str, Any]:
    """Everything that decides the result, as plain values for JSON."""
    preset = dataclasses.asdict(job.preset)
    return {
        "inputs": {name: {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for name, path in inputs.items()},
        "network": {"name": loaded.network, "file": loaded.path.name, "sha256": loaded.sha256, "normalised": loaded.normalised},
        "height": shape[0],
        "width": shape[1],
        "seed": job.seed,
        **{name: value for name, value in preset.items() if name not in ("config", "network")},
        **preset["config"],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("nst-jax", "jax", "jaxlib", "optax", "numpy")}},
        "device": jax.devices()[0].device_kind,
    }


def _metadata(settings: dict[str, Any]) -> dict[str, str]:
    return {"Software": f"nst-jax {settings['versions']['nst-jax']}", "nst_jax": json.dumps(settings)}


def _write_record(path: Path, settings: dict[str, Any], result: TransferResult) -> None:
    lists = jax.tree.map(lambda rows: [None if not np.isfinite(value) else float(value) for value in rows], (result.losses, result.terms))
    losses, terms = lists
    record = {
        "settings": settings,
        "best_loss": float(result.loss),
        "best_step": int(result.best_step),
        "history": {"loss": losses, "content": terms.content, "style": terms.style, "total_variation": terms.total_variation},
    }
    try:
        with whole_file(path) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror or error}); choose another --output") from error


def parse_init(text: str) -> tuple[Init | None, Path | None]:
    """What `--init` means: one of the kinds, or the path of an image to start from."""
    for kind in get_args(Init):
        if text == kind:
            return kind, None
    return None, Path(text)
