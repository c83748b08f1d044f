"""The processes of one command on several machines, joined by JAX's own runtime."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from nst_jax.checks import ConfigError

Item = TypeVar("Item")

_LONGEST_WAIT = 7 * 24 * 3600  # seconds


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
        """A block that no process leaves before all have come to its end.

        It fails in all if it fails in one.

        Raises:
            ConfigError: It failed in another process, whose own error says why.
        """
        try:
            yield
        except BaseException:  # Ctrl-C in one too
            self._gather(True)
            raise
        if self._gather(False).any():
            raise ConfigError(
                "another process of this command failed, see its message; mend that and "
                "give the command again"
            )

    def as_first_has(self, flags: Sequence[bool]) -> list[bool]:
        """The flags of process 0, in every process."""
        if self.count == 1:
            return list(flags)
        return multihost_utils.broadcast_one_to_all(np.asarray(flags, bool)).tolist()

    def check_same(self, text: str, what: str) -> None:
        """Makes sure that every process has the same text.

        Raises:
            ConfigError: They differ; the message calls the text `what`.
        """
        digests = self._gather(np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8))
        if (digests != digests[0]).any():
            raise ConfigError(
                f"{what} differ between the processes; give all the same command and the same files"
            )

    def _gather(self, value: Any) -> np.ndarray:
        """The values of all processes, with a leading axis of processes."""
        value = np.asarray(value)
        if self.count == 1:
            return value[None]
        try:
            return np.asarray(multihost_utils.process_allgather(value))
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"another process of this command is gone ({reason}); give the command again"
            ) from error


def join_processes(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> Processes:
    """Joins the other processes of the command, before anything else is asked of JAX.

    Args:
        coordinator: `HOST:PORT` of process 0. All three are found out by themselves on a TPU pod,
            under Slurm and under Open MPI.
        num_processes: How many processes there are.
        process_id: Which of them this is, from 0.

    Raises:
        ConfigError: Some of the three are missing, or the others cannot be found.
    """
    given = (coordinator, num_processes, process_id)
    if any(value is not None for value in given) and any(value is None for value in given):
        raise ConfigError(
            "--coordinator, --num-processes and --process-id belong together; give all "
            "three, or --distributed alone"
        )
    if num_processes is not None and process_id is not None and not 0 <= process_id < num_processes:
        raise ConfigError(
            f"--process-id is {process_id}; it must be at least 0 and less than "
            f"--num-processes, {num_processes}"
        )
    # How long a process waits at a meeting; on CPUs half an hour unless told, and one share may
    # take hours longer than another.
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_collective_timeout_seconds={_LONGEST_WAIT}"
    )
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"the processes cannot be joined ({reason}); give --coordinator, "
            "--num-processes and --process-id"
        ) from error
    processes = Processes(jax.process_index(), jax.process_count())
    # The first meeting makes the connections, and waits less long than later ones: now all are near
    # one another.
    with processes.together():
        pass
    return processes
