"""Where results go: pictures, files and plots.

The mathematics that makes results knows nothing of them, and a result has methods that lead there.
`nst_jax.jobs.saved_results`, where the two meet, says how when the package is imported.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any


class Outlets:
    """What `nst_jax.jobs.saved_results` sets."""

    save_result: Callable[[Any, Path], None]
    save_study: Callable[[Any, Path], None]
    result_as_png: Callable[[Any], bytes]
    study_as_png: Callable[[Any], bytes]
    plot_study: Callable[[Any, Any], Any]


OUTLETS = Outlets()
