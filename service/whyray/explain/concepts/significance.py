"""Tests of concepts against random ones, and corrections for testing many."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray

_ROUNDING = 1e-6
"""Of a mean of numbers in single precision."""
Correction = Literal["benjamini-hochberg", "bonferroni"]


def single_case(value: float, random: NDArray[np.floating]) -> float:
    """Two-sided p-value of one value against a sample of random ones (Crawford and Howell 1998, eq. 1).

    t = (value - mean) / (s · sqrt(1 + 1/n)) with n - 1 degrees of freedom: the random vectors are the sample and the
    concept is one case. However many copies of the concept's vector are made, they are no independent observations.
    """
    count = len(random)
    spread = float(np.std(random, ddof=1, dtype=np.float64)) if count > 1 else float("nan")
    if count < 2 or not np.isfinite(value) or not np.isfinite(spread):
        return float("nan")
    mean = float(np.mean(random, dtype=np.float64))
    if spread <= _ROUNDING * abs(mean):  # all the same: what is left is rounding, against which nothing can be held
        return 1.0 if abs(value - mean) <= _ROUNDING * abs(mean) else 0.0
    from scipy.stats import t as student

    t = (value - mean) / (spread * np.sqrt(1 + 1 / count))
    return float(2 * student.sf(abs(t), count - 1))


def two_samples(values: NDArray[np.floating], random: NDArray[np.floating]) -> float:
    """Two-sided p-value of Welch's t-test of repeated scores against random ones (as Kim et al. 2018, section 3.4)."""
    from scipy.stats import ttest_ind_from_stats

    own, other = ((float(np.mean(scores)), float(np.std(scores, ddof=1)), len(scores)) for scores in (values, random))
    if own[1] ** 2 / own[2] + other[1] ** 2 / other[2] <= 1e-18:
        return 1.0 if abs(own[0] - other[0]) < 1e-9 else 0.0
    return float(ttest_ind_from_stats(*own, *other, equal_var=False).pvalue)


def corrected(p_values: NDArray[np.floating], correction: Correction) -> DoubleArray:
    """Adjusted p-values, in the order given (Benjamini and Hochberg 1995, or Bonferroni); NaN stays and counts not."""
    adjusted = np.array(p_values, np.float64)
    known = np.flatnonzero(np.isfinite(adjusted))
    if correction == "bonferroni":
        adjusted[known] = np.minimum(adjusted[known] * len(known), 1.0)
    elif len(known):
        from scipy.stats import false_discovery_control

        adjusted[known] = false_discovery_control(adjusted[known])
    return adjusted


def false_positives(random: NDArray[np.floating], level: float) -> float:
    """Share, 0..1, of random vectors that `single_case` against all other random ones would call a concept.

    `random` (X,): a mean derivative or score of each. `level`: the p-value up to which a vector is called so. NaN where
    one of them is no number, or where there are fewer than three: then nothing was tested.
    """
    if len(random) < 3 or not np.isfinite(random).all():
        return float("nan")
    hits = [single_case(float(score), np.delete(random, place)) <= level for place, score in enumerate(random)]
    return float(np.mean(hits))
