"""How much memory a job may take, and whether it was for want of memory that a process ended."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from whyray.base import control_group

if TYPE_CHECKING:
    from whyray.config import Workers

_SHARE = 0.8
"""Of the machine's memory, or its control groups' where less, for all workers, where `workers.memory` is left out."""
FIRST_TO_GO = 800
"""Of 1000: where the machine runs out, the kernel ends a job before Redis, intake or the worker that watches it."""
BEFORE_ALL = 1000
"""Of 1000: and what has only been read before what computes."""
_SLACK = 1 << 30
"""What libraries map and do not touch."""


def memory_of_a_job(workers: Workers) -> int:
    """The bytes that the process of one worker's jobs may hold: as configured, or its share of what there is."""
    if workers.memory is not None:
        return workers.memory
    return int(_SHARE * _machine_memory() / workers.count)


def _machine_memory() -> int:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = control_group.memory_limit()
    return machine if limit is None else min(machine, limit)


def limit_this_process(most: int, device: str) -> None:
    """Let this process allocate no more than `most` bytes, and be the first to go where memory runs out.

    CUDA maps more than the machine has, so that there only `resident_memory`, watched from outside, counts: it is told
    that limit, so that it refuses an image for which `most` does not suffice before it is ended in the midst of it.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO))
    _, hard = resource.getrlimit(resource.RLIMIT_RSS)
    resource.setrlimit(resource.RLIMIT_RSS, (most if hard < 0 else min(most, hard), hard))
    if device == "cpu":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = most + _SLACK
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))


def go_first(pid: int, score: int) -> None:
    """How soon the kernel ends this process where memory runs out: 0 as any other, `BEFORE_ALL` before all."""
    with suppress(OSError):  # it has ended, or this machine does not let its user choose
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(score))


def resident_memory(pid: int) -> int:
    """The bytes of memory that a process holds; 0 where this machine does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def kills_for_memory() -> int:
    """How many processes the kernel has ended for want of memory since the machine started; 0 where it doesn't tell."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return 0
