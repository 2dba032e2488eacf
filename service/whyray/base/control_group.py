"""What the control groups of this process let it have of memory: versions 1 and 2 of Linux's, and groups within groups.

A limit of an ancestor counts for all below it (Documentation/admin-guide/cgroup-v2.rst, "Memory"; cgroup-v1/memory.rst,
section 6), so that all groups from this process's up to the root are asked. A container sees its own group as the root,
where it was given a namespace of its own, or else under a path that isn't there: what is there is asked.
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


def _limited(root: Path) -> Iterator[tuple[int, Path, _Version]]:
    """(limit, folder, version) of each group that limits."""
    for version, group in _groups_of_this_process(root):
        for mount in version.mounts:
            for path in (group, *group.parents):
                folder = root / mount / path.relative_to("/")
                try:
                    limit = int((folder / version.limit).read_text())
                except (OSError, ValueError):  # no such group here, or no limit: 'max'
                    continue
                if limit < _NO_LIMIT:
                    yield limit, folder, version


def _groups_of_this_process(root: Path) -> Iterator[tuple[_Version, PurePosixPath]]:
    """Lines of /proc/self/cgroup: number, controllers, path; of version 2 the number is 0 and controllers are none."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        group = PurePosixPath("/", *(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
        if "memory" in controllers.split(","):
            yield _FIRST, group
        elif number == "0" and not controllers:
            yield _SECOND, group


def _used(folder: Path, version: _Version) -> int:
    used = int((folder / version.used).read_text())
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, number = line.partition(" ")
            if name == version.cache:
                return max(0, used - int(number))
    return used
