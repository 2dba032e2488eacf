"""Which engine gives a package's gradients fastest, measured once: its twin in torch, or gradients compiled to ONNX."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.inference import GradientEngine, Model, Twin, parity_gap

SAME = 1e-3
"""Largest difference of compiled gradients to the twin's, by Euclidean norm: single places differ more where an
activation has a kink just there, and rounding decides its side."""
_TURNS = 5


def compare_gradients(model: Model, x: FloatArray, *, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """What compiling the input gradient gives, measured on the image `x` (1, C, *spatial): an entry of the report.

    `used up to targets`: for so many targets at once it is the faster engine; 0 where the twin is, or where the
    gradient does not export or differs from the twin's.
    """
    try:
        twin = model.gradients.twin("gradient")
        engine = model.gradients.compiled(twin.converter)
        regions = _some_regions(model, x)
        gap = _difference(engine, twin, x, regions, model)
    except Exception as error:  # tracer, exporter and ONNX Runtime each have classes of their own
        return _not_used(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    if not gap <= SAME:
        return _not_used(f"its gradients differ from the twin's by {gap:.2g}, more than {SAME}")
    most = min(len(model.targets), 4)

    def seconds(which: GradientEngine, count: int) -> Callable[[], object]:
        part = None if regions is None else regions[:count]
        return lambda: which.gradients(x, list(range(count)), part)

    ways = {
        "twin, 1 target": seconds(twin, 1),
        f"twin, {most} targets": seconds(twin, most),
        "compiled, 1 target": seconds(engine, 1),
    }
    first, several, own = medians(list(ways.values()), clock)
    return {
        "exported": True,
        "converter": twin.converter.name,
        "difference to the twin": float(f"{gap:.2g}"),
        "seconds": {name: round(seconds, 6) for name, seconds in zip(ways, (first, several, own), strict=True)},
        "used up to targets": worth_it(first, several, own, most, len(model.targets)),
    }


def compare_heads(model: Model, x: FloatArray, *, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """The same for the head's gradient, where the head has no closed form; all targets at once."""
    run = model.session.run(x)
    assert run.features is not None
    targets, regions = list(range(len(model.targets))), _some_regions(model, x)
    try:
        twin = model.gradients.converted_head()
        engine = model.gradients.compiled_head(twin.converter)
        given = (run.features, run.logits, targets, regions)
        expected, actual = twin(*given)[0], engine(*given)[0]
        gap = float(np.linalg.norm(actual - expected) / max(float(np.linalg.norm(expected)), 1e-12))
    except Exception as error:  # as above
        return _not_used(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    if not gap <= SAME:
        return _not_used(f"its gradients differ from the twin's by {gap:.2g}, more than {SAME}")
    slow, fast = medians([lambda: twin(*given), lambda: engine(*given)], clock)
    return {
        "exported": True,
        "converter": twin.converter.name,
        "difference to the twin": float(f"{gap:.2g}"),
        "seconds": {"twin, all targets": round(slow, 6), "compiled, all targets": round(fast, 6)},
        "used up to targets": len(targets) if fast < slow else 0,
    }


def worth_it(first: float, several: float, own: float, measured: int, targets: int) -> int:
    """For how many targets at once the compiled gradient is faster.

    The twin goes forward once and back for each target, so its time is `first` for one and grows evenly to `several`
    for `measured`; the compiled graph goes both ways for each, `own` every time.
    """
    if own >= first:
        return 0
    more = (several - first) / max(measured - 1, 1) if measured > 1 else first
    if own <= more:
        return targets
    return max(1, min(targets, int((first - more) / (own - more))))


def medians(ways: Sequence[Callable[[], object]], clock: Callable[[], float]) -> list[float]:
    """Median seconds of each way, taken in turns after one turn to warm up."""
    taken = np.zeros((_TURNS + 1, len(ways)))
    for turn in taken:
        for number, way in enumerate(ways):
            started = clock()
            way()
            turn[number] = clock() - started
    return [float(median) for median in np.median(taken[1:], axis=0)]


def _difference(engine: GradientEngine, twin: Twin, x: FloatArray, regions: FloatArray | None, model: Model) -> float:
    """The larger of: relative distance of gradients, and parity of logits; of one item, and of three where it can."""
    targets = list(range(len(model.targets)))
    worst = 0.0
    several = np.concatenate([x, 0.5 * x, np.flip(x, axis=-1)])
    for images in (x, several) if model.session.batchable(several) else (x,):
        expected, _ = twin.gradients(images, targets, regions)
        actual, logits = engine.gradients(images, targets, regions)
        distance = float(np.linalg.norm(actual - expected) / max(float(np.linalg.norm(expected)), 1e-12))
        worst = max(worst, distance, parity_gap(logits, model.session.logits(images)))
    return worst


def _some_regions(model: Model, x: FloatArray) -> FloatArray | None:
    """For a segmentation, a part of the grid for each target: halves will do, what is compared is arithmetic."""
    if model.task != "segmentation":
        return None
    grid = model.session.run(x).logits.shape[2:]
    regions = np.zeros((len(model.targets), *grid), np.float32)
    regions[:, ..., : grid[-1] // 2] = 1.0 / max(1, int(np.prod(grid)) // 2)
    return regions


def _not_used(reason: str) -> dict[str, Any]:
    return {"exported": False, "why not": reason, "used up to targets": 0}
