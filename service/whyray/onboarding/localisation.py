"""Do maps point at what readers marked? Pointing game, AUPRC and IoU, beside maps that know no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.statistics import bootstrap_interval
from whyray.explain import Heatmap
from whyray.quality import salient_region
from whyray.quality.cells import edge_map


@dataclass(frozen=True)
class Marked:
    """One map, the image that it explains (1, C, *spatial), its number, and where readers marked the target."""

    image: int
    x: FloatArray
    heatmap: Heatmap
    truth: BoolArray


def localisation(marked: Sequence[Marked], seed: int) -> dict[str, Any]:
    """Each metric of the maps and of three baselines, with 95 % bootstrap intervals over images.

    `above every baseline`: the interval of the difference to the best of them, image by image, lies above 0.
    """
    rng = np.random.default_rng(seed)
    ways: dict[str, Callable[[Marked], FloatArray]] = {
        "map": lambda each: each.heatmap.values,
        "centre": lambda each: centre_map(each.truth.shape),
        "edges": lambda each: edge_map(each.x),
        "random": lambda each: rng.random(each.truth.shape).astype(np.float32),
    }
    scores: dict[str, dict[str, list[float]]] = {metric: {} for metric in METRICS}
    for way, values_of in ways.items():
        for each in marked:
            values, signed = values_of(each), each.heatmap.signed and way == "map"
            for metric, measure in METRICS.items():
                scores[metric].setdefault(way, []).append(measure(values, each.truth, signed))
    groups = np.array([each.image for each in marked])
    report: dict[str, Any] = {"maps": len(marked), "images": len(set(groups.tolist()))}
    for metric, by_way in scores.items():
        found = {way: _with_interval(np.array(values), groups, rng) for way, values in by_way.items()}
        best = max((way for way in by_way if way != "map"), key=lambda way: found[way]["value"])
        ahead = _with_interval(np.array(by_way["map"]) - np.array(by_way[best]), groups, rng)
        report[metric] = {**found, "above every baseline": ahead["interval"][0] > 0, "best baseline": best}
    return report


def pointing(values: FloatArray, truth: BoolArray, signed: bool = False) -> float:  # noqa: ARG001 - one shape for all
    """1 where the largest value lies inside what was marked, else 0 (Zhang et al. 2018, without their tolerance)."""
    return float(truth.ravel()[int(values.argmax())])


def average_precision(values: FloatArray, truth: BoolArray, signed: bool = False) -> float:  # noqa: ARG001
    """Area under precision over recall of places ranked by value; equal values share one threshold.

    A map that says nothing reaches the share of places that are marked.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth.ravel(), values.ravel()))


def intersection_over_union(values: FloatArray, truth: BoolArray, signed: bool = False) -> float:
    """Of the salient region (see `salient_region`) and what was marked."""
    region = salient_region(values, None, signed)[0]
    return float((region & truth).sum() / (region | truth).sum())


METRICS: Mapping[str, Callable[[FloatArray, BoolArray, bool], float]] = {
    "pointing game": pointing,
    "AUPRC": average_precision,
    "IoU": intersection_over_union,
}


def centre_map(shape: tuple[int, ...]) -> FloatArray:
    """1 in the centre, falling to 0 at the corners: where a finding is when nothing is known but the frame."""
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    distance = np.sqrt(sum(axis**2 for axis in axes) / len(shape))
    return np.asarray(1 - distance, np.float32)


def _with_interval(values: NDArray[np.float64], groups: NDArray[Any], rng: np.random.Generator) -> dict[str, Any]:
    interval = bootstrap_interval(lambda rows: float(values[rows].mean()), groups, rng)
    return {"value": round(float(values.mean()), 4), "interval": [round(end, 4) for end in interval]}
