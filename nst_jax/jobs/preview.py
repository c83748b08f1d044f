"""The best image so far, in a file beside the result while that is made."""

import logging
from pathlib import Path

import numpy as np

from nst_jax.descent.result import Progress
from nst_jax.files.images import ImageError, write_image
from nst_jax.files.metadata import read_texts
from nst_jax.host.now_and_then import NowAndThen
from nst_jax.jobs.outputs import software

_LOG = logging.getLogger(__name__)

_KEYWORD = "Description"


class Preview:
    """A preview, which is replaced now and then, and removed when the result is there.

    A file of that name which is no preview is left alone, and there is none then.

    Args:
        path: The file, a PNG.
        of: What it is of, as it says in the file.
        every: Seconds between two of them, and before the first, more where writing takes long;
            0 writes none.
    """

    def __init__(self, path: Path, of: str, every: float) -> None:
        self._path, self._of, self._times = path, f"preview of {of}", NowAndThen(every)
        self._is_free = not path.exists() or self._is_own()
        if not self._is_free:
            _LOG.info(f"{path}: is there already, and no preview, so there is none of this run")

    def show(self, progress: Progress) -> None:
        """Writes the image if it is time; a run goes on where it cannot be written."""
        if not (self._is_free and self._times.is_time and np.isfinite(progress.best_loss)):
            return
        with self._times.timed():
            texts = {"Software": software(), _KEYWORD: self._of}
            try:
                write_image(self._path, np.asarray(progress.image), texts)
            except ImageError as error:
                _LOG.warning(f"no preview could be written: {error}")
                self._is_free = False

    def remove(self) -> None:
        """Removes it, one of a run that was killed as well."""
        if self._path.exists() and self._is_own():
            self._path.unlink(missing_ok=True)

    def _is_own(self) -> bool:
        try:
            return read_texts(self._path).get(_KEYWORD) == self._of
        except ImageError:
            return False
