"""The commands of `nst-jax`: words in, lines out.

Nothing here computes, and nothing below prints.
"""

from nst_jax.cli.main import main

__all__ = ["main"]
