"""Figures of how right answers are: area under the ROC curve, calibration, intervals by resampling, even samples.

One of each for the whole project. scipy is imported where it is needed: intake and the command line load this room too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray

RESAMPLES = 1000
_STEEPEST = 20.0
_EDGE = 1e-9
_Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


def auc(truth: NDArray[np.floating], score: NDArray[np.floating]) -> float:
    """Area under the ROC curve, by the ranks of Mann and Whitney (1947), ties counting half.

    The chance that a positive scores higher than a negative. scikit-learn's `roc_auc_score` gives the same and takes
    twenty times as long (it sorts, checks and draws the curve): too long for the thousands of resamples of an interval.

    Parameters
    ----------
    truth
        (N,): 1 for a positive, 0 for a negative.
    score
        (N,): the larger, the more it speaks for a positive.

    Returns
    -------
    float
        0..1; NaN where one class is missing.
    """
    from scipy.stats import rankdata

    positive = np.asarray(truth) > 0.5
    count, rest = np.count_nonzero(positive), np.count_nonzero(~positive)
    if not count or not rest:
        return float("nan")
    return float((rankdata(score)[positive].sum() - count * (count + 1) / 2) / (count * rest))


def auc_interval(area: float, positives: float, negatives: float) -> tuple[float, float]:
    """The 95 % interval of an AUC by the score method of Newcombe (2006, part 2, method 5), 0..1.

    The areas θ whose standard error, after Hanley and McNeil (1982) with both numbers replaced by their mean, puts
    `area` within 1.96 of them: V(θ) = θ(1 - θ) (1 + (N - 1) ((1 - θ)/(2 - θ) + θ/(1 + θ))) / mn, N = (m + n)/2.
    Needs nothing but the area and the numbers, covers in small samples, and has a width where no positive scores
    below a negative: there the bootstrap and DeLong's method say that the area is 1 for certain.

    Parameters
    ----------
    area
        As `auc` gives it.
    positives, negatives
        m and n, of patients; 1 or more, not necessarily whole (`effective_count`).
    """
    from scipy.optimize import brentq

    mean = (positives + negatives) / 2

    def beyond(candidate: float) -> float:
        spread = 1 + (mean - 1) * ((1 - candidate) / (2 - candidate) + candidate / (1 + candidate))
        variance = candidate * (1 - candidate) * spread / (positives * negatives)
        return float((area - candidate) ** 2 - _Z**2 * variance)

    inside = min(max(area, _EDGE), 1 - _EDGE)  # at 0 and 1 the area itself solves it, with a variance of 0
    low = 0.0 if area <= _EDGE else float(brentq(beyond, 0.0, inside))
    high = 1.0 if area >= 1 - _EDGE else float(brentq(beyond, inside, 1.0))
    return low, high


def effective_count(groups: NDArray[np.generic]) -> float:
    """How many independent rows so many rows of groups are worth where rows of a group all say the same (Kish 1965):
    (Σ n)² / Σ n², between 1 and the number of groups. `groups` (N,): the group of each row, N ≥ 1.
    """
    _, sizes = np.unique(groups, return_counts=True)
    return float(sizes.sum() ** 2 / (sizes.astype(np.float64) ** 2).sum())


def platt_scaling(score: DoubleArray, target: DoubleArray, *, least_slope: float = 0.0) -> tuple[float, float]:
    """Slope and offset (a, b) of the probability sigmoid(a * score + b), by maximum likelihood (Platt 1999).

    Targets of 0 and 1 become 1 / (n- + 2) and (n+ + 1) / (n+ + 2), as in the paper, so that few positives give no
    certainty. scikit-learn's sigmoid calibration takes no targets between 0 and 1, and no bound of the slope: of a
    score that is worse than chance it would turn every answer around.

    Parameters
    ----------
    score, target
        (N,); targets in 0..1, those in between (a teacher's probabilities) taken as they are.
    least_slope
        The slope is not less than this.
    """
    from scipy.optimize import minimize

    positive, negative = np.count_nonzero(target == 1), np.count_nonzero(target == 0)
    smooth = np.where(target == 1, (positive + 1) / (positive + 2), np.where(target == 0, 1 / (negative + 2), target))
    unit = float(score.std()) or 1.0

    def loss(parameters: DoubleArray) -> float:
        logit = parameters[0] * score / unit + parameters[1]
        return float(np.mean(np.logaddexp(0, logit) - smooth * logit))

    steepest = max(_STEEPEST, least_slope * unit)
    fitted = minimize(loss, np.array([1.0, 0.0]), bounds=[(least_slope * unit, steepest), (-20.0, 20.0)])
    return float(fitted.x[0]) / unit, float(fitted.x[1])


def expected_calibration_error(probability: DoubleArray, truth: DoubleArray, bins: int = 10) -> float:
    """Mean |probability - frequency| over bins (Guo et al. 2017, eq. 3) of equal count (Nixon et al. 2019), 0..1.

    Cases with the same probability count with the frequency that all of them have, whichever bins they fall into: which
    of them fall into which is nothing that was measured, and the order in which they were given changes nothing.
    `probability` and `truth` (N,), N ≥ 1; with fewer cases than bins, every case is a bin. NaN where one of them is.
    """
    _, same, count = np.unique(probability, return_inverse=True, return_counts=True)
    frequency = (np.bincount(same, truth) / count)[same]
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = (len(part) * abs(probability[part].mean() - frequency[part].mean()) for part in parts)
    return float(sum(gaps) / len(order))


def bootstrap_interval(
    statistic: Callable[[NDArray[np.intp]], float], groups: NDArray[np.generic], rng: np.random.Generator
) -> tuple[float, float]:
    """The 95 % interval of a statistic: 2.5 % and 97.5 % quantiles over 1000 resamples (Efron 1979).

    Of few groups it is too narrow, as every percentile bootstrap is, and of a single one it has no width at all: that
    is no certainty, but that nothing varied. The same draws as `scipy.stats.bootstrap` makes, which knows no groups,
    takes no single one, and gives no interval as soon as one resample has no value.

    Parameters
    ----------
    statistic
        Of row numbers, which may repeat; a NaN (a resample without positives) is left out.
    groups
        (N,): the group of each row, such as its patient; whole groups are drawn, with replacement.
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(group_of, kind="stable").astype(np.intp)
    members = np.split(order, np.cumsum(sizes)[:-1])
    count = len(members)
    drawn = []
    for _ in range(RESAMPLES):
        taken = rng.integers(0, count, count)
        rows = order[taken] if count == len(order) else np.concatenate([members[group] for group in taken])
        drawn.append(statistic(rows))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def evenly_spread(count: int, most: int) -> NDArray[np.intp]:
    """Row numbers of 0..count - 1, ascending: all where they are at most `most`, else so many from first to last.

    The same numbers give the same rows. Empty where either is 0.
    """
    return np.unique(np.linspace(0, count - 1, max(0, min(most, count))).round().astype(np.intp))
