"""Descents as tests follow them."""

import numpy as np


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
