"""What the model cards report: AUC, Dice, calibration and thresholds, each with its uncertainty where it has one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from whyray.base import statistics
from whyray.base.arrays import DoubleArray
from whyray.base.statistics import auc as auc
from whyray.base.statistics import bootstrap_interval, platt_scaling

Interval = dict[str, float]


def bootstrap(measure: Callable[[npt.NDArray[np.int64]], float], count: int, seed: int) -> Interval:
    """`value` on all `count` cases and the 2.5 and 97.5 percentiles over resamples with replacement.

    `measure` takes the numbers of the cases; a NaN (a resample without positives) is left out.
    """
    low, high = bootstrap_interval(measure, np.arange(count), np.random.default_rng(seed))
    return {"value": rounded(measure(np.arange(count))), "low": rounded(low), "high": rounded(high)}


def with_interval(figure: Interval) -> str:
    """A figure as the cards write it: '0.722 (0.665 to 0.779)'."""
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def auc_interval(truth: DoubleArray, score: DoubleArray, seed: int) -> Interval:
    """Area under the ROC curve with its bootstrap interval over cases."""
    return bootstrap(lambda cases: auc(truth[cases], score[cases]), len(truth), seed)


def mean_auc_interval(truth: DoubleArray, score: DoubleArray, seed: int) -> Interval:
    """Mean over the columns of (N, K) of their AUC, with its bootstrap interval over cases."""
    return bootstrap(lambda cases: mean_auc(truth[cases], score[cases]), len(truth), seed)


def mean_auc(truth: DoubleArray, score: DoubleArray) -> float:
    """Mean over the columns of (N, K) of their AUC; columns with one class only are left out."""
    return float(np.nanmean([auc(truth[:, k], score[:, k]) for k in range(truth.shape[1])]))


def dice(truth: npt.NDArray[np.bool_], answer: npt.NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|); NaN where both are empty."""
    total = int(truth.sum()) + int(answer.sum())
    return 2 * int((truth & answer).sum()) / total if total else float("nan")


def platt(logit: DoubleArray, target: DoubleArray) -> tuple[float, float]:
    """`platt_scaling` as manifests give it: four digits, and a slope of 0.05 at least."""
    a, b = platt_scaling(logit, target, least_slope=0.05)
    return rounded(a, 4), rounded(b, 4)


def expected_calibration_error(truth: DoubleArray, probability: DoubleArray) -> float:
    """The error of that name as the cards give it: over five bins, since positives are few."""
    return rounded(statistics.expected_calibration_error(probability, truth, bins=5))


def threshold_at_specificity(truth: DoubleArray, probability: DoubleArray, specificity: float) -> float:
    """The lowest probability, to three digits, that at most 1 - `specificity` of the negatives reach."""
    negatives = probability[truth == 0]
    return min(0.999, float(np.ceil(np.quantile(negatives, specificity) * 1000 + 1e-9) / 1000))


def sigmoid(logit: DoubleArray) -> DoubleArray:
    """1 / (1 + exp(-logit))."""
    return np.asarray(1 / (1 + np.exp(-logit)))


def rounded(value: float, digits: int = 3) -> float:
    """For JSON and cards: enough digits, no more."""
    return round(float(value), digits)
