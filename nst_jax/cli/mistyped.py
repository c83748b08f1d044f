"""Commands and options that were mistyped, and those that they are near."""

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from nst_jax.checks import ConfigError
from nst_jax.cli.demo import Demo
from nst_jax.cli.evaluate import Evaluate
from nst_jax.cli.reconstruct import Reconstruct
from nst_jax.cli.rerun import Rerun
from nst_jax.cli.study import Study
from nst_jax.cli.stylize import Stylize
from nst_jax.cli.texture import Texture
from nst_jax.cli.weights import WEIGHTS_COMMANDS

_COMMANDS: dict[str, Any] = {
    kind.__name__.lower(): kind
    for kind in (Demo, Stylize, Texture, Rerun, Study, Reconstruct, Evaluate)
}
_COMMANDS |= {
    f"weights {choice.__metadata__[0].name}": choice.__origin__
    for choice in get_args(WEIGHTS_COMMANDS)
}


def check_command(argv: Sequence[str]) -> None:
    """Makes sure that the words begin with a command, if with a word at all.

    Raises:
        ConfigError: They begin with another; the message names the nearest command.
    """
    words = [*argv[: 2 if argv[:1] == ["weights"] else 1]]
    is_named = bool(words) and not words[-1].startswith("-") and words != ["weights"]
    if is_named and " ".join(words) not in _COMMANDS:
        near = _nearest(" ".join(words), _COMMANDS)
        raise ConfigError(with_help(f"unknown command {' '.join(words)!r}{near}", []))


def with_help(message: str, argv: Sequence[str]) -> str:
    """A message that ends with where to read on, after a question in a sentence of its own."""
    see = " See" if message.endswith("?") else "; see"
    return f"{message}{see} nst-jax {command_in(argv)}--help"


def command_in(argv: Sequence[str]) -> str:
    """The command in use with a space behind it; nothing where there is none."""
    for count in (2, 1):
        name = " ".join(argv[:count])
        if name in _COMMANDS or name == "weights":
            return f"{name} "
    return ""


def nearest_option(argv: Sequence[str]) -> str:
    """Which option of the command in use an unknown one is near, as the end of a message."""
    kind = _COMMANDS.get(command_in(argv).strip())
    known = list(_options_of(kind)) if kind else []
    for word in argv:
        option = word.partition("=")[0].replace("_", "-")
        if option.startswith("--") and option not in known:
            return _nearest(option, known)
    return ""


def _options_of(kind: Any) -> Iterator[str]:
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.type):
            yield from _options_of(field.type)
        else:
            name = field.name.replace("_", "-")
            yield from (f"--{name}", f"--no-{name}")


def _nearest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]}?" if near else ""
