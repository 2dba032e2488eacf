"""Intervals by resampling readers and cases, both with replacement and independently (Owen 2007, section 3).

The crossed bootstrap is on the safe side: its intervals are rather too wide than too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray


@dataclass(frozen=True)
class Draws:
    """How often each reader (draws, readers) and each case (draws, cases) was drawn."""

    readers: DoubleArray
    cases: DoubleArray


def draw(readers: int, cases: int, count: int, rng: np.random.Generator) -> Draws:
    """`count` draws. A single reader is not resampled: then intervals speak of this reader alone."""
    even = np.full(cases, 1 / cases)
    of_readers = (
        rng.multinomial(readers, np.full(readers, 1 / readers), size=count) if readers > 1 else np.ones((count, 1))
    )
    return Draws(of_readers.astype(float), rng.multinomial(cases, even, size=count).astype(float))


def weighted_mean(values: DoubleArray, draws: Draws | None = None) -> DoubleArray:
    """Mean over all readings of `values` (readers, cases; NaN: no reading): (draws,), NaN for draws without a reading.

    Without draws (1,): the mean of the readings as they are.
    """
    there = ~np.isnan(values)
    filled = np.where(there, values, 0.0)
    if draws is None:
        draws = Draws(np.ones((1, values.shape[0])), np.ones((1, values.shape[1])))
    above = ((draws.readers @ filled) * draws.cases).sum(axis=1)
    below = ((draws.readers @ there.astype(float)) * draws.cases).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: DoubleArray = np.where(below > 0, above / below, np.nan)
    return mean


def mean_auc(scores: DoubleArray, truth: NDArray[np.bool_], draws: Draws | None = None) -> DoubleArray:
    """Area under the ROC curve by the Mann-Whitney statistic, averaged over readers (Obuchowski and Rockette 1995).

    `scores` (readers, cases): the larger the more a reader believes in the finding; NaN: no reading. `truth` (cases,).
    """
    if draws is None:
        draws = Draws(np.ones((1, scores.shape[0])), np.ones((1, scores.shape[1])))
    areas = np.full((len(draws.cases), len(scores)), np.nan)
    for reader, row in enumerate(scores):
        positive, negative = np.flatnonzero(truth & ~np.isnan(row)), np.flatnonzero(~truth & ~np.isnan(row))
        above = np.sign(row[positive][:, None] - row[negative][None]) / 2 + 0.5
        p, n = draws.cases[:, positive], draws.cases[:, negative]
        pairs = p.sum(axis=1) * n.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            areas[:, reader] = np.where(pairs > 0, ((p @ above) * n).sum(axis=1) / pairs, np.nan)
    weight = np.where(np.isnan(areas), 0.0, draws.readers)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: DoubleArray = np.where(
            weight.sum(axis=1) > 0, (np.nan_to_num(areas) * weight).sum(axis=1) / weight.sum(axis=1), np.nan
        )
    return mean


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval (percentiles of the draws); None where it can't be had."""

    value: float | None
    low: float | None
    high: float | None


def estimate(value: float, drawn: DoubleArray) -> Estimate:
    """The figure with the 2.5th and 97.5th percentile of what the draws gave; no interval if half of them gave none."""
    good = drawn[np.isfinite(drawn)]
    if not np.isfinite(value):
        return Estimate(None, None, None)
    if len(good) * 2 < len(drawn):
        return Estimate(float(value), None, None)
    low, high = np.percentile(good, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))
