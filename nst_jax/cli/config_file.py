"""Commands whose words stand in a file: `--config FILE`, and `--print-config`, which writes one."""

import dataclasses
import itertools
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from tyro.conf import FlagCreatePairsOff, arg

from nst_jax.checks import ConfigError, check_known
from nst_jax.cli.progress import say
from nst_jax.jobs.presets import PRESETS

ConfigFile = Annotated[
    Path | None,
    arg(
        metavar="FILE",
        help=(
            "TOML file of options by their names, such as style-weight = 20; those given win. A "
            "--preset given takes the place of the file's with its values; others of the file stay."
        ),
        help_behavior_hint="",
    ),
]
PrintConfig = Annotated[
    bool,
    FlagCreatePairsOff,
    arg(help="Print all options as such a file, whose paths are from where it is, and end."),
]

_NO_KEYS = ("config", "print_config", "others")
_ONE_OF = ("size", "rows")  # ways to say one thing, of which a command takes one

C = TypeVar("C")


def option_in(words: Sequence[str], name: str) -> str | None:
    """The value that the words give to an option; the last one counts."""
    found = None
    for word, following in itertools.zip_longest(words, words[1:]):
        if word == name:
            found = following
        elif word.startswith(f"{name}="):
            found = word.removeprefix(f"{name}=")
    return found


def read_config(words: Sequence[str], command: type) -> dict[str, Any]:
    """The values in the file that `--config` names among the words.

    Paths in it are from its folder. `style` may be several where the command takes several.

    Args:
        words: A command's words.
        command: Its class, whose fields are the keys.

    Returns:
        Values by the names of the fields; none without such a file.

    Raises:
        ConfigError: The file cannot be read, or a key or a value in it is none of the command's.
    """
    name = option_in(words, "--config")
    if name is None:
        return {}
    path = Path(name)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path}: is no TOML ({' '.join(str(error).split())}); mend it"
        ) from error
    hints, found = _hints(command), {}
    known = [_option(field) for field in hints]
    for key, value in given.items():
        field = key.replace("-", "_")
        try:
            check_known(_option(field), known)
            if field in found:
                raise ConfigError(f"{_option(field)} stands there twice; leave one of the two out")
            found[field] = _converted(value, hints[field], path.parent)
        except msgspec.ValidationError as error:
            said = str(error).replace("`", "").partition(" - at")[0]
            if "enum" in said:
                said = f"{value!r} is none of {', '.join(_words(hints[field]))}"
            raise ConfigError(f"{path}: {key}: {said[:1].lower()}{said[1:]}") from error
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    if set(_ONE_OF) <= found.keys():
        raise ConfigError(f"{path}: size and rows are both given; leave one of the two out")
    for one, other in (_ONE_OF, _ONE_OF[::-1]):
        if option_in(words, f"--{one}") is not None:
            found.pop(other, None)
    return found


def beside_preset(
    given: Mapping[str, Any], words: Sequence[str]
) -> tuple[Mapping[str, Any], str | None]:
    """A file's values beside a preset that the words name, which takes the place of the file's own.

    Values of the file's own preset, as `--print-config` writes them, go with it.

    Args:
        given: From `read_config`.
        words: A command's words.

    Returns:
        The values, and a note which of them stand in the named preset's way, if some do.
    """
    name, before = option_in(words, "--preset"), given.get("preset")
    if name is None or name not in PRESETS:
        return given, None
    own, wanted = (
        {**vars(preset.config), **vars(preset)}
        for preset in (PRESETS[before or "default"], PRESETS[name])
    )
    is_own = lambda field: before is not None and field in own and given[field] == own[field]
    given = {field: value for field, value in given.items() if not is_own(field)}
    named = {
        word.partition("=")[0].replace("_", "-").removeprefix("--").removeprefix("no-")
        for word in words
    }
    held = [
        _option(field)
        for field in given.keys() & wanted.keys()
        if own[field] != wanted[field] != given[field] and _option(field) not in named
    ]
    if not held:
        return given, None
    return given, (
        f"{option_in(words, '--config')} says {', '.join(sorted(held))} otherwise than "
        f"--preset {name}, and counts; leave them out there to have the preset's"
    )


def with_config(default: C, given: Mapping[str, Any]) -> C:
    """A command's defaults, with values from a file for some.

    Args:
        default: The command, a dataclass, some of whose fields are groups of options.
        given: From `read_config`.
    """
    own: dict[str, Any] = {}
    for field in dataclasses.fields(default):  # type: ignore[arg-type]
        value = getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            own[field.name] = with_config(value, given)
        elif field.name in given:
            own[field.name] = given[field.name]
    if hasattr(default, "others") and "style" in own:
        own["style"], *others = own["style"] or (default.style,)  # type: ignore[attr-defined]
        own["others"] = tuple(others)
    return dataclasses.replace(default, **own)  # type: ignore[type-var]


def with_own_styles(parsed: C, default: C) -> C:
    """The command without the further styles of the file, where the words name the first."""
    if (
        hasattr(parsed, "others")
        and parsed.style != default.style  # type: ignore[attr-defined]
        and parsed.others == default.others  # type: ignore[attr-defined]
    ):
        return dataclasses.replace(parsed, others=())  # type: ignore[type-var]
    return parsed


def print_config(command: Any) -> None:
    """Prints all options of a command as a file for `--config`."""
    values = _values(command)
    if hasattr(command, "others"):
        values["style"] = tuple(path for path in (values["style"], *command.others) if path)
    for field in _hints(type(command)):
        if (value := values[field]) is not None:
            say(f"{_option(field)} = {_as_toml(value)}", sys.stdout)


def _values(command: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        found |= _values(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return found


def _hints(command: type) -> dict[str, Any]:
    """The type of each option, those of groups too."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(command).items():
        if dataclasses.is_dataclass(hint):
            found |= _hints(hint)  # type: ignore[arg-type]
        elif name not in _NO_KEYS:
            found[name] = hint
    if hasattr(command, "others"):
        found["style"] = tuple[Path, ...]
    return found


def _option(field: str) -> str:
    return field.replace("_", "-")


def _converted(value: Any, hint: Any, folder: Path) -> Any:
    """A value of a file as the option has it."""
    if get_origin(hint) is tuple:
        value = value if isinstance(value, list) else [value]
        if get_args(hint)[0] is str:  # numbers that are words on the command line
            value = [str(part) if type(part) in (int, float) else part for part in value]
    return msgspec.convert(value, hint, dec_hook=lambda kind, text: _as_path(kind, text, folder))


def _as_path(kind: type, text: Any, folder: Path) -> Path:
    if kind is not Path or not isinstance(text, str):
        raise msgspec.ValidationError(f"Expected `path`, got `{type(text).__name__}`")
    return folder / text


def _words(hint: Any) -> list[str]:
    """The words that a type knows, wherever in it."""
    if get_origin(hint) is Literal:
        return list(map(str, get_args(hint)))
    return [word for part in get_args(hint) for word in _words(part)]


def _as_toml(value: Any) -> str:
    """A value in TOML, whose texts, numbers and lists are JSON's, except for one letter."""
    plain = list(map(str, value)) if _has_paths(value) else value
    text = json.dumps(str(plain) if isinstance(plain, Path) else plain, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def _has_paths(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(part, Path) for part in value)
