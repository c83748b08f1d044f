"""Compiled programs are kept on disk for the next run."""

import os
import stat
from pathlib import Path

import jax
import pooch

from nst_jax.host.traced_programs import keep_in

_MOST_BYTES = 480_000_000  # beside traced programs


def keep_programs() -> None:
    """Makes JAX keep what this process compiles in the user's cache folder.

    Another process that runs the same shapes and settings then begins without compiling, as the
    commands do, which call this themselves. On a single CPU, a descent of this package's own terms
    and optimisers, unless it is a study's, is not traced again, either: it is found by the
    package's sources, so that a function of it which was replaced or reloaded would go unnoticed.
    Call it before the first run; whatever else the process compiles with JAX is kept, too. Up to
    500 MB are kept; when the folder is full, the least used goes first. A folder that JAX was told
    of already (`JAX_COMPILATION_CACHE_DIR`) stays the one, as it is set up, and all is traced;
    where none can be made that is this user's alone, nothing is kept.

    Example:
        >>> keep_programs()
    """
    if jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        return
    programs, traced = (Path(pooch.os_cache("nst_jax")) / name for name in ("programs", "traced"))
    if not (_is_made(programs) and _is_made(traced)):
        return
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_compilation_cache_max_size", _MOST_BYTES)
    # Small ones too: a run has dozens, a second in all.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    keep_in(traced)


def _is_made(folder: Path) -> bool:
    """Whether a folder is there, now if not before, where no other user may write.

    What is in it is run as it is.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return False
    is_own = not hasattr(os, "getuid") or (
        found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
    return is_own and os.access(folder, os.W_OK)
