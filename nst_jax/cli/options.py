"""The options that several commands have, made of the classes that hold the settings."""

import dataclasses
import logging
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_type_hints

from docstring_parser import parse
from tyro.conf import FlagCreatePairsOff, arg

from nst_jax.checks import ConfigError
from nst_jax.config import TransferConfig
from nst_jax.jobs.presets import Preset
from nst_jax.objective.weights import TermWeights
from nst_jax.study.lane import AXES, NUMBERS_AXES, WEIGHTS


@dataclasses.dataclass(kw_only=True)
class Talk:
    """How much a command tells."""

    quiet: Annotated[bool, FlagCreatePairsOff] = False
    """Tell nothing but notes, errors, and what was written."""
    verbose: Annotated[bool, FlagCreatePairsOff] = False
    """Tell also what is of interest where something is slow or wrong."""
    json_lines: Annotated[bool, FlagCreatePairsOff] = False
    """Tell progress and outcome to a program, as JSON, an object a line, on standard output."""


@dataclasses.dataclass(kw_only=True)
class Follow(Talk):
    """How a command that takes long can be followed."""

    show: Annotated[bool, FlagCreatePairsOff] = False
    """Serve a page, to browsers on this machine alone, that shows picture, loss and time left."""


def level_of(command: Any) -> int:
    """The level of what a command tells."""
    if not isinstance(command, Talk):
        return logging.INFO
    if command.quiet or command.json_lines:
        return logging.WARNING
    return logging.DEBUG if command.verbose else logging.INFO


Resume = Annotated[
    bool,
    FlagCreatePairsOff,
    arg(help="Go on with the run of the same command that was cut off, if there is one."),
]


PresetName = Literal["default", "best", "paper", "notebook", "photorealistic"]


CompilationCache = Annotated[
    bool,
    FlagCreatePairsOff,
    arg(
        help="Keep no compiled programs in the user's cache folder for the next run.",
        help_behavior_hint="",
    ),
]


MaxPixels = Annotated[
    int, arg(metavar="NUMBER", help="Refuse images of more, which may be made to fill the memory.")
]


MemoryLimit = Annotated[
    float | None,
    arg(
        metavar="GB",
        help="Take no more memory, in tiles where it needs be.",
        help_behavior_hint="(default: what is free)",
    ),
]


def memory_limit_of(command: Any) -> int | None:
    """The bytes that a command may take, if it says so.

    Raises:
        ConfigError: They are none.
    """
    limit = getattr(command, "memory_limit", None)
    if limit is None:
        return None
    if not 0 < limit < float("inf"):
        raise ConfigError(f"--memory-limit is {limit}; it must be a positive number of gigabytes")
    return int(limit * 1e9)


NETWORK_OPTION = arg(
    metavar="vgg19|vgg19-8bit|vgg16|FILE",
    help_behavior_hint=lambda default: (
        f"(default: {'the best VGG-19 to be had, or vgg16' if default == 'None' else default})"
    ),
)
"""How commands name a network."""

_PIXELS = arg(
    metavar="PIXELS",
    help_behavior_hint=lambda default: "" if default == "None" else f"(default: {default})",
)

_SIZES = arg(metavar="PIXELS|FACTORx ...", help_behavior_hint="(default: as the content)")

_SHARES = arg(metavar="SHARE ...", help_behavior_hint="(default: equal)")

_LOOKS = {
    "size": arg(
        metavar="PIXELS|original",
        help_behavior_hint=lambda default: f"(default: {str(default).replace('None', 'original')})",
    ),
    "rows": _PIXELS,
    "network": NETWORK_OPTION,
    "style_size": _SIZES,
    "style_mix": _SHARES,
    "fine_until": arg(metavar="LAYER"),
    "dpi": arg(metavar="NUMBER", help_behavior_hint=""),
}

Side = int | Literal["original"] | None
"""The longest side of a picture, in pixels or as the photograph has it."""


