"""Runs as tests make and follow them."""

import jax
import numpy as np

import nst_jax as nst

# Outside of `jit` each operation is a program of its own, and compiled as one.
total_loss = jax.jit(nst.total_loss, static_argnums=4)
loss_and_gradient = jax.jit(nst.loss_and_gradient, static_argnums=4)
features = jax.jit(nst.features, static_argnames=("layers", "pooling", "precision", "border"))

# Most of a short run is its compilation: a few seconds for each image size, set of layers and
# optimiser. Commands that are of these and of `photos` find their programs in the tests' cache.
QUICK = ["--network", "vgg16", "--size", "48", "--num-steps", "4", "--content-layers", "conv2_2"]
QUICK_STUDY = [*QUICK, "--style-layers", "conv1_1+conv2_1"]
QUICK += ["--style-layers", "conv1_1", "conv2_1"]


def followed(chunks, most=None):
    """What a descent ends with, if it is left after `most` chunks, and a copy of each chunk's
    snapshot."""
    snapshots = []
    for chunk in chunks:
        snapshots.append({name: np.array(array) for name, array in chunk.snapshot().items()})
        if len(snapshots) == most:
            break
    return chunk.result(), snapshots


def finished(chunks):
    """What a descent ends with."""
    chunk = next(chunks)
    while following := next(chunks, None):
        chunk = following
    return chunk.result()
