"""Control groups as files of the test's own, and a limit that the user gives."""

import jax
import pytest

from nst_jax.host.cgroups import free_in_cgroups
from nst_jax.host.memory import free_bytes, limit_memory

GB = 10**9


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def group_2(limit, used, cached=0):
    return {"memory.max": limit, "memory.current": used, "memory.stat": f"inactive_file {cached}"}


def group_1(limit, used, cached=0):
    stat = f"total_inactive_file {cached}"
    return {"limit_in_bytes": limit, "usage_in_bytes": used, "stat": stat}


def at(folder, group, before=""):
    return {f"{folder}/{before}{name}": text for name, text in group.items()}


def test_version_2_counts_every_group_above(tmp_path):
    write(tmp_path, {"proc/self/cgroup": "0::/slice/job"})
    assert free_in_cgroups(tmp_path) is None
    write(tmp_path, at("sys/fs/cgroup/slice/job", group_2("max", GB)))
    assert free_in_cgroups(tmp_path) is None
    write(tmp_path, at("sys/fs/cgroup/slice", group_2(8 * GB, 3 * GB, GB)))
    assert free_in_cgroups(tmp_path) == 6 * GB
    write(tmp_path, at("sys/fs/cgroup/slice/job", group_2(5 * GB, 2 * GB)))
    assert free_in_cgroups(tmp_path) == 3 * GB
    write(tmp_path, at("sys/fs/cgroup/slice/job", group_2(5 * GB, 6 * GB)))
    assert free_in_cgroups(tmp_path) == 0


def test_version_1_and_a_container_whose_group_is_the_mount(tmp_path):
    write(tmp_path, {"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/1234\n0::/"})
    folder = "sys/fs/cgroup/memory"
    write(tmp_path, at(folder, group_1(2**63 - 4096, GB), "memory.").copy())
    (tmp_path / folder / "memory.stat").write_text("total_inactive_file 0\n")
    assert free_in_cgroups(tmp_path) is None
    write(tmp_path, at(folder, group_1(4 * GB, 2 * GB, GB), "memory."))
    assert free_in_cgroups(tmp_path) == 3 * GB


def test_elsewhere_there_are_none(tmp_path):
    assert free_in_cgroups(tmp_path) is None


def test_a_limit_counts_with_what_the_process_has_already():
    (device, *_) = jax.local_devices()
    free = free_bytes(device)
    assert free is not None
    try:
        limit_memory(1)
        assert free_bytes(device) == 0
        limit_memory(10**15)
        assert free_bytes(device) == pytest.approx(free, rel=0.2)
    finally:
        limit_memory(None)
