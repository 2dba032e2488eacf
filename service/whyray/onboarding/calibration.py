"""The expected calibration error of a package's probabilities, measured on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.statistics import bootstrap_interval, expected_calibration_error

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
            entry["interval"] = [round(end, 4) for end in bootstrap_interval(error, np.arange(len(known)), rng)]
        report[target] = entry
    return report


def _error_of_rows(said: NDArray[np.float64], true: NDArray[np.float64], rows: NDArray[np.intp]) -> float:
    return expected_calibration_error(said[rows], true[rows])
