"""How far neighbours on a plane are neighbours in the space that it shows (Venna and Kaski 2001, eq. 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray

NEIGHBOURS = 10
ENOUGH = 0.9
"""Below this a plane shows neighbourhoods that are not there: it is not shown."""


def trustworthiness(space: FloatArray, plane: FloatArray, *, neighbours: int = NEIGHBOURS) -> float:
    """0..1, of (N, D) against (N, 2), both with Euclidean distances; 1: all plane neighbours are neighbours indeed.

    For cosine distances give `space` with rows of length 1: the order is the same.
    """
    return float(local_trustworthiness(space, plane, neighbours=neighbours).mean())


def local_trustworthiness(space: FloatArray, plane: FloatArray, *, neighbours: int = NEIGHBOURS) -> FloatArray:
    """(N,): the same, of each point's own neighbourhood; their mean is `trustworthiness`."""
    count = len(space)
    k = min(neighbours, (count - 1) // 2)
    if k < 1:
        return np.ones(count, np.float32)
    true_rank = np.argsort(np.argsort(_squared(space), axis=1), axis=1)  # 0 for the point itself
    shown = np.argsort(_squared(plane), axis=1)[:, 1 : k + 1]
    too_far = np.maximum(np.take_along_axis(true_rank, shown, axis=1) - k, 0).sum(axis=1)
    most = k * (2 * count - 3 * k - 1) / 2
    return np.asarray(1 - too_far / most, np.float32)


def _squared(points: FloatArray) -> NDArray[np.float64]:
    wide = points.astype(np.float64)
    norms = (wide**2).sum(axis=1)
    found: NDArray[np.float64] = norms[:, None] + norms[None] - 2 * wide @ wide.T
    np.fill_diagonal(found, -1)
    return found
