"""What to make of which files: a single run, or a study."""

import dataclasses
import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from nst_jax.checks import LARGEST_SEED, ConfigError, check_at_least
from nst_jax.descent.texture import texture_config
from nst_jax.files.images import MAX_PIXELS
from nst_jax.jobs.checkpoint import Checkpoint, check_checkpoint_every
from nst_jax.jobs.presets import FINE_UNTIL, Preset
from nst_jax.objective.weights import LossWeights
from nst_jax.study.lane import check_layer_weights, weights_by_layer

_ON_THE_WAY = "_at_iteration_"


@dataclasses.dataclass(frozen=True)
class StudyJob:
    """What to make of which files.

    Args:
        contents: Content images; they must come to one size.
        styles: Style images; all are in each picture where there are `masks` or `region_maps`, or a
            mixture.
        output_dir: The folder of the results.
        preset: What all lanes have in common.
        axes: What varies, as in `run_study`; images go by the stems of their names. `style_size`
            is an axis, too, each value a tuple as in `Preset`.
        masks: As in `Job`, of the one content image; and so the next two.
        region_maps: As in `Job`.
        keep: As in `Job`.
        zipped: As in `run_study`.
        lanes_at_once: As in `run_study`.
        title: The report's heading.
        max_pixels: An image of more is refused.
        checkpoint_every: Seconds between two checkpoints of the lanes that run; 0 writes one only
            when asked to stop.
        overwrite: Whether what is there already may be lost; lanes that are there are run again
            then.
        evaluate: Whether lanes are measured against their content and their style; those that are
            there without numbers, too.
        hashes: As in `Job`.
    """

    contents: tuple[Path, ...]
    styles: tuple[Path, ...]
    output_dir: Path
    preset: Preset
    axes: Mapping[str, Sequence[Any] | Mapping[str, Any]]
    masks: tuple[Path, ...] = ()
    region_maps: tuple[Path, ...] = ()
    keep: Path | None = None
    zipped: bool = False
    lanes_at_once: int | None = None
    title: str = ""
    max_pixels: int = MAX_PIXELS
    checkpoint_every: float = 60.0
    overwrite: bool = False
    evaluate: bool = False
    hashes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_checkpoint_every(self.checkpoint_every)
        of_content = self.masks or self.region_maps or self.keep or self.preset.keep_alpha
        if of_content and len(self.contents) > 1:
            raise ConfigError(
                "--mask, --regions, --keep and --keep-alpha are of one photograph, but there are "
                f"{len(self.contents)}; give a study of each"
            )


