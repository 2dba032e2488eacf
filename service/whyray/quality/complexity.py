"""Whether a map can be read: how much of it says how much."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.quality.card import Grade, Measurement
from whyray.quality.similarity import order_of_whole_numbers

SPARSE = 0.2


def complexity(values: FloatArray, valid: BoolArray | None = None) -> list[Measurement]:
    """Sparseness and entropy of a map's magnitudes on the image (`valid`, False on padding). No forward pass."""
    inside = values if valid is None else values[valid]
    magnitude = np.abs(inside.astype(np.float64)).ravel()
    index = gini(np.abs(inside).ravel())
    flat = float(np.log(magnitude.size))
    return [
        Measurement(
            "sparseness",
            "complexity",
            index,
            0.0,
            Grade.GREEN if index >= SPARSE else Grade.AMBER,
            f"Gini index; 0: all places count the same; green from {SPARSE}",
            "Chalasani et al. 2020, section 3; threshold WhyRay's",
        ),
        Measurement(
            "entropy",
            "complexity",
            entropy(magnitude),
            flat,
            Grade.GREEN,
            "for comparison only: nats, the baseline is that of a flat map",
            "Bhatt et al. 2020, definition 4",
        ),
    ]


def gini(magnitude: NDArray[np.floating[Any]]) -> float:
    """Gini index of non-negative numbers, 0..1."""
    ordered = _sorted(magnitude).astype(np.float64)
    total = ordered.sum()
    if total == 0:
        return 0.0
    ranks = np.arange(1, len(ordered) + 1)
    return float(((2 * ranks - len(ordered) - 1) * ordered).sum() / (len(ordered) * total))


def _sorted(magnitude: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    if magnitude.dtype != np.float32 or np.signbit(magnitude).any():
        return np.sort(magnitude)
    # numbers that are not negative sort as their bits do
    return magnitude[order_of_whole_numbers(np.ascontiguousarray(magnitude).view(np.uint32))]


def entropy(magnitude: NDArray[np.float64]) -> float:
    """Shannon entropy in nats of magnitudes taken as a distribution."""
    share = magnitude[magnitude > 0] / magnitude.sum()
    return float(-(share * np.log(share)).sum())
