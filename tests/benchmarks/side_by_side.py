"""Timing several ways to the same result in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def side_by_side(title: str, ways: Mapping[str, Callable[[], object]], *, turns: int = 7) -> None:
    """Run each way once to warm up, then `turns` times in turn; print medians and ratios to the first, with quartiles.

    Appends the figures as a JSON line to the file that WHYRAY_BENCH_OUT names, where it is set.
    """
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    base = seconds[next(iter(ways))]
    lines = ["", title]
    figures = {}
    for name, each in seconds.items():
        ratios = [own / first for own, first in zip(each, base, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        median = statistics.median(each) * 1000
        figures[name] = {
            "ms": round(median, 2),
            "ratio": round(middle, 3),
            "quartiles": [round(low, 3), round(high, 3)],
        }
        lines.append(f"  {name:<44} {median:9.1f} ms   {middle:6.2f} x  ({low:.2f} .. {high:.2f})")
    sys.stdout.write("\n".join(lines) + "\n")
    if "WHYRAY_BENCH_OUT" in os.environ:
        with Path(os.environ["WHYRAY_BENCH_OUT"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"title": title, "figures": figures}) + "\n")
