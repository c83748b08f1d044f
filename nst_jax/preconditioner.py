"""A better first guess of the curvature than that it is alike everywhere: the loss bends less along coarse patterns than along fine ones."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

# To the loss that L-BFGS reaches from the content with the identity in place of this in 200 evaluations (192 pixels, VGG-16), the power 0.5
# takes about 165, and 1 takes about 175 but is the faster of the two for the first 40 or so.
_POWER = 0.5


def favour_coarse(image: Float[Array, "height width 3"]) -> Float[Array, "height width 3"]:
    """Divides every frequency f of an image by f^½, the mean as if it were the lowest.

    Linear, symmetric and positive definite; multiples are the caller's business.
    """
    height, width = image.shape[:2]
    vertical, horizontal = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    frequency = np.maximum(np.hypot(vertical[:, None], horizontal), 1 / max(height, width))
    gains = jnp.asarray(frequency**-_POWER, jnp.float32)[..., None]
    # One axis at a time, which XLA's CPU compiler can also do for an image whose rows several devices share.
    spectrum = gains * jnp.fft.fft(jnp.fft.rfft(image, axis=1), axis=0)
    return jnp.fft.irfft(jnp.fft.ifft(spectrum, axis=0), n=width, axis=1)
