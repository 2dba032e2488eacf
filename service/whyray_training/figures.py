"""What the model cards report: AUC, Dice, calibration and thresholds, each with its uncertainty where it has one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import rankdata

from whyray.base.arrays import DoubleArray

Interval = dict[str, float]
RESAMPLES = 1000


def bootstrap(measure: Callable[[npt.NDArray[np.int64]], float], count: int, seed: int) -> Interval:
    """`value` on all `count` cases and the 2.5 and 97.5 percentiles over resamples with replacement.

    `measure` takes the numbers of the cases; a NaN (a resample without positives) is left out.
    """
    random = np.random.default_rng(seed)
    values = np.array([measure(random.integers(0, count, count)) for _ in range(RESAMPLES)])
    low, high = np.nanpercentile(values, [2.5, 97.5])
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


def auc(truth: DoubleArray, score: DoubleArray) -> float:
    """Area under the ROC curve by ranks (Mann and Whitney), ties counting half; NaN where only one class is present."""
    positive = float(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return float("nan")
    return float((rankdata(score)[truth == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def dice(truth: npt.NDArray[np.bool_], answer: npt.NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|); NaN where both are empty."""
    total = int(truth.sum()) + int(answer.sum())
    return 2 * int((truth & answer).sum()) / total if total else float("nan")


def platt(logit: DoubleArray, target: DoubleArray) -> tuple[float, float]:
    """(a, b) of sigmoid(a * logit + b), by maximum likelihood against targets in 0..1 (Platt 1999).

    Hard targets get Platt's correction, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), so that few positives give no certainty.
    """
    positive, negative = float((target == 1).sum()), float((target == 0).sum())
    smooth = np.where(target == 1, (positive + 1) / (positive + 2), np.where(target == 0, 1 / (negative + 2), target))

    def loss(parameters: DoubleArray) -> float:
        answer = parameters[0] * logit + parameters[1]
        return float(np.mean(np.logaddexp(0, answer) - smooth * answer))

    found = minimize(loss, np.array([1.0, 0.0]), bounds=[(0.05, 10.0), (-20.0, 20.0)])
    return rounded(found.x[0], 4), rounded(found.x[1], 4)


def expected_calibration_error(truth: DoubleArray, probability: DoubleArray, bins: int = 5) -> float:
    """Mean distance of observed frequency from probability over bins of equal count (Guo et al. 2017, eq. 3)."""
    order = np.array_split(np.argsort(probability), bins)
    gaps = [len(part) * abs(float(truth[part].mean() - probability[part].mean())) for part in order if len(part)]
    return rounded(sum(gaps) / len(truth))


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
