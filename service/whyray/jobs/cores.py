"""How many cores a worker's passes take: ONNX Runtime and torch each take all that there are unless told otherwise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whyray.config import Workers


def threads_of_a_worker(workers: Workers) -> int | None:
    """Threads within one operator: as configured, or a worker's share of the cores, at least one.

    None where there is one worker: the libraries' own choice, which is all cores.
    """
    if workers.threads is not None:
        return workers.threads
    if workers.count == 1:
        return None
    return max(1, _cores() // workers.count)


def _cores(root: Path = Path("/")) -> int:
    """The cores that this process may use. Two threads of one core are one, as ONNX Runtime and torch count them."""
    return len({_of_one_core(root, number) for number in os.sched_getaffinity(0)})


def _of_one_core(root: Path, number: int) -> str:
    """The logical processors that are one core with this one; alone where the machine does not tell."""
    try:
        return (root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(number)
