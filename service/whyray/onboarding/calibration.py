"""Are probabilities what they say? Expected calibration error on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.onboarding.localisation import bootstrap

BINS = 10
FEWEST = 20
"""Labelled images of a target below which nothing is said."""


def calibration(
    targets: Sequence[str], probabilities: NDArray[np.float32], labels: NDArray[np.float64], seed: int
) -> dict[str, Any]:
    """The ECE of each target with its 95 % bootstrap interval; `labels` (images, targets): 0, 1, or NaN for unknown."""
    rng = np.random.default_rng(seed)
    report: dict[str, Any] = {}
    for number, target in enumerate(targets):
        known = np.flatnonzero(np.isfinite(labels[:, number]))
        said, true = probabilities[known, number].astype(np.float64), labels[known, number]
        entry: dict[str, Any] = {"images": len(known), "positive": int(true.sum())}
        if len(known) >= FEWEST:
            error = partial(_error_of_rows, said, true)
            entry["ECE"] = round(error(np.arange(len(known))), 4)
            entry["interval"] = bootstrap(np.arange(len(known)), error, rng)
        report[target] = entry
    return report


def _error_of_rows(said: NDArray[np.float64], true: NDArray[np.float64], rows: NDArray[np.intp]) -> float:
    return expected_calibration_error(said[rows], true[rows])


def expected_calibration_error(said: NDArray[np.float64], true: NDArray[np.float64], bins: int = BINS) -> float:
    """Mean |probability - frequency| over bins (Guo et al. 2017, eq. 3) of equal count (Nixon et al. 2019)."""
    order = np.argsort(said, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return float(sum(len(part) * abs(said[part].mean() - true[part].mean()) for part in parts) / len(order))
