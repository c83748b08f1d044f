"""The commands of `nst-jax`: parsing and printing only."""

import contextlib
import dataclasses
import gc
import io
import itertools
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Union

import jax
import tyro
from tyro.conf import subcommand

from nst_jax.checks import ConfigError
from nst_jax.cli.config_file import (
    beside_preset,
    option_in,
    read_config,
    with_config,
    with_own_styles,
)
from nst_jax.cli.demo import Demo
from nst_jax.cli.evaluate import Evaluate
from nst_jax.cli.events import event, tell_events
from nst_jax.cli.lines import LINES, LOOKALIKES, say
from nst_jax.cli.mistyped import check_command, nearest_option, with_help
from nst_jax.cli.options import level_of, memory_limit_of
from nst_jax.cli.reconstruct import Reconstruct
from nst_jax.cli.rerun import Rerun
from nst_jax.cli.study import Study
from nst_jax.cli.stylize import Stylize
from nst_jax.cli.texture import Texture
from nst_jax.cli.weights import WEIGHTS_COMMANDS
from nst_jax.config import TransferConfig
from nst_jax.files.images import ImageError
from nst_jax.host.devices import why_no_devices
from nst_jax.host.memory import is_out_of_memory, limit_memory
from nst_jax.host.stopping import Stopped
from nst_jax.jobs.presets import PRESETS, Preset
from nst_jax.jobs.ran import COMMAND
from nst_jax.weights import WeightsError

_LOG = logging.getLogger("nst_jax")
_OBJECTS_BETWEEN_COLLECTIONS = 100_000
_DESCRIPTION = "Neural style transfer after Gatys, Ecker and Bethge (CVPR 2016)."


_EXAMPLES = """Examples:
  nst-jax stylize photo.jpg painting.jpg --size 768
  nst-jax stylize photos paintings/night.jpg --output-dir painted
  nst-jax study photo.jpg painting.jpg --style-weight 5 20 80

nst-jax COMMAND --help has the options of a command, --version the version.
"""

