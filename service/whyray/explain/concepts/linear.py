"""Linear readings of activations: ridge regressions that choose their own penalty, and how good they are held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Ridge penalties that are tried, as shares of the number of dimensions."""


@dataclass(frozen=True)
class Reading:
    """Columns that are read from activations: `activations @ weights.T + offsets`.

    weights (K, D), offsets (K,), float64; penalties (K,) as chosen, in shares of D.
    """

    weights: DoubleArray
    offsets: DoubleArray
    penalties: DoubleArray

    def __call__(self, activations: NDArray[np.floating]) -> DoubleArray:
        """(N, D) to (N, K)."""
        readings: DoubleArray = activations @ self.weights.T + self.offsets
        return readings


def ridge(activations: NDArray[np.floating], columns: DoubleArray, penalties: DoubleArray | None = None) -> Reading:
    """Ridge regression of each column (N, K) on standardised activations (N, D); NaN in a column: not known there.

    The penalty is the one of PENALTIES with the least leave-one-out error (Allen 1974; closed form), or as given.
    """
    count, width = columns.shape[1], activations.shape[1]
    weights, offsets, chosen = np.zeros((count, width)), np.zeros(count), np.ones(count)
    for members, rows in _alike(columns):
        x = activations[rows].astype(np.float64)
        centre, spread = x.mean(axis=0), x.std(axis=0)
        spread = np.where(spread > 1e-6 * max(float(spread.max()), 1e-12), spread, np.inf)
        standard = (x - centre) / spread
        y = columns[np.ix_(rows, members)]
        mean = y.mean(axis=0)
        solved, used = _solve(standard, y - mean, None if penalties is None else penalties[members])
        raw = solved.T / spread
        weights[members], offsets[members], chosen[members] = raw, mean - raw @ centre, used
    return Reading(weights, offsets, chosen)


def held_out(
    activations: NDArray[np.floating],
    columns: DoubleArray,
    fold_of: NDArray[np.int64],
    penalties: DoubleArray | None = None,
) -> DoubleArray:
    """(N, K): each column as read by a regression that was fitted on the other folds."""
    readings = np.full(columns.shape, np.nan)
    for fold in np.unique(fold_of):
        rest, here = fold_of != fold, fold_of == fold
        readings[here] = ridge(activations[rest], columns[rest], penalties)(activations[here])
    return readings


def folds(groups: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N,): the fold of each example, 0..count - 1, by `groups` (N,): all of a group are in one."""
    unique, inverse = np.unique(groups, return_inverse=True)
    return np.asarray(rng.permutation(len(unique))[inverse] % count, np.int64)


def resampled(groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Row numbers of a bootstrap resample, ascending: whole `groups` (N,) are drawn, with replacement (Efron 1979)."""
    unique, inverse = np.unique(groups, return_inverse=True)
    weight = np.bincount(rng.integers(0, len(unique), len(unique)), minlength=len(unique))
    return np.repeat(np.arange(len(groups)), weight[inverse])


def r_squared(truth: NDArray[np.floating], read: NDArray[np.floating]) -> float:
    """1 - squared error / variance of `truth` (N,): 1 at best, 0 for the mean, negative for worse than that."""
    return float(1 - np.mean((truth - read) ** 2) / max(float(np.var(truth)), 1e-24))


def correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Pearson's r of two (N,), -1..1; 0 where either does not vary."""
    if np.std(one) < 1e-12 or np.std(other) < 1e-12:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _alike(columns: DoubleArray) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Columns that are known for the same rows, which can share a factorisation, with those rows."""
    known = np.isfinite(columns)
    _, group = np.unique(known, axis=1, return_inverse=True)
    for number in range(int(group.max()) + 1):
        members = np.flatnonzero(group.reshape(-1) == number)
        yield members, np.flatnonzero(known[:, members[0]])


def _solve(x: DoubleArray, y: DoubleArray, penalties: DoubleArray | None) -> tuple[DoubleArray, DoubleArray]:
    """(D, K) ridge weights in the eigenbasis of the smaller of both Gram matrices."""
    count, width = x.shape
    dual = count <= width
    values, basis = np.linalg.eigh(x @ x.T if dual else x.T @ x)
    values = np.maximum(values, 0.0)
    left = basis if dual else (x @ basis) / np.sqrt(np.maximum(values, 1e-9 * max(float(values.max()), 1e-12)))
    inner = left.T @ y
    if penalties is None:
        errors = []
        for penalty in PENALTIES:
            shrink = values / (values + penalty * width)
            residual = y - left @ (shrink[:, None] * inner)
            leverage = (left**2 @ shrink) + 1 / count
            errors.append(np.mean((residual / np.maximum(1 - leverage, 1e-3)[:, None]) ** 2, axis=0))
        penalties = np.asarray(PENALTIES)[np.argmin(errors, axis=0)]
    weights = np.empty((width, y.shape[1]))
    for penalty in np.unique(penalties):
        those = penalties == penalty
        damped = inner[:, those] / (values + penalty * width)[:, None]
        weights[:, those] = x.T @ (basis @ damped) if dual else basis @ (np.sqrt(values)[:, None] * damped)
    return weights, np.asarray(penalties, np.float64)
