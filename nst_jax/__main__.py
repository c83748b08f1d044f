"""`python -m nst_jax`."""

import sys

from nst_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
