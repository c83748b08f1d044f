"""The options that several commands have."""

from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, arg

Resume = Annotated[bool, FlagCreatePairsOff, arg(help="Go on with the run of the same command that was cut off, if there is one.")]


PresetName = Literal["default", "paper", "notebook"]


CompilationCache = Annotated[
    bool, FlagCreatePairsOff, arg(help="Keep no compiled programs in the user's cache folder for the next run.", help_behavior_hint="")
]


MaxPixels = Annotated[int, arg(metavar="NUMBER", help="Refuse images of more, which may be made to fill the memory.")]


PRESETS_OWN = arg(help_behavior_hint="(default: the preset's)")


def values(metavar: str) -> Any:
    return arg(metavar=f"{metavar} …", help_behavior_hint="")


NETWORK_OPTION = arg(
    metavar="vgg19|vgg19-8bit|vgg16|FILE",
    help_behavior_hint=lambda default: f"(default: {'the best VGG-19 to be had, or vgg16' if default == 'None' else default})",
)
"""How commands name a network."""
