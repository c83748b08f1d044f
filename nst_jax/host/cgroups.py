"""The memory that containers and batch systems let a process have: Linux's control groups."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_NO_LIMIT = 2**62  # what version 1 says where there is none is a little less than 2⁶³


def free_in_cgroups(root: Path = Path("/")) -> int | None:
    """The bytes that all groups of this process still let it have; None where none has a limit.

    A group's limit is less what its processes have, without the files that are kept in memory
    only because there was room.

    Args:
        root: Where the file system begins.
    """
    return min((max(limit - used, 0) for limit, used in _groups(root)), default=None)


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of each group with a limit, in bytes."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, _, named = line.partition(":")
        controllers, _, own = named.partition(":")
        mount = root / "sys/fs/cgroup"
        names = ("memory.max", "memory.current", "inactive_file")
        if "memory" in controllers.split(","):
            mount /= "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        elif controllers:
            continue
        # Within a container the group may be the mount itself, whatever it is called outside.
        path = PurePosixPath(own)
        for group in (path, *path.parents):
            if found := _limit_and_use(mount / str(group).lstrip("/"), *names):
                yield found


def _limit_and_use(group: Path, limit: str, use: str, cached: str) -> tuple[int, int] | None:
    try:
        most = int((group / limit).read_text())
        used = int((group / use).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used -= int(stat.get(cached, 0))
    except (OSError, ValueError):  # "max" is no number
        return None
    return (most, used) if most < _NO_LIMIT else None
