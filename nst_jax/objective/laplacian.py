"""The discrete Laplacian, which sees what is finer than its neighbours."""

from jax import Array

from nst_jax.config import Border
from nst_jax.network.borders import pad, wraps


def laplacian(image: Array, border: Border) -> Array:
    """Four times each pixel less its four neighbours, channel by channel.

    Args:
        image: (height, width, channels).
        border: What lies beyond it, as in `TransferConfig`.

    Returns:
        At every pixel with four neighbours: two fewer along each side that does not wrap, or none
        where that side has fewer than three.
    """
    if any(wraps(border)):
        rows, columns = map(int, wraps(border))
        image = pad(image, border, ((rows, rows), (columns, columns)))
    inner = image[1:-1, 1:-1]
    # as differences, of which those of a flat image are 0 whatever its colour
    return (
        (inner - image[:-2, 1:-1])
        + (inner - image[2:, 1:-1])
        + (inner - image[1:-1, :-2])
        + (inner - image[1:-1, 2:])
    )


def at_laplacian(shares: Array, border: Border) -> Array:
    """What is by pixel, (height, width, …), where `laplacian` has a value."""
    rows, columns = wraps(border)
    shares = shares if rows else shares[1:-1]
    return shares if columns else shares[:, 1:-1]
