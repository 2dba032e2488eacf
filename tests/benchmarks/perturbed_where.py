"""Perturbed images made in numpy against those made where the model runs, on whatever device there is.

`python tests/benchmarks/perturbed_where.py [--device cuda] [--turns 5]`: both ways of each method in turns within one
run, and the bare forward passes of the same number of images, which no way of making them can undercut.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from whyray.explain import explain, explained_image
from whyray.inference import Model, RuntimeOptions, load_package

METHODS: dict[str, dict[str, Any]] = {
    "rise": {"masks": 80},
    "occlusion": {"window": 64, "stride": 32},
    "lime": {"samples": 80},
    "score-cam": {"channels": 80},
}


def example(model: Model) -> np.ndarray:
    """A bright blob, as an image of the model's."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in model.spatial_shape), indexing="ij")
    blob = np.exp(-sum((axis - 0.2) ** 2 for axis in axes) * 4)
    return np.broadcast_to(blob, model.network.input_shape).astype(np.float32)


def bare(model: Model, x: np.ndarray, count: int) -> None:
    """So many images through the model in batches of its size."""
    step = model.session.batch_size
    batch = np.repeat(model.network.checked_input(x), step, axis=0)
    for start in range(0, count, step):
        model.session.logits(batch[: min(step, count - start)])


def measured(ways: dict[str, Callable[[], object]], turns: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the clock and of processor time of each way, in turns after one that is not counted."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            way()
            if turn:
                taken[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return taken


def main() -> None:
    """Print a line a method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", default="cxr-findings")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    wanted = parser.parse_args()
    models = {
        where: load_package(
            wanted.package,
            options=RuntimeOptions(device=wanted.device, intra_op_threads=wanted.threads, perturbed_on=where),
        )
        for where in ("host", "device")
    }
    images = {where: explained_image(model, example(model)) for where, model in models.items()}
    host = models["host"]
    head = (
        "method",
        "passes",
        "host, s",
        "device, s",
        "ratio",
        "host, CPU s",
        "device, CPU s",
        "ratio",
        "bare passes, s",
    )
    sys.stdout.write(f"{host.identity} on {host.session.providers[0]}, {host.session.batch_size} items a pass\n\n")
    sys.stdout.write(f"| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}\n")
    for method in wanted.methods:

        def run(where: str, method: str = method) -> object:
            model = models[where]
            target = model.explainable_targets[0]
            return explain(model, images[where], target=target, method=method, **METHODS[method])

        before = host.session.forwards
        run("host")
        count = host.session.forwards - before
        ways: dict[str, Callable[[], object]] = {
            "host": lambda run=run: run("host"),
            "device": lambda run=run: run("device"),
            "bare": lambda count=count: bare(host, example(host), count),
        }
        taken = measured(ways, wanted.turns)
        seconds, processor = ({name: [pair[place] for pair in taken[name]] for name in ways} for place in range(2))
        middle = statistics.median
        ratios = [
            middle(there / here for here, there in zip(times["host"], times["device"], strict=True))
            for times in (seconds, processor)
        ]
        clock = [f"{middle(seconds[way]):.2f}" for way in ("host", "device")]
        cores = [f"{middle(processor[way]):.2f}" for way in ("host", "device")]
        cells = [f"`{method}`", f"{count}", *clock, f"{ratios[0]:.2f}", *cores, f"{ratios[1]:.2f}"]
        sys.stdout.write(f"| {' | '.join(cells)} | {middle(seconds['bare']):.2f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
