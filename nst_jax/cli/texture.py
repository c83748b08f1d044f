"""`nst-jax texture`: a texture of any size."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

from nst_jax.cli.options import (
    NETWORK_OPTION,
    CompilationCache,
    Files,
    Follow,
    Likeness,
    MaxPixels,
    MemoryLimit,
    Resume,
    as_preset,
    of_preset,
)
from nst_jax.cli.stylize import run_and_say
from nst_jax.config import Border, TransferConfig
from nst_jax.descent.texture import texture_config
from nst_jax.files.images import MAX_PIXELS
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.jobs.job import Job
from nst_jax.jobs.presets import Preset


@dataclass
class Texture(Follow):
    """Paint a texture of any size that looks like a source, or like several blended."""

    source: Positional[Annotated[Path, arg(metavar="SOURCE")]]
    """An image with the texture."""
    size: Annotated[tuple[int, int], arg(metavar="WIDTH HEIGHT")]
    """Size of the texture in pixels; sides that wrap are multiples of 16."""
    output: Annotated[
        Path | None,
        arg(aliases=["-o"], metavar="FILE", help_behavior_hint="(default: SOURCE_texture.png)"),
    ] = None
    """Result, .png .jpg .webp or .tif; settings and loss history go to a .json beside it."""
    others: Positional[
        Annotated[tuple[Path, ...], arg(metavar="[SOURCE ...]", help_behavior_hint="")]
    ] = ()
    """More sources, which are blended with the first."""
    wrap: Annotated[
        tuple[Literal["x", "y", "both"], ...] | None,
        arg(metavar="[x|y|both]", help_behavior_hint="(default: neither)"),
    ] = None
    """Make a texture that tiles: to the right (x), downwards (y), or, with no value, both ways."""
    seed: int = 0
    """Seed of the noise that the texture grows from."""
    style_mix: Annotated[
        tuple[float, ...], arg(metavar="SHARE …", help_behavior_hint="(default: equal)")
    ] = ()
    """Shares of several sources, in any unit."""
    style_size: Annotated[
        tuple[str, ...],
        arg(metavar="PIXELS|FACTORx ...", help_behavior_hint="(default: 512)"),
    ] = ()
    """Longest side of each source, or of all; larger ones make larger structures."""
    num_steps: Annotated[int, arg(metavar="STEPS")] = 500
    """Evaluations of the network, over all sizes together."""
    likeness: Likeness = field(default_factory=lambda: of_preset(Likeness, Preset()))
    """What the texture has of its sources."""
    network: Annotated[str | None, NETWORK_OPTION] = None
    """Network, or a file with its weights."""
    files: Files = field(default_factory=lambda: of_preset(Files, Preset()))
    """How the result is written."""
    checkpoint_every: Annotated[float, arg(metavar="SECONDS")] = 60.0
    """Save all that it takes to go on so often; 0: only at Ctrl-C or SIGTERM."""
    resume: Resume = False
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Replace a result that is there already."""
    max_pixels: MaxPixels = MAX_PIXELS
    memory_limit: MemoryLimit = None
    compilation_cache: CompilationCache = True

    def _border(self) -> Border:
        if self.wrap is None:
            return "replicate"
        sides = set(self.wrap) or {"both"}
        if "both" in sides or sides == {"x", "y"}:
            return "wrap"
        return "wrap_x" if "x" in sides else "wrap_y"

    def run(self) -> int:
        if self.compilation_cache:
            keep_programs()
        sources, (width, height) = (self.source, *self.others), self.size
        config = texture_config(
            TransferConfig(
                border=self._border(),
                style_mix=self.style_mix,
                num_steps=self.num_steps,
            )
        )
        stems = [path.stem for path in sources]
        return run_and_say(
            Job(
                None,
                sources,
                self.output or Path(f"{'_'.join(stems)}_texture.png"),
                as_preset(
                    [self.likeness, self.files],
                    Preset(config, style_size=self.style_size, network=self.network),
                ),
                (height, width),
                seed=self.seed,
                resume=self.resume,
                overwrite=self.overwrite,
                checkpoint_every=self.checkpoint_every,
                max_pixels=self.max_pixels,
            ),
            self.show,
        )
