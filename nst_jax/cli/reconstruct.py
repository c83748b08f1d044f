"""`nst-jax reconstruct`: the paper's figure 1 of any image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from nst_jax.cli.options import NETWORK_OPTION, CompilationCache, Follow, MaxPixels, MemoryLimit
from nst_jax.cli.study import run_and_report
from nst_jax.config import STYLE_LAYERS, Pooling
from nst_jax.files.images import MAX_PIXELS
from nst_jax.host.compilation_cache import keep_programs
from nst_jax.host.processes import Processes
from nst_jax.jobs.job import StudyJob
from nst_jax.jobs.presets import Preset


@dataclass
class Reconstruct(Follow):
    """Find, from noise, images with the content or the style that single layers see.

    Figure 1 of the paper.
    """

    image: Annotated[Path, Positional, arg(metavar="IMAGE")]
    """The image to reconstruct."""
    output_dir: Annotated[Path, arg(metavar="DIR")]
    """Folder of the results, as that of a study."""
    content_layers: Annotated[
        tuple[str, ...],
        arg(metavar="LAYER …", help_behavior_hint="(default: the five of the paper)"),
    ] = ()
    """Layers whose content is reconstructed, one picture each."""
    style_layers: Annotated[
        tuple[str, ...],
        arg(metavar="LAYERS …", help_behavior_hint="(default: the five of the paper)"),
    ] = ()
    """Sets of layers, joined by +, whose style is reconstructed, one picture each."""
    size: Annotated[int, arg(metavar="PIXELS")] = 256
    """Longest side of the results."""
    num_steps: Annotated[int, arg(metavar="STEPS")] = 200
    """Evaluations of the network for each picture."""
    seed: int = 0
    """Seed of the noise."""
    pooling: Pooling = "avg"
    """How the network pools."""
    network: Annotated[str | None, NETWORK_OPTION] = None
    """Network, or a file with its weights."""
    overwrite: Annotated[bool, FlagCreatePairsOff] = False
    """Make all pictures anew, and replace what is in the folder."""
    max_pixels: MaxPixels = MAX_PIXELS
    memory_limit: MemoryLimit = None
    compilation_cache: CompilationCache = True

    def run(self) -> int:
        if self.compilation_cache:
            keep_programs()
        contents = [(layer,) for layer in self.content_layers]
        styles = [tuple(text.split("+")) for text in self.style_layers]
        if not contents and not styles:
            contents = [(layer,) for layer in RECONSTRUCTED_CONTENT]
            styles = [STYLE_LAYERS[: depth + 1] for depth in range(len(STYLE_LAYERS))]
        axes = {
            "content_layers": [*contents, *[()] * len(styles)],
            "style_layers": [*[()] * len(contents), *styles],
            "seed": [self.seed],
        }
        preset = Preset().replace(
            init="noise",
            coarse_to_fine=False,
            size=self.size,
            num_steps=self.num_steps,
            pooling=self.pooling,
            network=self.network,
            grain_weight=0.0,  # which no layer sees
        )
        title = f"{self.image.stem}: reconstructions from content layers and from style layers"
        how: dict[str, Any] = {
            "title": title,
            "max_pixels": self.max_pixels,
            "overwrite": self.overwrite,
        }
        job = StudyJob(
            (self.image,), (self.image,), self.output_dir, preset, axes, zipped=True, **how
        )
        return run_and_report(job, Processes(), self.show)


RECONSTRUCTED_CONTENT = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")
"""The content layers of the paper's figure 1."""
