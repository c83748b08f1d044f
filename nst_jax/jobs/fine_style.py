"""The style image of a job that has its fine detail from another: a run of its own, made before.

It lies beside the result as `OUTPUT_fine_style.png`, with a record and, while it is being made, a
checkpoint of its own. The job reads it back from there, so that whoever makes the result anew, goes
on with it, or looks at it, has the same image to the last bit.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_jax.descent.fine_style import fine_style_config
from nst_jax.descent.result import Callback, Progress
from nst_jax.files.images import PixelArray, read_image
from nst_jax.jobs.job import Job
from nst_jax.jobs.presets import FINE_UNTIL, Preset
from nst_jax.jobs.style_sizes import style_sides, usual_side
from nst_jax.study.lane import WEIGHTS


def fine_style_job(job: Job) -> Job:
    """The run that makes the style image of a job, in half of its steps.

    Args:
        job: Has the fine style, and one style.

    Raises:
        ConfigError: There is no style layer as fine as its preset says.
        ImageError: A style image cannot be read.
    """
    assert job.fine is not None
    preset, (style,) = job.preset, job.styles
    config = fine_style_config(preset.config, preset.fine_until, "fine_until")
    sizes: dict[str, Any] = {}
    if preset.style_size:  # the style's own; the detail is as large as it is by itself
        (side,) = style_sides(preset, {style.stem: style}, job.max_pixels).values()
        sizes = {"size": side.wanted, "rows": None}
        sizes["style_size"] = (str(usual_side(preset, job.fine, job.max_pixels)),)
    preset = dataclasses.replace(
        preset,
        config=dataclasses.replace(config, num_steps=max(config.num_steps // 2, 1)),
        **dict.fromkeys(set(WEIGHTS) - {"content_weight", "style_weight", "grain_weight"}, 0.0),
        squash_style=False,
        fine_until=FINE_UNTIL,
        keep_alpha=False,
        save_every=0,
        **sizes,
    )
    return Job(
        content=style,
        styles=(job.fine,),
        output=job.fine_output,
        preset=preset,
        num_devices=_num_sharing(job.num_devices, style, preset, job.max_pixels),
        resume=job.resume,
        overwrite=job.overwrite,
        checkpoint_every=job.checkpoint_every,
        max_pixels=job.max_pixels,
    )


def _num_sharing(most: int, style: Path, preset: Preset, max_pixels: int) -> int:
    """How many devices share the rows of the style, which go round others than the picture's."""
    if most == 1:
        return 1
    image = read_image(
        style,
        size=preset.size,
        rows=preset.rows,
        resample=preset.resample,
        max_pixels=max_pixels,
    )
    return max(count for count in range(1, most + 1) if len(image) % count == 0)


def read_fine_style(job: Job, shape: tuple[int, int]) -> Mapping[str, PixelArray]:
    """The style of a job by its name: the image that `fine_style_job` has made.

    Args:
        job: The job.
        shape: Height and width of its result, to which it may ask styles to be squashed.
    """
    preset, (style,) = job.preset, job.styles
    wanted = shape if preset.squash_style else None
    how: dict[str, Any] = {"resample": preset.resample, "max_pixels": job.max_pixels}
    return {style.stem: read_image(job.fine_output, shape=wanted, **how)}


def as_one_run(show: Callback, preset: Preset) -> tuple[Callback, Callback]:
    """Callbacks of a fine style's run and of the job's own, which show both as one to another."""
    own = preset.config.num_steps
    first = max(own // 2, 1)
    share = first / (first + own)

    def of_style(seen: Progress) -> None:
        show(seen._replace(num_steps=seen.num_steps + own, done=share * seen.done))

    def of_job(seen: Progress) -> None:
        done = share + (1 - share) * seen.done
        steps = seen.step + first, seen.num_steps + first
        show(seen._replace(step=steps[0], num_steps=steps[1], done=done))

    return of_style, of_job
