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
    """Bytes that this process may still take: `free_memory`, or what its own limits leave where that is less.

    These are RLIMIT_DATA, of what it allocates, and RLIMIT_RSS, of what is resident: Linux heeds only the former, who
    set the latter watches over it. None where the machine does not tell.
    """
    left = [free_memory()]
    for limit, used in ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_RSS, "VmRSS")):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            with suppress(OSError, KeyError):
                left.append(max(0, most - process_field(_STATUS, used)))
    return min((one for one in left if one is not None), default=None)


def process_field(path: Path, name: str) -> int:
    """A field of a /proc file in kB, as bytes; KeyError where there is none."""
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise KeyError(name)
