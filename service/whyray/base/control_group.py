"""What control groups let this process have of memory and processors: versions 1 and 2 of Linux's, nested ones too.

A limit of an ancestor counts for all below it (Documentation/admin-guide/cgroup-v2.rst, "Memory" and "CPU";
cgroup-v1/memory.rst, section 6; scheduler/sched-bwc.rst), so that all groups from this process's up to the root are
asked. A container sees its own group as the root, where it was given a namespace of its own, or else under a path that
isn't there: what is there is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class _Version:
    """Where a version of control groups keeps what. Limits and uses are bytes; `cache` is a field of memory.stat."""

    mounts: tuple[str, ...]
    limit: str
    used: str
    cache: str


_FIRST = _Version(("sys/fs/cgroup/memory",), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_SECOND = _Version(("sys/fs/cgroup", "sys/fs/cgroup/unified"), "memory.max", "memory.current", "inactive_file")
_VERSIONS = {1: _FIRST, 2: _SECOND}
_CPU_MOUNTS = {1: ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"), 2: _SECOND.mounts}
_NO_LIMIT = 1 << 62
"""Version 1 writes the greatest number of whole pages where there is none."""


def memory_limit(root: Path = Path("/")) -> int | None:
    """The least limit in bytes of this process's group and those around it; None where nothing limits."""
    return min((limit for limit, _, _ in _limited(root)), default=None)


def memory_left(root: Path = Path("/")) -> int | None:
    """The bytes that may still be taken in all of these groups; None where nothing limits, or none tells.

    What only keeps files that were read before is not counted as taken: the kernel gives it up first.
    """
    left = []
    for limit, folder, version in _limited(root):
        with suppress(OSError, ValueError):
            left.append(max(0, limit - _used(folder, version)))
    return min(left, default=None)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """How many processors' time this process's group and those around it may take, at the least; None for any."""
    quotas = []
    for version, group in _groups_of_this_process(root, "cpu"):
        for folder in _folders(root, _CPU_MOUNTS[version], group):
            with suppress(OSError, ValueError, ZeroDivisionError):  # no such group here, or no limit: 'max'
                quota, period = map(int, _quota_and_period(folder, version))
                if quota > 0:  # -1 in version 1 where there is none
                    quotas.append(quota / period)
    return min(quotas, default=None)


def _quota_and_period(folder: Path, version: int) -> list[str]:
    """Microseconds of processors' time in each period of so many."""
    if version == 2:
        return (folder / "cpu.max").read_text().split()
    return [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]


def _limited(root: Path) -> Iterator[tuple[int, Path, _Version]]:
    """(limit, folder, version) of each group that limits memory."""
    for number, group in _groups_of_this_process(root, "memory"):
        version = _VERSIONS[number]
        for folder in _folders(root, version.mounts, group):
            try:
                limit = int((folder / version.limit).read_text())
            except (OSError, ValueError):  # no such group here, or no limit: 'max'
                continue
            if limit < _NO_LIMIT:
                yield limit, folder, version


def _folders(root: Path, mounts: tuple[str, ...], group: PurePosixPath) -> Iterator[Path]:
    """Where a group and those around it may be, its own first."""
    for mount in mounts:
        for path in (group, *group.parents):
            yield root / mount / path.relative_to("/")


def _groups_of_this_process(root: Path, controller: str) -> Iterator[tuple[int, PurePosixPath]]:
    """(version, group) of each hierarchy that may have the controller.

    Lines of /proc/self/cgroup: number, controllers, path; of version 2 the number is 0 and controllers are none.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        group = PurePosixPath("/", *(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
        if controller in controllers.split(","):
            yield 1, group
        elif number == "0" and not controllers:
            yield 2, group


def _used(folder: Path, version: _Version) -> int:
    used = int((folder / version.used).read_text())
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, number = line.partition(" ")
            if name == version.cache:
                return max(0, used - int(number))
    return used
