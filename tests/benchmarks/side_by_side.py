"""Timing several ways to the same result in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

SECONDS = float(os.environ.get("WHYRAY_BENCH_SECONDS", "18"))
"""What one comparison may take, warming up not counted; at least three turns are made."""
TURNS = int(os.environ.get("WHYRAY_BENCH_TURNS", "15"))
_MEASURED = ("torch", "onnxruntime", "captum", "grad-cam", "xaitk-saliency", "zennit")


def side_by_side(
    title: str, ways: Mapping[str, Callable[[], object]], *, device: str = "cpu", note: str = ""
) -> dict[str, dict[str, object]]:
    """Run each way once to warm up, then in turns; print medians and ratios to the first, with quartiles.

    The order is drawn anew each turn, since what runs after a heavy way finds the caches cold. On a GPU each way is
    waited for. Appends the figures as a JSON line to the file that WHYRAY_BENCH_OUT names, where it is set.
    """
    once = sum(_seconds(way, device) for way in ways.values())
    once = sum(_seconds(way, device) for way in ways.values()) if once < SECONDS / 6 else once
    turns = max(3, min(TURNS, int(SECONDS / max(once, 1e-9))))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    order, draw = list(ways), random.Random(0)
    for _ in range(turns):
        for name in draw.sample(order, len(order)):
            seconds[name].append(_seconds(ways[name], device))
    base = seconds[order[0]]
    lines = ["", f"{title} ({turns} turns)" + (f": {note}" if note else "")]
    figures: dict[str, dict[str, object]] = {}
    for name, times in seconds.items():
        ratios = [own / first for own, first in zip(times, base, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        median = statistics.median(times) * 1000
        figures[name] = {
            "ms": round(median, 2),
            "ratio": round(middle, 3),
            "quartiles": [round(low, 3), round(high, 3)],
        }
        lines.append(f"  {name:<48} {median:9.1f} ms   {middle:6.2f} x  ({low:.2f} .. {high:.2f})")
    sys.stdout.write("\n".join(lines) + "\n")
    _keep({"title": title, "note": note, "turns": turns, "figures": figures})
    return figures


def start_of_run(device: str, threads: int) -> None:
    """Begin the file that WHYRAY_BENCH_OUT names with what the figures were measured on."""
    if "WHYRAY_BENCH_OUT" not in os.environ:
        return
    path = Path(os.environ["WHYRAY_BENCH_OUT"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("", encoding="utf-8")
    versions = {}
    for name in _MEASURED:
        try:
            versions[name] = version(name)
        except Exception:  # absent: its rows are left out too
            versions[name] = "absent"
    machine = {
        "day": datetime.now(tz=UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load before": round(os.getloadavg()[0], 2),
        "device": device,
        "versions": versions,
    }
    _keep({"machine": machine})


def device_name(device: str) -> str:
    """The GPU's name where one is used."""
    if device != "cuda":
        return "CPU"
    import torch

    return str(torch.cuda.get_device_name(0))


def _seconds(way: Callable[[], object], device: str) -> float:
    started = time.perf_counter()
    way()
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter() - started


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _keep(entry: object) -> None:
    if "WHYRAY_BENCH_OUT" in os.environ:
        with Path(os.environ["WHYRAY_BENCH_OUT"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
