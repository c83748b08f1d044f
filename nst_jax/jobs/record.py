"""The records that lie beside results: their schema.

There are three: of a run, of a lane of a study, and of a study. The fields of `TransferConfig`,
`Preset` and `Lane` lie in them by their own names, so a new field of those is in the records, too.
A record has every field, of the right type, and no other.
"""

from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, UnsetType

from nst_jax.config import TransferConfig
from nst_jax.jobs.parts import Part, beside, fields_of, values_of
from nst_jax.jobs.presets import Preset
from nst_jax.objective.weights import TermWeights
from nst_jax.study.lane import OF_THE_DEFAULT_LOSS, Lane

Name = Annotated[str, Meta(pattern="^[^\0]*$")]
"""What can be a file's name or path."""


class File(Part):
    """Where a file was, and its SHA-256."""

    path: Name
    sha256: str


class Network(Part):
    """Where the parameters came from.

    Args:
        name: Of the network, or of the published file that they are from.
        file: The name of the file that they were read from.
        path: Where it was.
        sha256: Its hash.
        normalised: Whether its activations were normalised.
    """

    name: Name
    file: Name
    path: Name
    sha256: str
    normalised: bool


class RunInputs(Part):
    """The images that a run or a lane is made of."""

    style: File | Annotated[tuple[File, ...], Meta(min_length=2)]
    content: File | UnsetType = UNSET  # a texture has none
    mask: tuple[File, ...] | UnsetType = UNSET
    region_maps: Annotated[tuple[File, ...], Meta(min_length=2)] | UnsetType = UNSET
    keep: File | UnsetType = UNSET
    fine: File | UnsetType = UNSET
    initial: File | UnsetType = UNSET

    @property
    def styles(self) -> tuple[File, ...]:
        """The style images, also where there is one."""
        return self.style if isinstance(self.style, tuple) else (self.style,)


class StudyInputs(Part):
    """The images that a study is made of, by name, and those of areas as of a run."""

    content: Annotated[dict[str, File], Meta(min_length=1)]
    style: Annotated[dict[str, File], Meta(min_length=1)]
    mask: tuple[File, ...] | UnsetType = UNSET
    region_maps: Annotated[tuple[File, ...], Meta(min_length=2)] | UnsetType = UNSET
    keep: File | UnsetType = UNSET


IN_COMMON = ("size", "rows", "resample", "squash_style", "keep_alpha", "bits", "quality", "dpi")
"""Of a preset, how the images of all lanes of a study are read, and pictures written."""


@beside(fields_of(Preset, leave_out=("config", "network")), fields_of(TransferConfig))
class RunSettings(Part):
    """Everything that decides the result of a run.

    Beside these, the fields of its preset.
    """

    inputs: RunInputs
    network: Network
    height: int
    width: int
    seed: int
    num_devices: int
    versions: dict[str, str]
    device: str
    weights_by_layer: dict[str, float] | UnsetType = UNSET

    def __post_init__(self) -> None:
        self.preset()

    def preset(self, network: str | None = None) -> Preset:
        """The settings as a preset with that network.

        Raises:
            ConfigError: A value cannot be.
        """
        return _preset_of(self, network)


@beside(
    fields_of(Lane, leave_out=("config", "weights")),
    fields_of(TermWeights, or_none=OF_THE_DEFAULT_LOSS),
    fields_of(TransferConfig, or_none=OF_THE_DEFAULT_LOSS),
)
class LaneValues(Part):
    """What a lane has on each axis: the fields of `Lane`, of its weights and of its config."""


@beside(
    fields_of(Preset, IN_COMMON),
    fields_of(Lane, leave_out=("config", "weights", "seed")),
    fields_of(TermWeights, or_none=OF_THE_DEFAULT_LOSS),
    fields_of(TransferConfig, or_none=OF_THE_DEFAULT_LOSS),
)
class LaneSettings(Part):
    """Everything that decides the result of a lane.

    Beside these, what it has on each axis, and how its images are read.
    """

    network: Network
    height: int
    width: int
    inputs: RunInputs
    seed: int
    weights_by_layer: dict[str, float] | UnsetType = UNSET
    terms: dict[str, dict[str, Any]] | UnsetType = UNSET  # of a loss of the study's own

    def __post_init__(self) -> None:
        if self.terms is UNSET:
            self.preset()

    def preset(self, network: str | None = None) -> Preset:
        """As of a run; the lane must have the default loss.

        Raises:
            ConfigError: A value cannot be.
        """
        return _preset_of(self, network)


