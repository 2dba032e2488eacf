"""How many items go into one pass, measured once: by time and by peak memory, against a budget."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.free_memory import process_field
from whyray.inference import Model, memory_budget, open_session, run_session

_ON_CPU = (1, 2, 4, 8, 16)
_ON_GPU = (1, 2, 4, 8, 16, 32, 64)
_GOOD_ENOUGH = 0.95
"""The smallest batch with this share of the best throughput is taken: it leaves memory, and cancels sooner."""
_LONGEST = 20.0
"""Seconds; no batch is tried that is expected to take longer."""


def measure_batches(model: Model, x: FloatArray) -> dict[str, Any]:
    """Entries `forward` and `gradient` of the report, measured on the image `x` (1, C, *spatial).

    Each: items to take, bytes per item (peak, beyond one item; absent where this system does not tell), the budget and
    items per second by batch. Gradients are left out where the model has none.
    """
    cuda = model.session.providers[0].startswith("CUDA")
    graph, logits = model.network.graph, model.network.logits_name
    budget = memory_budget(model.options, cuda=cuda)
    peak = _gpu_peak if cuda else _cpu_peak
    several = np.repeat(x, 3, axis=0) * np.array([0.5, 1, 2], np.float32).reshape(3, *[1] * (x.ndim - 1))
    sizes: Sequence[int] = (1,) if not model.session.batchable(several) else _ON_GPU if cuda else _ON_CPU

    def forward(items: int) -> Callable[[], object]:
        # A session of its own for each size: the arena of one that has run before already holds what is measured.
        session = open_session(graph.with_outputs([logits]), model.options, name=graph.where)
        fed = model.session.fed(np.repeat(x, items, axis=0))
        return lambda: run_session(session, [logits], {graph.input: fed})

    least = 2 * x.nbytes  # what goes in, and a copy of it
    measured = {"forward": _measure(forward, sizes, budget, peak, least)}
    if model.gradients.measured_tier() == "T2":
        engine = model.gradients.engine("gradient", 1)
        regions = None
        if model.task == "segmentation":
            regions = np.ones((1, *model.session.run(x).logits.shape[2:]), np.float32)

        def gradient(items: int) -> Callable[[], object]:
            images = np.repeat(x, items, axis=0)
            return lambda: engine.gradients(images, [0], regions)

        measured["gradient"] = _measure(gradient, sizes, budget, peak, least)
    return measured


def _measure(
    make: Callable[[int], Callable[[], object]],
    sizes: Sequence[int],
    budget: int | None,
    peak: Callable[[Callable[[], object]], int | None],
    least: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    gc.collect()  # what is rubbish already shall not be freed, and hide growth, while a batch is measured
    peaks: dict[int, int | None] = {}
    speed: dict[int, float] = {}
    item_bytes: int | None = None
    for items in sizes:
        if item_bytes is not None and budget is not None and items * item_bytes > budget:
            break
        if speed and items / speed[max(speed)] > _LONGEST:
            break
        way = make(items)
        peaks[items] = peak(way)
        taken = []
        for _ in range(2):
            started = clock()
            way()
            taken.append(clock() - started)
        speed[items] = items / max(min(taken), 1e-9)
        item_bytes = bytes_per_item(peaks, least)
    best = max(speed.values())
    chosen = min(items for items, rate in speed.items() if rate >= _GOOD_ENOUGH * best)
    return {
        "items": chosen,
        "items per second": {str(items): round(rate, 3) for items, rate in speed.items()},
        **({} if item_bytes is None else {"bytes per item": item_bytes}),
        **({} if budget is None else {"budget": budget}),
    }


def bytes_per_item(peaks: Mapping[int, int | None], least: int = 1) -> int | None:
    """The steepest growth of peak memory with the batch, or the peak of one item where there was only one.

    At least `least`: memory that was free before hides what a small pass takes. None where no peak is known.
    """
    known = {items: peak for items, peak in peaks.items() if peak is not None}
    if not known:
        return None
    first = min(known)
    slopes = [(known[items] - known[first]) / (items - first) for items in known if items > first]
    return max(least, round(max(slopes)) if slopes else known[first] // first)


def _cpu_peak(way: Callable[[], object]) -> int | None:
    """Bytes by which this process grew at most while it ran; None where the system does not tell (not Linux)."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()  # garbage that goes while it runs would be taken for room that it did not need
    try:
        reset.write_text("5")
        before = process_field(status, "VmRSS")
        way()
        return max(0, process_field(status, "VmHWM") - before)
    except (OSError, KeyError):
        way()
        return None


def _gpu_peak(way: Callable[[], object]) -> int | None:
    """Bytes of the GPU that ONNX Runtime's arena grew by, and torch's peak, together."""
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    free, held = torch.cuda.mem_get_info()[0], torch.cuda.memory_reserved()
    way()
    torch.cuda.synchronize()
    by_torch = torch.cuda.memory_reserved() - held
    elsewhere = free - torch.cuda.mem_get_info()[0] - by_torch
    return int(max(0, elsewhere) + torch.cuda.max_memory_allocated())