_NAMES = [field.name for kind in (Preset, TransferConfig) for field in dataclasses.fields(kind)] + [
    "keep",
    "max_pixels",
    "seed",
]
_LONG = "|".join(name for name in _NAMES if "_" in name)
# Where a message says something of a setting; short names are words as well, and keys of files are
# not options.
_SETTING = re.compile(
    rf"(?:^|(?<=: )|(?<=\()|(?<= in )|(?<= of ))({_LONG})(?= is | has | mixes | differs|;|\))"
    rf"|^({'|'.join(_NAMES)})(?= is )"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Words after the program's name; those of the process if left out.

    Returns:
        The exit status: 0, 1 where a run failed or ended early, 2 with one line on standard error
        for input that is wrong, or 128 and the signal's number when stopped.
    """
    if argv is None:  # the process is this program's own
        # What was imported, and what JAX makes while it traces, lives on; to look through it for
        # garbage again and again takes a tenth of the time to the first step.
        gc.freeze()
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        argv = sys.argv[1:]
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # not without a console
                stream.reconfigure(errors=LOOKALIKES)
    before = warnings.showwarning
    warnings.showwarning = lambda message, *rest, **more: _LOG.warning("%s", message)
    level = _LOG.level
    _LOG.addHandler(LINES)
    command = COMMAND.set(["nst-jax", *argv])
    tell_events("--json-lines" in argv)
    try:
        return _run(list(argv))
    finally:
        COMMAND.reset(command)
        limit_memory(None)
        tell_events(False)
        _LOG.removeHandler(LINES)
        _LOG.setLevel(level)
        warnings.showwarning = before


def _run(argv: list[str]) -> int:
    """Runs the command that the words ask for, and returns the exit status."""
    if argv == ["--version"]:
        say(f"nst-jax {version('nst-jax')} (jax {jax.__version__})", sys.stdout)
        return 0
    try:
        stylize, study, note = _defaults(argv)
        parsed = _parse(_commands(stylize, study), argv)
        if isinstance(parsed, Stylize | Study):
            parsed = with_own_styles(parsed, stylize if isinstance(parsed, Stylize) else study)
        if isinstance(parsed, Rerun):  # once more, with the record's settings for those not given
            rerun = Rerun.with_defaults(parsed.record)
            parsed = _parse(_commands(stylize, study, rerun), argv)
        _LOG.setLevel(level_of(parsed))
        if note:
            _LOG.warning(note)
        tell_events(getattr(parsed, "json_lines", False))  # which a file may ask for
        limit_memory(memory_limit_of(parsed))
        return parsed.run() or 0
    except (ConfigError, ImageError, WeightsError) as error:
        return _refuse(_in_options(str(error)))
    except (MemoryError, RuntimeError, AssertionError) as error:
        if is_out_of_memory(error):
            return _refuse("out of memory; pass a smaller --size")
        if (reason := why_no_devices(error)) is None:
            raise
        return _refuse(reason)
    except BrokenPipeError:  # whoever read the output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    # a folder in a file's place, a name too long, a disk that fails: wherever no better line is to
    # be had
    except OSError as error:
        name, reason = error.filename or "a file", error.strerror or error
        return _refuse(f"{name}: {reason}; choose another place")
    except Stopped as stopped:
        say(f"nst-jax: {stopped}")
        event("stopped", message=str(stopped), status=128 + stopped.number)
        return 128 + stopped.number
    except KeyboardInterrupt:
        say("nst-jax: interrupted")
        return 128 + signal.SIGINT


def _refuse(message: str) -> int:
    """Says what is wrong, and returns the exit status."""
    say(f"nst-jax: error: {message}")
    event("error", message=message, status=2)
    return 2


def _commands(stylize: Stylize, study: Study, rerun: Rerun | None = None) -> Any:
    """The type of all commands, some with defaults of their own."""
    return Union[  # noqa: UP007, a type made at run time
        Annotated[Demo, subcommand("demo")],
        Annotated[Stylize, subcommand("stylize", default=stylize)],
        Annotated[Texture, subcommand("texture")],
        Annotated[Rerun, subcommand("rerun", default=rerun or Rerun.with_defaults())],
        Annotated[Study, subcommand("study", default=study)],
        Annotated[Reconstruct, subcommand("reconstruct")],
        Annotated[Evaluate, subcommand("evaluate")],
        Annotated[
            WEIGHTS_COMMANDS,
            subcommand(
                "weights", description="List, fetch, convert or normalise the networks' weights."
            ),
        ],
    ]


def _parse(command: Any, argv: list[str]) -> Any:
    """The command that the words ask for.

    Raises:
        ConfigError: The words are wrong; the parser draws a box around what it says of it, of which
            the first part is taken.
    """
    if {"--size", "--rows"} <= {word.partition("=")[0] for word in argv}:
        raise ConfigError("--size and --rows are both given; leave one of the two out")
    check_command(argv)
    box, of_all = io.StringIO(), io.StringIO()
    is_of_all = argv in (["-h"], ["--help"])
    try:
        with (
            contextlib.redirect_stderr(box),
            contextlib.redirect_stdout(of_all if is_of_all else sys.stdout),
        ):
            return tyro.cli(
                command,
                prog="nst-jax",
                args=argv,
                description=_DESCRIPTION,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as ended:
        if not ended.code:  # after --help
            # The parser breaks no usage, and the names of all commands are too long for a line.
            told = re.sub(r"\{[\w,]+\}", "COMMAND ...", of_all.getvalue(), count=1)
            sys.stdout.write(f"{told.rstrip()}\n\n{_EXAMPLES}" if is_of_all else told)
            raise
        lines = [line.strip("│ ") for line in box.getvalue().splitlines()[1:]]
        told = list(
            itertools.takewhile(lambda line: not line.startswith(("───", "Got errors")), lines)
        )
        said, is_value = re.subn(r"^Error parsing \w[\w.-]*: ", "", " ".join(told).strip())
        if is_value:  # what a class of settings says of one
            raise ConfigError(said) from None
        # An option that another command has is no misplaced one.
        said = said.partition("Arguments are applied")[0].replace(" or misplaced", "").strip()
        said = re.sub(r" \(applied to [\w -]+\)", "", said)
        # The parser says which of Python's conversions failed.
        said = re.sub(r"^Error parsing (--[\w-]+): .*'(.*)'\]?\.?$", r"\1 cannot be \2", said)
        dashed = next(
            (
                f"; if {word} is a file, give it as ./{word}"
                for word in argv
                if _is_dashed_file(word)
            ),
            "",
        )
        hint = dashed or nearest_option(argv)
        raise ConfigError(with_help(f"{said.rstrip('.')}{hint}", argv)) from None


def _in_options(message: str) -> str:
    """What the library says of its settings, with their names as options."""
    return _SETTING.sub(lambda found: f"--{found[0].replace('_', '-')}", message)


def _is_dashed_file(word: str) -> bool:
    """Whether a word that the parser takes for an option is, or looks like, the name of a file."""
    return word.startswith("-") and (Path(word).exists() or Path(word).suffix[1:2].isalpha())


def _defaults(argv: Sequence[str]) -> tuple[Stylize, Study, str | None]:
    """The commands that take a preset or a file, with the values of those that the words name.

    With them comes a note on these values, for when the words are known to be right. The parser
    complains of a name that no preset has.

    Raises:
        ConfigError: The file is wrong.
    """
    kind = {"stylize": Stylize, "study": Study}.get(next(iter(argv), ""))
    given = read_config(argv, kind) if kind else {}
    name: Any = option_in(argv, "--preset") or given.get("preset")
    stylize = Stylize.with_defaults(name if name in PRESETS else "default")
    study, note = Study(), None
    if kind is Stylize:
        given, note = beside_preset(given, argv)
        stylize = with_config(stylize, given)
    elif kind is Study:
        study = with_config(study, given)
    return stylize, study, note