def _preset_of(settings: RunSettings | LaneSettings, network: str | None) -> Preset:
    config = TransferConfig(**values_of(settings, TransferConfig))
    own = values_of(settings, Preset, leave_out=("config", "network"))
    return Preset(config=config, network=network, **own)


@beside(
    fields_of(Preset, IN_COMMON),
    fields_of(Lane, leave_out=("config", "weights"), or_unset=True),
    fields_of(TermWeights, or_none=OF_THE_DEFAULT_LOSS, or_unset=True),
    fields_of(TransferConfig, or_none=OF_THE_DEFAULT_LOSS, or_unset=True),
)
class StudySettings(Part):
    """What all lanes of a study have in common.

    Beside these, how the images are read, and what does not vary.
    """

    network: Network
    height: int
    width: int
    inputs: StudyInputs
    versions: dict[str, str]
    device: str


@beside(fields_of(TransferConfig))
class ConfigRecord(Part):
    """The fields of a `TransferConfig`."""


@beside(fields_of(Preset, leave_out=("config",)))
class PresetRecord(Part):
    """The fields of a `Preset`."""

    config: ConfigRecord

    def __post_init__(self) -> None:
        self.preset()

    def preset(self) -> Preset:
        """The preset itself.

        Raises:
            ConfigError: A value cannot be.
        """
        config = TransferConfig(**values_of(self.config, TransferConfig))
        return Preset(config=config, **values_of(self, Preset, leave_out=("config",)))


Axis = list[str | int | float | bool | list[str | float]] | dict[str, dict[str, Any]]
"""The values of an axis; sets of weights, and losses, by name."""


class StudyDescription(Part):
    """What it takes, beside the images, to make a study again."""

    preset: PresetRecord
    axes: dict[str, Axis]
    zipped: bool
    evaluate: bool | UnsetType = UNSET


class History(Part):
    """What was seen at each evaluation.

    Args:
        size: Longest side of the image in pixels.
        loss: The loss; None where it was not finite.
        terms: The parts of each term, likewise.
    """

    size: list[int]
    loss: list[float | None]
    terms: dict[str, dict[str, list[float | None]]]


class Ran(Part):
    """When and how a result was made.

    Args:
        started: When the command that ended it began, or the lane, by ISO 8601 in UTC.
        seconds: How long it took.
        command: The command, of absolute paths the last names alone; of Python there is none.
    """

    started: str
    seconds: float
    command: str | UnsetType = UNSET


class RunRecord(Part):
    """What lies beside the picture of a run."""

    KIND: ClassVar = "a run"

    settings: RunSettings
    output: Name
    finished: bool
    reason: str | None
    best_loss: float | None
    best_step: int
    history: History
    ran: Ran | UnsetType = UNSET


class LaneRecord(Part):
    """What lies beside the picture of a lane; its evaluation is `Evaluation.numbers()`."""

    KIND: ClassVar = "a lane"

    output: Name
    coordinates: dict[str, str]
    lane: LaneValues
    status: Annotated[str, Meta(pattern="^(converged|failed|finished)$")]
    reason: str | None
    steps: int
    seconds: float
    lpips: float | None
    best_loss: float | None
    best_step: int
    history: History
    settings: LaneSettings
    versions: dict[str, str]
    device: str
    evaluation: dict[str, float | None] | UnsetType = UNSET
    ran: Ran | UnsetType = UNSET


class StudyRecord(Part):
    """What lies in the folder of a study, and says what its lanes have in common."""

    KIND: ClassVar = "a study"

    title: str
    axes: dict[str, list[str]]
    zipped: bool
    lanes: list[str]
    contents: dict[str, Name]
    styles: dict[str, Name]
    settings: StudySettings
    job: StudyDescription
    ran: Ran | UnsetType = UNSET
