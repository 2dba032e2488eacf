"""Tests of concepts against random ones, and corrections for testing many."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray

Correction = Literal["benjamini-hochberg", "bonferroni"]


def single_case(value: float, random: NDArray[np.floating]) -> float:
    """Two-sided p-value of one value against a sample of random ones (Crawford and Howell 1998, eq. 1).

    t = (value - mean) / (s · sqrt(1 + 1/n)) with n - 1 degrees of freedom: the random vectors are the sample and the
    concept is one case. However many copies of the concept's vector are made, they are no independent observations.
    """
    count, spread = len(random), float(np.std(random, ddof=1))
    if count < 2 or not np.isfinite(value):
        return float("nan")
    if spread == 0:
        return 1.0 if value == float(np.mean(random)) else 0.0
    from scipy.stats import t as student

    t = (value - float(np.mean(random))) / (spread * np.sqrt(1 + 1 / count))
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

    `random` (X,): a mean derivative or score of each. `level`: the p-value up to which a vector is called so.
    """
    hits = [single_case(float(score), np.delete(random, place)) <= level for place, score in enumerate(random)]
    return float(np.mean(hits))
