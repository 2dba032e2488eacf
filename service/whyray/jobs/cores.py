"""How many cores a worker's passes take: ONNX Runtime and torch each take all that there are unless told otherwise."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from whyray.base.control_group import cpu_quota

if TYPE_CHECKING:
    from whyray.config import Workers


def threads_of_a_worker(workers: Workers) -> int | None:
    """Threads within one operator: as configured, or a worker's share of the cores, at least one.

    None where there is one worker, and no quota, which the libraries don't see: their own choice, which is all cores.
    """
    if workers.threads is not None:
        return workers.threads
    if workers.count == 1 and cpu_quota() is None:
        return None
    return max(1, usable_cores() // workers.count)


def usable_cores(root: Path = Path("/")) -> int:
    """The cores that this process may use, or so many as its control groups give it the time of, rounded up.

    Two threads of one core are one, as ONNX Runtime and torch count them.
    """
    cores = len({_of_one_core(root, number) for number in os.sched_getaffinity(0)})
    quota = cpu_quota(root)
    return cores if quota is None else min(cores, math.ceil(quota))


def _of_one_core(root: Path, number: int) -> str:
    """The logical processors that are one core with this one; alone where the machine does not tell."""
    try:
        return (root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(number)
