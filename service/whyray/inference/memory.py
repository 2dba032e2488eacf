"""How many items go into one pass: as onboarding measured it, against what memory this machine has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from whyray.base.free_memory import free_memory
from whyray.inference.session import RuntimeOptions

UNMEASURED_ELEMENTS = 2_000_000
UNMEASURED_MOST = 8


def unmeasured_batch(input_shape: Sequence[int]) -> int:
    """Items in one pass of a package without a report, by the size of its input alone."""
    return max(1, min(UNMEASURED_MOST, UNMEASURED_ELEMENTS // prod(input_shape)))


def measured_batch(entry: Mapping[str, Any] | None, budget: int | None, beside: int = 0) -> int | None:
    """Items by a report's entry, fewer where this machine's `budget` (bytes) asks for it; None without an entry.

    `beside`: bytes that an item takes of the same memory beside what was measured.
    """
    if not entry:
        return None
    items = max(1, int(entry["items"]))
    item_bytes = entry.get("bytes per item")
    return items if not item_bytes or budget is None else max(1, min(items, budget // (int(item_bytes) + beside)))


def memory_budget(options: RuntimeOptions, *, cuda: bool) -> int | None:
    """Bytes that one batch may take; None where that is not known."""
    if cuda:
        import torch

        if options.gpu_memory_limit is not None:
            return options.gpu_memory_limit // 2
        return int(torch.cuda.mem_get_info()[0]) // 2 if torch.cuda.is_available() else None
    if options.memory_limit is not None:
        return options.memory_limit
    free = free_memory()
    return None if free is None else free // 4