def _settings() -> dict[str, tuple[Any, str]]:
    """The type of each setting, and what its class says of it."""
    found = {}
    for kind in (TermWeights, Preset, TransferConfig):
        hints = get_type_hints(kind)
        for param in parse(kind.__doc__ or "").params:
            if param.arg_name != "config":
                said = (param.description or "").replace("\n", " ")
                found[param.arg_name] = hints[param.arg_name], said
    return found


_IN_GROUP = {
    "Picture": ("size", "rows", "resample", "init", "border", "keep_alpha", "save_every"),
    "Loss": (
        *WEIGHTS,
        *("content_layers", "style_layers", "content_loss", "style_loss"),
        *("scaling", "pooling", "octaves", "balance"),
    ),
    "Styles": ("style_mix", "style_size", "style_turns", "squash_style", "colours", "fine_until"),
    "Files": ("bits", "quality", "dpi"),
}


def _group(name: str, fields: Iterable[str]) -> Any:
    """A class with some settings, each of which is an option."""
    settings = _settings()
    own = []
    for field in fields:
        hint, said = settings[field]
        hint = Side if field == "size" else hint
        own.append((field, Annotated[hint, _LOOKS.get(field, arg()), arg(help=said)]))
    return dataclasses.make_dataclass(name, own, frozen=True)


Picture, Loss, Styles, Files = (_group(name, fields) for name, fields in _IN_GROUP.items())
Descent: Any = _group(
    "Descent", [name for name in _settings() if name not in sum(_IN_GROUP.values(), ())]
)
"""All other settings: how the picture is found."""

Likeness: Any = _group(
    "Likeness", ("grain_weight", "neighbours_weight", "style_layers", "style_loss", "octaves")
)
"""What a texture has of its sources."""


def of_preset(group: Any, preset: Preset) -> Any:
    """Some of a preset's settings, as defaults."""
    values = {**vars(preset.config), **vars(preset)}
    return group(**{field.name: values[field.name] for field in dataclasses.fields(group)})


def as_preset(groups: Iterable[Any], preset: Preset) -> Preset:
    """The preset that the options describe, whose other settings are those of `preset`.

    Of the longest side and the height, the one that differs from the preset's counts.

    Raises:
        ConfigError: A value cannot be.
    """
    values = {name: value for group in groups for name, value in vars(group).items()}
    if values.get("size") == "original":
        return preset.replace(**values | {"size": None, "rows": None})
    given = preset.replace(**values)
    is_new = {name: getattr(given, name) != getattr(preset, name) for name in ("size", "rows")}
    if is_new["size"]:
        return given.replace(rows=None)
    return given.replace(size=None) if is_new["rows"] else given


_JOINED = {
    "content_layers": "conv2_2+conv4_2",
    "style_layers": "conv1_1+conv2_1",
    "style_mix": "3+7",
    "coarse_steps": "0.2+0.1",
    "style_size": "300+0.5x",
}
"""The axes each of whose values is several, and an example of one."""


def _axes() -> Any:
    """A class with a field for each axis that words can name, of any number of values."""
    settings = {"seed": (int, "Seed of the noise of --init noise."), **_settings()}
    own = []
    for name in AXES:
        if name in settings:
            hint, said = settings[name]
            how = f" Joined by +, such as {_JOINED[name]}." if name in _JOINED else ""
            look = arg(help=said + how, help_behavior_hint="")
            value = str if name in _JOINED else hint
            own.append((name, Annotated[tuple[value, ...], look], dataclasses.field(default=())))
    return dataclasses.make_dataclass("Axes", own, frozen=True)


Axes: Any = _axes()
"""What a study can vary, as options of any number of values."""


def axes_of(options: Any) -> dict[str, Any]:
    """The axes that options of `Axes` give values to."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {name: _split(name, values) for name, values in given.items() if values}


def _split(name: str, values: Any) -> Any:
    if name not in _JOINED:
        return values
    parts = [tuple(text.split("+")) for text in values]
    if name not in NUMBERS_AXES:
        return parts
    try:
        return [tuple(map(float, shares)) for shares in parts]
    except ValueError as error:
        raise ConfigError(
            f"{name} is {' '.join(values)}; give numbers joined by +, such as {_JOINED[name]}"
        ) from error
