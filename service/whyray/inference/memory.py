"""How many items go into one pass: as onboarding measured it, against what memory this machine has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from whyray.inference.session import RuntimeOptions

UNMEASURED_ELEMENTS = 2_000_000
UNMEASURED_MOST = 8


def unmeasured_batch(input_shape: Sequence[int]) -> int:
    """Items in one pass of a package without a report, by the size of its input alone."""
    return max(1, min(UNMEASURED_MOST, UNMEASURED_ELEMENTS // prod(input_shape)))


def measured_batch(entry: Mapping[str, Any] | None, budget: int | None) -> int | None:
    """Items by a report's entry, fewer where this machine's `budget` (bytes) asks for it; None without an entry."""
    if not entry:
        return None
    items = max(1, int(entry["items"]))
    item_bytes = entry.get("bytes per item")
    return items if not item_bytes or budget is None else max(1, min(items, budget // int(item_bytes)))


def memory_budget(options: RuntimeOptions, *, cuda: bool) -> int | None:
    """Bytes that one batch may take; None where that is not known."""
    if cuda:
        import torch

        if options.gpu_memory_limit is not None:
            return options.gpu_memory_limit // 2
        return int(torch.cuda.mem_get_info()[0]) // 2 if torch.cuda.is_available() else None
    if options.memory_limit is not None:
        return options.memory_limit
    free = _free_memory()
    return None if free is None else free // 4


def _free_memory() -> int | None:
    """Bytes of main memory that this process may still take: the machine's, or its control group's where less."""
    try:
        free = process_field(Path("/proc/meminfo"), "MemAvailable")
    except (OSError, KeyError):
        return None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):  # no control group, or no limit ("max")
        return free
    return max(0, min(free, limit - used))


def process_field(path: Path, name: str) -> int:
    """A field of a /proc file in kB, as bytes; KeyError where there is none."""
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise KeyError(name)
