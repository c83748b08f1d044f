"""The options that several commands have, made of the classes that hold the settings."""

import dataclasses
import logging
from typing import Annotated, Any, Literal, get_type_hints

from docstring_parser import parse
from tyro.conf import FlagCreatePairsOff, arg

from nst_jax.config import ConfigError, TransferConfig
from nst_jax.jobs.presets import PRESETS, Preset
from nst_jax.study.lane import AXES


@dataclasses.dataclass(kw_only=True)
class Talk:
    """How much a command tells."""

    quiet: Annotated[bool, FlagCreatePairsOff] = False
    """Tell nothing but notes, errors, and what was written."""
    verbose: Annotated[bool, FlagCreatePairsOff] = False
    """Tell also what is of interest where something is slow or wrong."""


def level_of(command: Any) -> int:
    """The level of what a command tells."""
    if not isinstance(command, Talk):
        return logging.INFO
    return logging.WARNING if command.quiet else logging.DEBUG if command.verbose else logging.INFO


Resume = Annotated[
    bool,
    FlagCreatePairsOff,
    arg(help="Go on with the run of the same command that was cut off, if there is one."),
]


PresetName = Literal["default", "paper", "notebook"]


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


def _dressed(kind: Any, **looks: Any) -> Any:
    """A dataclass as it is, but for how the command line shows some of its fields."""
    hints = get_type_hints(kind)
    own = [
        (field.name, Annotated[hints[field.name], looks[field.name]], field)
        for field in dataclasses.fields(kind)
        if field.name in looks
    ]
    made = dataclasses.make_dataclass(kind.__name__, own, bases=(kind,), frozen=True)
    made.__doc__ = kind.__doc__
    return made


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

PresetOptions: Any = _dressed(
    Preset, size=_PIXELS, rows=_PIXELS, network=NETWORK_OPTION, style_size=_SIZES
)
"""`Preset`, each of whose fields is an option, and so are those of its config."""


def preset_options(name: PresetName) -> Preset:
    """A preset as the default of `PresetOptions`."""
    preset = PRESETS[name]
    return PresetOptions(
        **{field.name: getattr(preset, field.name) for field in dataclasses.fields(preset)}
    )


_JOINED = {
    "content_layers": "conv2_2+conv4_2",
    "style_layers": "conv1_1+conv2_1",
    "style_mix": "3+7",
}
"""The axes each of whose values is several, and an example of one."""


def _axes() -> Any:
    """A class with a field for each axis that words can name, of any number of values."""
    hints, said = {"seed": int}, {"seed": "Seed of the noise of --init noise."}
    for kind in (Preset, TransferConfig):
        hints |= get_type_hints(kind)
        said |= {
            param.arg_name: param.description or "" for param in parse(kind.__doc__ or "").params
        }
    own = []
    for name in AXES:
        if name in hints:
            how = f" Joined by +, such as {_JOINED[name]}." if name in _JOINED else ""
            value = str if name in _JOINED else hints[name]
            look = arg(help=said[name].replace("\n", " ") + how, help_behavior_hint="")
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
    if name != "style_mix":
        return parts
    try:
        return [tuple(map(float, shares)) for shares in parts]
    except ValueError as error:
        raise ConfigError(
            f"style_mix is {' '.join(values)}; give numbers joined by +, such as 3+7"
        ) from error
