"""Limits of control groups, on trees as the kernel shows them to a process: of both versions, alone and nested."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from whyray.base import control_group, free_memory
from whyray.base.control_group import cpu_quota, memory_left, memory_limit

GIB = 1 << 30
UNLIMITED_IN_VERSION_1 = 0x7FFFFFFFFFFFF000


def tree(root: Path, cgroup: str, files: Mapping[str, object]) -> Path:
    """A root folder with /proc/self/cgroup and files of /sys/fs/cgroup."""
    for name, content in {"proc/self/cgroup": cgroup, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def test_without_control_groups_nothing_limits(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None
    assert memory_left(tmp_path) is None


def test_a_container_with_a_namespace_of_its_own_sees_its_group_as_the_root(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/", {"memory.max": 4 * GIB, "memory.current": GIB})
    assert memory_limit(root) == 4 * GIB
    assert memory_left(root) == 3 * GIB


def test_a_group_without_limit_within_a_limited_one_is_limited(tmp_path: Path) -> None:
    files = {
        "system.slice/memory.max": 2 * GIB,
        "system.slice/memory.current": GIB,
        "system.slice/whyray.service/memory.max": "max",
        "system.slice/whyray.service/memory.current": GIB // 2,
    }
    root = tree(tmp_path, "0::/system.slice/whyray.service", files)
    assert memory_limit(root) == 2 * GIB
    assert memory_left(root) == GIB


def test_the_least_of_nested_limits_counts_and_neighbours_take_of_what_is_left(tmp_path: Path) -> None:
    files = {
        "hospital/memory.max": 8 * GIB,
        "hospital/memory.current": 7 * GIB,
        "hospital/whyray/memory.max": 4 * GIB,
        "hospital/whyray/memory.current": GIB,
        "elsewhere/memory.max": 1,
    }
    root = tree(tmp_path, "0::/hospital/whyray", files)
    assert memory_limit(root) == 4 * GIB
    assert memory_left(root) == GIB, "the ancestor has less left than the group itself"


def test_files_that_were_read_before_do_not_count_as_taken(tmp_path: Path) -> None:
    files = {
        "memory.max": 4 * GIB,
        "memory.current": 4 * GIB,
        "memory.stat": f"anon {GIB}\ninactive_file {2 * GIB}\nactive_file {GIB}",
    }
    assert memory_left(tree(tmp_path, "0::/", files)) == 2 * GIB


def test_a_group_that_holds_more_than_its_limit_has_nothing_left(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/", {"memory.max": GIB, "memory.current": GIB + 4096})
    assert memory_left(root) == 0


def test_version_1_and_its_nested_groups(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": UNLIMITED_IN_VERSION_1,
        "memory/memory.usage_in_bytes": 20 * GIB,
        "memory/docker/memory.limit_in_bytes": 6 * GIB,
        "memory/docker/memory.usage_in_bytes": 3 * GIB,
        "memory/docker/memory.stat": f"inactive_file 0\ntotal_inactive_file {GIB}",
        "memory/docker/abc/memory.limit_in_bytes": UNLIMITED_IN_VERSION_1,
        "memory/docker/abc/memory.usage_in_bytes": 2 * GIB,
    }
    root = tree(tmp_path, "12:pids:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/\n0::/", files)
    assert memory_limit(root) == 6 * GIB
    assert memory_left(root) == 4 * GIB


def test_version_1_without_limits_limits_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path, "4:memory:/", {"memory/memory.limit_in_bytes": UNLIMITED_IN_VERSION_1})
    assert memory_limit(root) is None
    assert memory_left(root) is None


@pytest.mark.parametrize("line", ["4:memory,hugetlb:/docker/abc", "4:memory:/../../docker/abc"])
def test_a_container_that_is_told_the_host_s_path_finds_its_group_at_the_root(tmp_path: Path, line: str) -> None:
    files = {"memory/memory.limit_in_bytes": 3 * GIB, "memory/memory.usage_in_bytes": GIB}
    root = tree(tmp_path, line, files)
    assert memory_limit(root) == 3 * GIB
    assert memory_left(root) == 2 * GIB


def test_both_versions_side_by_side_are_asked(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": 5 * GIB,
        "memory/memory.usage_in_bytes": GIB,
        "unified/ours/memory.max": 3 * GIB,
        "unified/ours/memory.current": GIB,
    }
    root = tree(tmp_path, "4:memory:/\n0::/ours", files)
    assert memory_limit(root) == 3 * GIB
    assert memory_left(root) == 2 * GIB


def test_a_limit_counts_though_its_use_is_not_told(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/", {"memory.max": GIB})
    assert memory_limit(root) == GIB
    assert memory_left(root) is None


def test_what_is_free_of_the_machine_is_at_most_what_its_groups_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_group, "memory_left", lambda: 4096)
    assert free_memory.free_memory() == 4096
    monkeypatch.setattr(control_group, "memory_left", lambda: None)
    machine = free_memory.free_memory()
    assert machine is not None
    assert machine > 4096


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/", {}, None),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "400000 100000"}, 4.0),
        ("0::/", {"cpu.max": "25000 50000"}, 0.5),
        ("0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        ("0::/a/b", {"a/cpu.max": "800000 100000", "a/b/cpu.max": "200000 100000", "c/cpu.max": "1 100000"}, 2.0),
        ("0::/not/seen/here", {"cpu.max": "300000 100000"}, 3.0),
        ("0::/", {"cpu.max": "what"}, None),
        ("0::/", {"cpu.max": "100000 0"}, None),
        ("3:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": -1, "cpu,cpuacct/cpu.cfs_period_us": 100000}, None),
        ("3:cpu,cpuacct:/a", {"cpu/a/cpu.cfs_quota_us": 250000, "cpu/a/cpu.cfs_period_us": 100000}, 2.5),
        ("3:cpu,cpuacct:/a", {"cpu,cpuacct/cpu.cfs_quota_us": 250000, "cpu,cpuacct/cpu.cfs_period_us": 100000}, 2.5),
        ("3:cpuset:/a\n0::/", {"cpu/a/cpu.cfs_quota_us": 250000, "cpu/a/cpu.cfs_period_us": 100000}, None),
        ("3:cpu:/a", {"cpu/a/cpu.cfs_quota_us": 250000}, None),
    ],
)
def test_the_least_quota_of_processors_counts(
    cgroup: str, files: Mapping[str, object], expected: float | None, tmp_path: Path
) -> None:
    assert cpu_quota(tree(tmp_path, cgroup, files)) == expected
