"""Agreement between readers beyond chance. Ratings are (readers, cases), NaN where a reader did not rate a case.

Fleiss' kappa and Krippendorff's alpha are our own, held to published examples by tests: the package krippendorff is
under the GPL and counts no case by weight, as a bootstrap wants; statsmodels has no alpha, and brings pandas for the
ten lines of the other.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np

from whyray.base.arrays import DoubleArray

Level = Literal["nominal", "ordinal", "interval"]


def cohen_kappa(first: DoubleArray, second: DoubleArray) -> float:
    """Cohen's kappa of two readers over the cases that both rated (Cohen 1960); NaN where chance explains all."""
    both = ~np.isnan(first) & ~np.isnan(second)
    a, b = first[both], second[both]
    if len(np.union1d(a, b)) < 2:
        return float("nan")
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(a, b))


def mean_cohen_kappa(ratings: DoubleArray, *, least: int = 5) -> float:
    """The mean of Cohen's kappa over all pairs of readers with at least `least` cases in common (Light 1971)."""
    kappas = [
        cohen_kappa(ratings[i], ratings[j])
        for i, j in combinations(range(len(ratings)), 2)
        if np.count_nonzero(~np.isnan(ratings[i]) & ~np.isnan(ratings[j])) >= least
    ]
    return float(np.nanmean(kappas)) if np.isfinite(kappas).any() else float("nan")


def fleiss_kappa(ratings: DoubleArray) -> float:
    """Fleiss' kappa (Fleiss 1971, eq. 1 to 7); NaN unless every case has the same number, two or more, of ratings."""
    raters = np.count_nonzero(~np.isnan(ratings), axis=0)
    if not len(raters) or raters.min() != raters.max() or raters[0] < 2:
        return float("nan")
    values = np.unique(ratings[~np.isnan(ratings)])
    counts = np.stack([(ratings == value).sum(axis=0) for value in values], axis=1)
    n = int(raters[0])
    observed = float(((counts**2).sum(axis=1) - n).mean() / (n * (n - 1)))
    expected = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def krippendorff_alpha(
    ratings: DoubleArray, level: Level = "nominal", weights: DoubleArray | None = None
) -> DoubleArray:
    """Krippendorff's alpha (Krippendorff 2011, sections C to E); takes any number of readers and missing ratings.

    `weights` (draws, cases) counts cases, for a bootstrap; gives (draws,), or (1,) without. NaN where nothing varies.
    """
    values = np.unique(ratings[~np.isnan(ratings)])
    cases = ratings.shape[1]
    if not len(values):
        return np.full(1 if weights is None else len(weights), np.nan)
    counts = np.stack([(ratings == value).sum(axis=0) for value in values], axis=1).astype(float)
    raters = counts.sum(axis=1)
    pairable = raters >= 2
    # coincidences of one case: pairs of ratings by different readers, divided by the number of ratings less one
    pairs = np.einsum("uc,uk->uck", counts, counts) - np.einsum("uc,ck->uck", counts, np.eye(len(values)))
    pairs = np.where(pairable[:, None, None], pairs / np.maximum(raters - 1, 1)[:, None, None], 0.0)
    taken = np.ones((1, cases)) if weights is None else weights
    together = np.einsum("bu,uck->bck", taken, pairs)
    margins = together.sum(axis=2)
    total = margins.sum(axis=1)
    distances = _distances(values, margins, level)
    observed = (together * distances).sum(axis=(1, 2))
    expected = np.einsum("bc,bk,bck->b", margins, margins, distances)
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha: DoubleArray = np.where(expected > 0, 1 - (total - 1) * observed / expected, np.nan)
    return alpha


def _distances(values: DoubleArray, margins: DoubleArray, level: Level) -> DoubleArray:
    """(draws, values, values): squared differences of Krippendorff 2011, section E."""
    size = len(values)
    if level == "nominal":
        return np.broadcast_to(1.0 - np.eye(size), (len(margins), size, size))
    if level == "interval":
        return np.broadcast_to((values[:, None] - values[None]) ** 2, (len(margins), size, size))
    below = np.cumsum(margins, axis=1) - margins / 2
    distances: DoubleArray = (below[:, :, None] - below[:, None, :]) ** 2
    return distances
