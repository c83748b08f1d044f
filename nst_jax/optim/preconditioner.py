"""A first guess of the loss's curvature that learns while the descent goes on.

It learns how much the loss bends at each frequency of a colour, and where.

Along coarse patterns the loss of style transfer bends less than along fine ones, along grey ones
otherwise than along coloured ones, and in flat parts of the picture otherwise than in busy ones; by
how much depends on the pictures. The pairs (s, y) of L-BFGS tell: where a step moved much and the
gradient changed little, it bends little.

docs/benchmarks has the evaluations that each of its parts saves, and what else was tried.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from nst_jax.optim.lbfgs import Preconditioner

# Grey, red against green, and red and green against blue, as orthogonal columns, and their squared
# lengths.
_OPPONENT_COLOURS = np.array([[1, 1, 1], [1, -1, 1], [1, 0, -2]], np.float32)
_SQUARED_LENGTHS = np.array([3, 2, 6], np.float32)
# bands of frequencies, evenly spaced on a logarithmic scale; pixels of a place's side
_NUM_BANDS, _CELL = 12, 4
# All of the first pairs, then one of four: learning takes about as long as all else that is done
# here. Lanes of `vmap` learn from each, and keep it when they should.
_FIRST, _EVERY = 16, 4
_MEMORY = 0.96  # of what was known before a pair; the curvature changes while the picture does
_PRIOR = 1e-3  # of a pair: what the guess before the first one counts for
_LEAST_SHARE = 0.05  # of the mean, in places that hardly moved


class CurvatureEstimate(NamedTuple):
    """Where the energy of the steps, and that of the gradients' changes, went.

    Each is in shares of a pair's energy, summed over pairs.

    Args:
        step_bands: Σ |s|² by band of frequencies and opponent colour, (bands, 3).
        gradient_bands: Σ |y|² likewise.
        step_cells: Σ |s|² by place, (height / 4, width / 4).
        gradient_cells: Σ |y|² by place.
        num_pairs: Pairs there were, most of which were left out.
    """

    step_bands: Array
    gradient_bands: Array
    step_cells: Array
    gradient_cells: Array
    num_pairs: Array


def curvature_preconditioner() -> Preconditioner:
    """P = D^½ F⁻¹ diag(b) F D^½ for an image (height, width, 3).

    F is the Fourier transform of its opponent colours along both sides.

    The gain b of a band of frequencies of a colour, and the gain D of a place, is √(Σ |s|² / Σ
    |y|²) there: the inverse of the mean curvature that the pairs saw, but for a factor that L-BFGS
    finds for itself. Before the first pair, D is 1 and b is f^−½, the mean counting as the lowest
    frequency.

    Example:
        >>> optimizer = safeguarded_lbfgs(preconditioner=curvature_preconditioner())
    """
    return Preconditioner(_init, _update, _apply, _squared_norm)


def _init(image: Array) -> CurvatureEstimate:
    bands = jnp.zeros((_NUM_BANDS, 3), image.dtype)
    cells = jnp.zeros((-(-image.shape[0] // _CELL), -(-image.shape[1] // _CELL)), image.dtype)
    return CurvatureEstimate(
        bands, jnp.array(bands), cells, jnp.array(cells), jnp.zeros((), jnp.int32)
    )


def _update(estimate: CurvatureEstimate, step: Array, gradient_step: Array) -> CurvatureEstimate:
    def learn() -> CurvatureEstimate:
        (step_bands, step_cells), (gradient_bands, gradient_cells) = map(
            _shares, (step, gradient_step)
        )
        return CurvatureEstimate(
            step_bands=_MEMORY * estimate.step_bands + step_bands,
            gradient_bands=_MEMORY * estimate.gradient_bands + gradient_bands,
            step_cells=_MEMORY * estimate.step_cells + step_cells,
            gradient_cells=_MEMORY * estimate.gradient_cells + gradient_cells,
            num_pairs=estimate.num_pairs,
        )

    wanted = (estimate.num_pairs < _FIRST) | (estimate.num_pairs % _EVERY == 0)
    learned = jax.lax.cond(wanted, learn, lambda: estimate)
    return learned._replace(num_pairs=estimate.num_pairs + 1)


def _apply(
    estimate: CurvatureEstimate, image: Float[Array, "height width 3"]
) -> Float[Array, "height width 3"]:
    gains, places = _gains(estimate, image.shape)
    mixed = _mix(_fourier(places * image), _OPPONENT_COLOURS)
    spectrum = (gains / _along_colours(_SQUARED_LENGTHS, gains)).astype(mixed.dtype) * mixed
    return places * _inverse_fourier(_mix(spectrum, _OPPONENT_COLOURS.T), image.shape[1])


def _squared_norm(
    estimate: CurvatureEstimate, image: Float[Array, "height width 3"]
) -> Float[Array, ""]:
    # Parseval's theorem spares the way back.
    gains, places = _gains(estimate, image.shape)
    return jnp.sum(gains * _energies(places * image))


def _gains(
    estimate: CurvatureEstimate, shape: Sequence[int]
) -> tuple[Float[Array, "height half_width 3"], Float[Array, "height width 1"]]:
    """b of each coefficient of `_fourier`, and D^½."""
    height, width = shape[:2]
    # The guess before the first pair is f^−½.
    kind = estimate.step_bands.dtype
    centres = _band_centres(height, width)[:, None]
    step_prior, gradient_prior = (
        jnp.asarray(_PRIOR / 3 * prior / prior.sum(), kind)
        for prior in (centres**power for power in (-0.5, 0.5))
    )
    bands = 0.5 * jnp.log(
        (estimate.step_bands + step_prior) / (estimate.gradient_bands + gradient_prior)
    )
    lower, share = _places_among_bands(height, width)
    share = share[..., None].astype(kind)
    gains = jnp.exp((1 - share) * bands[lower] + share * bands[lower + 1])
    step_cells, gradient_cells = (
        cells + _LEAST_SHARE * jnp.mean(cells) + _PRIOR / cells.size
        for cells in (estimate.step_cells, estimate.gradient_cells)
    )
    # The fourth root: half of the square root on either side, so that P is symmetric.
    return gains, jax.image.resize(
        (step_cells / gradient_cells) ** 0.25, (height, width), "linear"
    )[..., None]


def _shares(image: Array) -> tuple[Array, Array]:
    """How the energy of an image is spread over bands of frequencies, and over places.

    Bands are those of the opponent colours. Each sums to 1.
    """
    height, width = image.shape[:2]
    largest = jnp.max(jnp.abs(image))
    image = image / jnp.where(largest > 0, largest, 1)  # squares neither overflow nor vanish
    lower, share = _places_among_bands(height, width)
    nearest = (lower + (share > 0.5).astype(lower.dtype)).ravel()
    # A product, for a GPU adds up a scatter in whatever order it comes, and every run otherwise.
    is_in = (nearest[None] == jnp.arange(_NUM_BANDS)[:, None]).astype(image.dtype)
    bands = jnp.matmul(is_in, _energies(image).reshape(-1, 3), precision="highest")
    cells = jnp.sum(jnp.square(image), axis=2)
    cells = jax.image.resize(cells, (-(-height // _CELL), -(-width // _CELL)), "linear")
    share_of = lambda energy: energy / jnp.maximum(jnp.sum(energy), jnp.finfo(energy.dtype).tiny)
    return share_of(bands), share_of(cells)


def _energies(image: Float[Array, "height width 3"]) -> Float[Array, "height half_width 3"]:
    """Each colour's and frequency's part of Σ |image|².

    Two opposite frequencies are alike in a real image; where `_fourier` has one, it counts for
    both.
    """
    height, width = image.shape[:2]
    opposites = np.full(width // 2 + 1, 2.0, np.float32)
    opposites[0] = 1
    if width % 2 == 0:
        opposites[-1] = 1
    spectrum = _mix(_fourier(image / (height * width) ** 0.5), _OPPONENT_COLOURS)
    energies = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    return energies * jnp.asarray(opposites[:, None] / _SQUARED_LENGTHS, energies.dtype)[None]


def _lowest(height: int, width: int) -> float:
    """Cycles a pixel of the lowest frequency."""
    return 1 / max(height, width)


def _band_centres(height: int, width: int) -> np.ndarray:
    return np.geomspace(_lowest(height, width), 0.5**0.5, _NUM_BANDS)


def _places_among_bands(height: int, width: int) -> tuple[Array, Array]:
    """For each coefficient of `_fourier`, its place among the bands.

    That is the band whose centre is below its frequency, and how far it is on the way to the next.

    The mean counts as the lowest frequency.
    """
    # Computed by the program each time: as constants they take the compiler much memory.
    lowest = _lowest(height, width)
    sides = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    rows, columns = (
        jnp.asarray(np.square(frequencies / lowest), jnp.float32) for frequencies in sides
    )
    bands_per_octave = (_NUM_BANDS - 1) / np.log2(0.5**0.5 / lowest)
    places = float(bands_per_octave / 2) * jnp.log2(
        jnp.maximum(rows[:, None] + columns[None, :], 1)
    )
    lower = jnp.minimum(places.astype(jnp.int32), _NUM_BANDS - 2)
    return lower, jnp.minimum(places - lower.astype(places.dtype), 1)


# One axis at a time, which XLA's CPU compiler can also do for an image whose rows several devices
# share.
def _fourier(image: Array) -> Array:
    return jnp.fft.fft(jnp.fft.rfft(image, axis=1), axis=0)


def _inverse_fourier(spectrum: Array, width: int) -> Array:
    return jnp.fft.irfft(jnp.fft.ifft(spectrum, axis=0), n=width, axis=1)


def _mix(spectrum: Array, colours: np.ndarray) -> Array:
    """The colours of each coefficient times a matrix.

    Not as a product of matrices, which is slow for such small ones.

    Of the spectrum, not of the image, whose pixels the compiler would round otherwise in lanes than
    in single runs.
    """
    first, second, third = (
        spectrum[..., place, None] * _along_colours(row, spectrum)
        for place, row in enumerate(colours)
    )
    return first + second + third


def _along_colours(values: np.ndarray, image: Array) -> Array:
    """Three numbers as constants of an image's type, along its last axis."""
    return jnp.asarray(values, image.dtype)[None, None]
