"""Distances in the space of embeddings: what is usual there, learned from references.

The covariance is that of Ledoit and Wolf (2004), S* = (1 - a) S + a m I, in the basis of its own eigenvectors, so that
it is never written out: for 2048 dimensions it would take 16 MB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray

LARGEST_BASIS = 512
"""Eigenvectors that are kept; the variances of all further ones are replaced by their mean."""
NEIGHBOURS = 10
_FLOOR = 1e-12


@dataclass(frozen=True)
class Space:
    """Centre and spread of the fitting references.

    Attributes
    ----------
    mean
        (D,).
    basis
        (r, D) orthonormal rows: principal axes, the widest first. Each points to where its largest entry is positive,
        so that the same references give the same picture.
    variances
        (r,) of the shrunk covariance along them; `rest` is that along every direction beyond.
    explained
        (r,) share of the (unshrunk) variance along each.
    shrinkage
        a of Ledoit and Wolf, 0..1.
    """

    mean: FloatArray
    basis: FloatArray
    variances: FloatArray
    rest: float
    explained: FloatArray
    shrinkage: float

    def centred(self, vectors: FloatArray) -> FloatArray:
        """(N, D) less the mean."""
        return np.asarray(vectors - self.mean, np.float32)

    def coordinates(self, vectors: FloatArray, count: int = 2) -> FloatArray:
        """(N, count): exact places on the first principal axes."""
        return np.asarray(self.centred(vectors) @ self.basis[:count].T, np.float32)

    def mahalanobis(self, vectors: FloatArray) -> FloatArray:
        """(N,) distance from the mean, in standard deviations of the shrunk covariance (Lee et al. 2018, eq. 2)."""
        apart = self.centred(vectors).astype(np.float64)
        along = apart @ self.basis.T.astype(np.float64)
        beyond = np.maximum((apart**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        return np.asarray(np.sqrt((along**2 / self.variances).sum(axis=1) + beyond / self.rest), np.float32)


def fit_space(vectors: FloatArray) -> Space:
    """Fit on (n, D) embeddings, n ≥ 2, not all the same."""
    # not with this module: a worker reads spaces and fits none
    from sklearn.covariance import ledoit_wolf_shrinkage

    x = vectors.astype(np.float64)
    mean = x.mean(axis=0)
    x = x - mean
    count, width = x.shape
    gram = x @ x.T if count <= width else x.T @ x
    values, vectors_of_gram = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1]
    values, axes = np.maximum(values[order], 0), vectors_of_gram[:, order]
    rank = int((values > values[0] * 1e-10).sum())
    kept = min(rank, LARGEST_BASIS)
    basis = x.T @ axes[:, :kept] / np.sqrt(values[:kept]) if count <= width else axes[:, :kept]
    basis = _oriented(basis.T)
    eigen = values / count
    shrinkage = float(ledoit_wolf_shrinkage(x, assume_centered=True))
    scale = float((x**2).mean())
    tail = eigen[kept:rank].sum() / max(width - kept, 1)
    return Space(
        mean.astype(np.float32),
        basis.astype(np.float32),
        ((1 - shrinkage) * eigen[:kept] + shrinkage * scale).astype(np.float32),
        max(float((1 - shrinkage) * tail + shrinkage * scale), _FLOOR * scale),
        (eigen[:kept] / eigen.sum()).astype(np.float32),
        shrinkage,
    )


def neighbour_distance(vectors: FloatArray, fitting: FloatArray, *, neighbours: int = NEIGHBOURS) -> FloatArray:
    """(N,) Euclidean distance to the k-th nearest fitting vector, all of length 1 (Sun et al. 2022, section 3).

    `vectors` (N, D) and `fitting` (M, D) come less the mean. With fewer than k fitting vectors, to the farthest.
    """
    k = min(neighbours, len(fitting))
    cosine = unit(vectors) @ unit(fitting).T
    nearest = np.partition(cosine, len(fitting) - k, axis=1)[:, len(fitting) - k]
    return np.asarray(np.sqrt(np.maximum(2 - 2 * nearest, 0)), np.float32)


def unit(vectors: FloatArray) -> FloatArray:
    """(..., D): `vectors` of this shape, each row of length 1; a row of zeros stays one."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)


def percentile(value: float, usual: FloatArray) -> float:
    """0..100: the share of `usual` distances (M,) that are smaller than `value`.

    NaN where one of them is none or there are none: smaller than nothing would be nearer than all, and never unusual.
    """
    if not len(usual) or np.isnan(value) or np.isnan(usual).any():
        return float("nan")
    return float(100 * np.mean(usual < value))


def _oriented(basis: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = basis[np.arange(len(basis)), np.abs(basis).argmax(axis=1)]
    return basis * np.where(largest < 0, -1.0, 1.0)[:, None]
