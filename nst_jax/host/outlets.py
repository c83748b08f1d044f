"""Where results go: pictures, files and plots.

The mathematics that makes results knows nothing of them, and a result has methods that lead there.
"""

import importlib
from typing import Any


def outlets() -> Any:
    """`nst_jax.jobs.saved_results`, where the two meet, imported when a result goes somewhere."""
    return importlib.import_module("nst_jax.jobs.saved_results")
