"""Measures of an image that need nobody's labels, for regression concept vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from whyray.explain.concepts.bank import Concept

FloatArray = NDArray[np.float32]
MEASURES: Mapping[str, Callable[[FloatArray], float]] = {
    "brightness": lambda shown: float(shown.mean()),
    "contrast": lambda shown: float(shown.std()),
    "sharpness": lambda shown: float(np.mean([np.abs(np.diff(shown, axis=axis)).mean() for axis in range(shown.ndim)])),
    "left minus right brightness": lambda shown: _halves(shown, -1),
    "upper minus lower brightness": lambda shown: _halves(shown, -2),
}
"""Of the displayed image (*spatial) in 0..1 on the model's grid; left and right as one sees them."""


def measured(shown: FloatArray) -> dict[str, float]:
    """All of them."""
    return {name: measure(shown) for name, measure in MEASURES.items()}


def measure_concepts() -> tuple[Concept, ...]:
    """All of them as concepts."""
    return tuple(Concept(name, "measure", 0) for name in MEASURES)


def _halves(shown: FloatArray, axis: int) -> float:
    first, second = np.array_split(shown, 2, axis=axis)
    return float(first.mean() - second.mean())
