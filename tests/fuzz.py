"""Coverage-guided fuzzing of everything that reads a file. Not part of the test suite; needs `pip
install atheris`.

    python tests/fuzz.py image|settings|record|checkpoint|HDF5|safetensors|PyTorch|"NumPy
    archive"|MatConvNet|pickle [--seconds 600]

ends with status 0 if in that time nothing but the declared errors came, no input took longer than
five seconds, and no more memory was asked for than the bound. An input that did otherwise is kept
in `--corpus`, to be mended and made a test.
"""

import argparse
import io
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

MOST_BYTES = 2_000_000_000  # beyond what is there when the fuzzing begins
KINDS = (
    "image",
    "settings",
    "record",
    "checkpoint",
    "HDF5",
    "safetensors",
    "PyTorch",
    "NumPy archive",
    "MatConvNet",
    "pickle",
)


def seeds(kind):
    """A few small good files, for the fuzzer to begin with."""
    arrays = {
        "block1_conv1/kernel": np.ones((3, 3, 3, 4), np.float32),
        "block1_conv1/bias": np.zeros(4, np.float32),
    }
    stream = io.BytesIO()
    if kind == "image":
        from PIL import Image

        for name in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
            for mode in ("RGB", "L", "P"):
                if (name, mode) == ("JPEG", "P"):
                    continue
                stream = io.BytesIO()
                Image.effect_noise((20, 20), 60).convert(mode).save(stream, name)
                yield stream.getvalue()
        return
    if kind == "settings":
        yield (
            b'style_weight = [5, 20]\ncontent_layers = [["conv2_2"]]\nlayer_weights.a = '
            b'{conv1_1 = 0.7}\nzip = true\ncontent = "a.png"\n'
        )
        return
    if kind == "record":
        yield json.dumps(
            {
                "settings": {"inputs": {"content": {"path": "a", "sha256": "b"}}, "network": {}},
                "output": "a.png",
            }
        ).encode()
        return
    if kind == "checkpoint":
        np.savez(stream, settings=np.frombuffer(b"{}", np.uint8), **arrays)
    elif kind == "NumPy archive":
        np.savez(stream, **arrays)
    elif kind == "HDF5":
        import h5py

        with h5py.File(stream, "w") as file:
            for key, array in arrays.items():
                file.create_dataset(key, data=array)
            file.create_dataset("packed", data=np.zeros((64, 64), np.float32), compression="gzip")
    elif kind == "safetensors":
        from safetensors.numpy import save

        stream.write(save(arrays))
    elif kind == "PyTorch":
        from torch_streams import state

        eighth = {
            "W_q": np.ones((4, 3, 3, 3), np.uint8),
            "W_table": np.ones(256, np.float32),
            "b": np.zeros(4, np.float32),
        }
        for state_dict in (
            arrays,
            {f"block1_conv1_{part}": array for part, array in eighth.items()},
        ):
            for is_legacy in (False, True):
                yield state(state_dict, is_legacy)
        return
    elif kind == "MatConvNet":
        from scipy.io import savemat

        layers = np.empty(1, object)
        layers[0] = {
            "type": "conv",
            "name": "conv1_1",
            "weights": np.array([arrays["block1_conv1/kernel"], np.zeros(4)], object),
        }
        for packed in (False, True):
            stream = io.BytesIO()
            savemat(stream, {"layers": layers}, do_compression=packed)
            yield stream.getvalue()
        return
    else:
        for protocol in (2, 4):
            yield pickle.dumps({"VGG16_0": {"Conv_0": arrays}}, protocol)
        return
    yield stream.getvalue()


def make_target(kind, path):
    """A function of bytes that raises what must never be raised."""
    if kind in ("image", "settings", "record", "checkpoint"):
        import nst_jax as nst
        from nst_jax.jobs.checkpoint import Checkpoint
        from nst_jax.jobs.grid_file import read_grid_file
        from nst_jax.jobs.rerun import job_of_record

        read, allowed = {
            "image": (lambda: nst.read_image(path, max_pixels=1_000_000), nst.ImageError),
            "settings": (lambda: read_grid_file(path), nst.ConfigError),
            "record": (lambda: job_of_record(path), nst.ConfigError),
            "checkpoint": (lambda: Checkpoint(path).read(), ()),
        }[kind]
    else:
        from nst_jax.weights import conversion, readers

        def read():
            head = path.read_bytes()[:64]
            for recognise, _ in readers.FORMATS.values():
                recognise(head, path)
            conversion.convert(readers.read_format(kind, path), path.name)

        # In the process of their own that these readers have, either is one line.
        allowed = (readers.WeightsError, MemoryError)

    def target(data):
        path.write_bytes(data)
        try:
            read()
        except allowed as error:
            if "\n" in str(error):
                raise AssertionError(f"more than one line: {error!r}") from error

    return target


def fuzz(kind, corpus):
    """In a process of its own: never returns."""
    import atheris

    warnings.simplefilter("ignore")
    include = [
        "PIL",
        "zipfile",
        "tomllib",
        "json",
        "h5py",
        "scipy.io.matlab",
        "safetensors",
        "numpy.lib",
        "pickletools",
        "nst_jax.files.images",
        "nst_jax.weights",
    ]
    folder = tempfile.mkdtemp()
    with atheris.instrument_imports(
        include=[
            *include,
            "nst_jax.jobs.grid_file",
            "nst_jax.jobs.checkpoint",
            "nst_jax.jobs.rerun",
        ],
        enable_loader_override=False,
    ):
        target = make_target(kind, Path(folder, "a.json" if kind == "record" else "a.bin"))
    for data in seeds(kind):  # what is imported late, is now
        target(data)
    size = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmSize")
    )
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_BYTES, resource.RLIM_INFINITY))
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            "-timeout=5",
            "-rss_limit_mb=0",
            "-max_len=65536",
            f"-artifact_prefix={corpus}/bad_",
            *sys.argv[4:],
        ],
        target,
    )
    atheris.Fuzz()


def main():
    if sys.argv[1:2] == ["--fuzz"]:
        fuzz(sys.argv[2], Path(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument(
        "--corpus", type=Path, help="folder of inputs found; a temporary one if left out"
    )
    args = parser.parse_args()
    corpus = args.corpus or Path(tempfile.mkdtemp())
    corpus.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(seeds(args.kind)):
        (corpus / f"seed_{index}").write_bytes(data)
    words = [
        sys.executable,
        __file__,
        "--fuzz",
        args.kind,
        str(corpus),
        f"-max_total_time={args.seconds}",
    ]
    ended = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False)
    lines = ended.stderr.splitlines()
    found = sorted(corpus.glob("bad_*"))
    last = next((line for line in reversed(lines) if line.startswith("Done")), "")
    print(
        f"{args.kind}: {last or 'stopped early'}, {len(list(corpus.iterdir()))} inputs "
        f"kept, {len(found)} bad: {[path.name for path in found]}"
    )
    if found or ended.returncode:
        print("\n".join(lines[-40:]))
    sys.exit(bool(found or ended.returncode))


if __name__ == "__main__":
    main()
