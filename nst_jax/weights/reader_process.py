"""The program that reads a weights file apart.

    python -P reader_process.py FORMAT FILE FOLDER BYTES

It writes the arrays to a folder, and what else there is to say to standard output. The readers are
imported from the folder of this file, and without the packages around them, which would bring JAX:
a second, and more memory than most readers take. Nothing else is looked for in any folder but
Python's own (`-P`).
"""

import importlib
import importlib.machinery
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

try:
    import resource
except ImportError:  # on Windows only the time is bounded
    resource = None

_LARGEST_SUM = 400_000_000  # bytes of all arrays; VGG-19's convolutions in float64 are 160 million


def main(name: str, path: str, folder: str, most_bytes: str) -> None:
    """Reads a file of a known format within so many bytes of address space."""
    for package, place in (
        ("nst_jax", Path(__file__).parents[1]),
        ("nst_jax.weights", Path(__file__).parent),
    ):
        _put_empty_package(package, place)
    readers = importlib.import_module("nst_jax.weights.readers")

    if resource:
        resource.setrlimit(resource.RLIMIT_AS, (int(most_bytes), resource.RLIM_INFINITY))
    try:
        file = readers.read_format(name, Path(path))
        if sum(array.nbytes for array in file.tensors.values()) > _LARGEST_SUM:
            raise readers.WeightsError(
                f"{path}: holds more than the convolutions of a VGG; give a file with those alone"
            )
        for index, array in enumerate(file.tensors.values()):
            np.save(Path(folder, f"{index}.npy"), array, allow_pickle=False)
        answer = {"names": list(file.tensors), "metadata": dict(file.metadata)}
    except (readers.WeightsError, MemoryError) as error:
        memory = f"{path}: damaged {name} file (it asks for too much memory); fetch it again"
        answer = {"error": str(error) or memory}
    except OSError as error:
        answer = {
            "error": (
                f"{folder}: cannot be written ({error.strerror or error}); make room for "
                "temporary files"
            )
        }
    print(json.dumps(answer))


def _put_empty_package(name: str, folder: Path) -> None:
    """A package whose modules are found in a folder, and whose own `__init__` does not run."""
    spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[name] = importlib.util.module_from_spec(spec)


if __name__ == "__main__":
    main(*sys.argv[1:])
