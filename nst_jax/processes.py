"""The processes of one command on several machines, joined by JAX's own runtime."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from nst_jax.config import ConfigError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """This process's place among those of the command.

    Args:
        index: From 0; that one writes what is written once.
        count: How many there are.
    """

    index: int = 0
    count: int = 1

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items that are this process's to do."""
        return items[self.index :: self.count]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A block that no process leaves before all have come to its end, and that fails in all if it fails in one.

        Raises:
            ConfigError: It failed in another process, whose own error says why.
        """
        try:
            yield
        except Exception:
            self._any(True)
            raise
        if self._any(False):
            raise ConfigError("another process of this command failed, see its message; mend that and give the command again")

    def as_first_has(self, flags: Sequence[bool]) -> list[bool]:
        """The flags of process 0, in every process."""
        if self.count == 1:
            return list(flags)
        return multihost_utils.broadcast_one_to_all(np.asarray(flags, bool)).tolist()

    def _any(self, flag: bool) -> bool:
        return bool(np.any(multihost_utils.process_allgather(np.asarray(flag)))) if self.count > 1 else flag


def join_processes(coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None) -> Processes:
    """Joins the other processes of the command, before anything else is asked of JAX.

    Args:
        coordinator: `HOST:PORT` of process 0. All three are found out by themselves on a TPU pod, under Slurm and under Open MPI.
        num_processes: How many processes there are.
        process_id: Which of them this is, from 0.

    Raises:
        ConfigError: Some of the three are missing, or the others cannot be found.
    """
    given = (coordinator, num_processes, process_id)
    if any(value is not None for value in given) and any(value is None for value in given):
        raise ConfigError("--coordinator, --num-processes and --process-id belong together; give all three, or --distributed alone")
    if num_processes is not None and process_id is not None and not 0 <= process_id < num_processes:
        raise ConfigError(f"--process-id is {process_id}; it must be at least 0 and less than --num-processes, {num_processes}")
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"the processes cannot be joined ({reason}); give --coordinator, --num-processes and --process-id") from error
    processes = Processes(jax.process_index(), jax.process_count())
    # The first meeting makes the connections, and waits less long than later ones: now all are near one another.
    with processes.together():
        pass
    return processes
