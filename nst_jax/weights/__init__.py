"""ImageNet weights for the networks of `nst_jax.vgg`: known files, readers, conversion, loading."""

from nst_jax.weights.contents import WeightsError, WeightsFile
from nst_jax.weights.fetching import fetch, known_file
from nst_jax.weights.loading import LoadedWeights, load_embedded, load_params, load_weights
from nst_jax.weights.readers import FORMATS, read_weights_file
from nst_jax.weights.registry import KNOWN_FILES, KnownFile
from nst_jax.weights.store import convert_file, find_converted, write_params

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
    "load_embedded",
    "load_params",
    "load_weights",
    "read_weights_file",
    "write_params",
]
