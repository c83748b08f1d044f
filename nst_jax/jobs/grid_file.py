"""Files that say what a study varies: TOML or JSON."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nst_jax.checks import ConfigError, check_known
from nst_jax.study.lane import AXES, NUMBERS_AXES


@dataclass(frozen=True)
class GridFile:
    """What such a file says.

    Args:
        contents: Content images; empty where it names none.
        styles: Style images, likewise.
        axes: As in `make_grid`.
        zipped: As in `make_grid`.
    """

    contents: tuple[Path, ...]
    styles: tuple[Path, ...]
    axes: dict[str, Any]
    zipped: bool


def read_grid_file(path: Path) -> GridFile:
    """Reads a grid from a TOML or, where the name ends so, a JSON file.

    Its keys are `content` and `style` (paths, from the file's folder), `zip` (true or false), and
    the axes of `make_grid`, each one value or a list. A value of `content_layers` or `style_layers`
    is a list of layers, `layer_weights` a table of tables.

    Raises:
        ConfigError: The file cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        given = (
            json.loads(text, object_pairs_hook=_each_once)
            if path.suffix.lower() == ".json"
            else tomllib.loads(text)
        )
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path}: is neither TOML nor, with a name in .json, JSON "
            f"({' '.join(str(error).split())}); mend it"
        ) from error
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: must hold keys and values, such as style_weight = [5, 20, 80]")
    known = (*(name for name in AXES if name != "loss"), "zip")  # no file can hold a loss
    for key in given:
        try:
            check_known(key, known)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    images = {}
    for name in ("content", "style"):
        texts = given.pop(name, [])
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"{path}: {name} must be a path or a list of paths")
        images[name] = tuple(path.parent / text for text in texts)
    zipped = given.pop("zip", False)
    if not isinstance(zipped, bool):
        raise ConfigError(f"{path}: zip is {zipped!r}; it must be true or false")
    return GridFile(
        images["content"],
        images["style"],
        {name: _as_axis(name, value) for name, value in given.items()},
        zipped,
    )


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError("a key stands there twice")  # which TOML forbids as well
    return given


def _as_axis(name: str, value: Any) -> Any:
    one = str if name.endswith("_layers") else int | float if name in NUMBERS_AXES else None
    if one and isinstance(value, list) and all(isinstance(part, one) for part in value):
        return [value]  # one set of layers, or one mixture, not a list of such
    return value if isinstance(value, list | dict) else [value]
