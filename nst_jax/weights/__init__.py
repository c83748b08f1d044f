"""ImageNet weights for the networks of `nst_jax.vgg`: known files, readers, conversion, loading."""

from nst_jax.weights.readers import FORMATS, WeightsError, WeightsFile, read_weights_file
from nst_jax.weights.registry import KNOWN_FILES, KnownFile
from nst_jax.weights.store import LoadedWeights, convert_file, fetch, find_converted, known_file, load_params, load_weights, write_params

__all__ = [
    "FORMATS",
    "KNOWN_FILES",
    "KnownFile",
    "LoadedWeights",
    "WeightsError",
    "WeightsFile",
    "convert_file",
    "fetch",
    "find_converted",
    "known_file",
    "load_params",
    "load_weights",
    "read_weights_file",
    "write_params",
]