@dataclasses.dataclass(frozen=True)
class Job:
    """What to make of which files.

    Args:
        content: The content photograph; None for a texture.
        styles: The style images, which `preset.config.style_mix` mixes, or `masks` part.
        output: The result; its ending decides its format. A JSON file with the same stem is written
            beside it.
        preset: All settings; `preset.config.init` holds unless `initial` is given.
        shape: Height and width of a texture; a picture with content has those of the content.
        initial: Image file to start from.
        masks: For each style, where in the picture it is; none where it is everywhere.
        region_maps: The map of the content's regions by colour, then one for each style; none
            where there are no such regions.
        keep: A mask of what stays the content's.
        fine: A style image whose fine detail the style takes on, up to `preset.fine_until`.
        seed: Of the noise of `init="noise"`.
        num_devices: Local devices that share the image, by rows.
        layer_weights: Weight of each layer, as a set of weights in a grid says it; of each style
            layer, where `preset.config.balance` has found it. None weighs them alike, or finds it.
        resume: Go on from the checkpoint that a run of the same settings left, if it did.
        overwrite: Whether what is there already may be lost.
        checkpoint_every: Seconds between two checkpoints; 0 writes one only when asked to stop.
        preview_every: Seconds between two previews, and before the first; 0 writes none.
        max_pixels: An image of more is refused.
        hashes: SHA-256 that images (`content NAME`, `style NAME`, `mask NUMBER`, `region map
            NUMBER`, `keep`, `fine`, `initial`) and the `network` must have; names are the stems of
            the files'.
    """

    content: Path | None
    styles: tuple[Path, ...]
    output: Path
    preset: Preset
    shape: tuple[int, int] | None = None
    initial: Path | None = None
    masks: tuple[Path, ...] = ()
    region_maps: tuple[Path, ...] = ()
    keep: Path | None = None
    fine: Path | None = None
    seed: int = 0
    num_devices: int = 1
    layer_weights: Mapping[str, float] | None = None
    resume: bool = False
    overwrite: bool = False
    checkpoint_every: float = 60.0
    preview_every: float = 15.0
    max_pixels: int = MAX_PIXELS
    hashes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.styles:
            raise ConfigError("there is no style image; give at least one")
        if (self.content is None) == (self.shape is None):
            raise ConfigError("give a content image, or the shape of a texture, one of the two")
        config = self.preset.config
        if self.content is None and config != texture_config(config):
            raise ConfigError(
                "a texture has no content, so content_layers must be empty and init noise"
            )
        self._check_fine()
        check_at_least("--seed", self.seed, 0, LARGEST_SEED)
        check_at_least("--devices", self.num_devices, 1)
        check_checkpoint_every(self.checkpoint_every)
        if self.layer_weights is not None:
            config = self.preset.config
            layers = config.style_layers
            layers = layers if config.balance else config.content_layers + layers
            check_layer_weights("of the record", self.layer_weights, layers)

    def _check_fine(self) -> None:
        if self.fine is None and self.preset.fine_until != FINE_UNTIL:
            raise ConfigError(
                f"fine_until is {self.preset.fine_until}, but there is no --fine-style whose "
                "detail it says; give one, or leave it out"
            )
        if self.fine is not None and len(self.styles) > 1:
            raise ConfigError(
                f"--fine-style gives one style its detail, but the style images are "
                f"{len(self.styles)}; make a new image of each first, by a run of its own"
            )

    @property
    def weights(self) -> LossWeights:
        """What each part of the loss counts."""
        preset, chosen = self.preset, self.layer_weights
        layers = (preset.config.content_layers, preset.config.style_layers)
        by_layer: list[Any] = []
        if chosen and preset.config.balance:  # a layer may be one of the content's, too
            by_layer = [None, chosen]
        elif chosen:
            by_layer = [weights_by_layer(chosen, names) for names in layers]
        return preset.loss_weights(*by_layer)

    @property
    def record(self) -> Path:
        """The JSON file beside the result."""
        return self.output.with_suffix(".json")

    @property
    def fine_output(self) -> Path:
        """The style image that is made where there is a `fine` one."""
        return self.output.with_name(f"{self.output.stem}_fine_style.png")

    def at_iteration(self, step: int) -> Path:
        """The image saved at a step on the way; all that a run saves sort by their names."""
        width = len(str(self.preset.config.num_steps))
        return self.output.with_name(f"{self.output.stem}{_ON_THE_WAY}{step:0{width}}.png")

    def on_the_way(self) -> list[Path]:
        """Images on the way to this output that are there, of whatever run, in order of name."""
        pattern = re.compile(rf"{re.escape(self.output.stem + _ON_THE_WAY)}[0-9]+\.png")
        found = self.output.parent.glob(f"{glob.escape(self.output.stem + _ON_THE_WAY)}*.png")
        return sorted(path for path in found if pattern.fullmatch(path.name) and path.is_file())

    @property
    def preview(self) -> Path:
        """The best image so far, while the run lasts."""
        return self.output.with_name(f"{self.output.stem}_preview.png")

    @property
    def checkpoint(self) -> Checkpoint:
        """What a run that was cut off goes on from; it is removed when the run is finished."""
        return Checkpoint(self.output.with_name(f"{self.output.name}.checkpoint"))

    @property
    def lock(self) -> Path:
        """What a run holds; by the stem, as the record and the images on the way are named."""
        return self.output.with_name(f".{self.output.stem}.lock")
