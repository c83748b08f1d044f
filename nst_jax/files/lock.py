"""One run at a time into one output."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import lock_descriptor

from nst_jax.checks import ConfigError

_MOST_TRIES = 100


@contextlib.contextmanager
def only_one(path: Path, busy: str) -> Iterator[None]:
    """Holds a lock while the block runs.

    The system takes the lock back when the process ends, however it ends, so a file that was left
    behind locks nothing. Where no lock can be taken, as on some file systems, the block runs all
    the same.

    Args:
        path: The file that is locked. It is made, with its folder, and removed at the end; so are
            folders that were made for it alone.
        busy: What to say if another holds the lock.

    Raises:
        ConfigError: Another holds it.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    descriptor = None
    try:
        try:
            descriptor = _lock(path)
        except BlockingIOError as error:
            raise ConfigError(busy) from error
        except (OSError, ValueError):  # the latter for a name that no file can have
            pass
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):  # Windows removes no file that is open
                path.unlink()
            os.close(descriptor)
        for folder in made:
            with contextlib.suppress(OSError):  # it is in use
                folder.rmdir()


def _lock(path: Path) -> int:
    """A descriptor of the file, locked until it is closed.

    Raises:
        BlockingIOError: Another holds the lock.
        OSError: It cannot be locked.
    """
    for _ in range(_MOST_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not lock_descriptor(descriptor, blocking=False):
                raise BlockingIOError
            # The run before may have removed the file between the two calls above; the next run
            # would then lock another one of the same name.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OSError(f"{path}: is removed whenever it is made")
