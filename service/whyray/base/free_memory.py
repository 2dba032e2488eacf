"""How much memory is free: of the machine, of its control group, and by the limit that a process was given."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

from whyray.base import control_group

_STATUS = Path("/proc/self/status")


def free_memory() -> int | None:
    """Bytes of main memory that processes may still take: the machine's, or its control group's where less.

    None where the machine does not tell.
    """
    try:
        free = process_field(Path("/proc/meminfo"), "MemAvailable")
    except (OSError, KeyError):
        return None
    in_groups = control_group.memory_left()
    return free if in_groups is None else min(free, in_groups)


def memory_left() -> int | None:
    """Bytes that this process may still take: `free_memory`, or what is left of its RLIMIT_DATA where that is less.

    None where the machine does not tell.
    """
    left = free_memory()
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return left
    with suppress(OSError, KeyError):
        own = max(0, limit - process_field(_STATUS, "VmData"))
        return own if left is None else min(left, own)
    return left


def process_field(path: Path, name: str) -> int:
    """A field of a /proc file in kB, as bytes; KeyError where there is none."""
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise KeyError(name)
