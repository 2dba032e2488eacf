"""How far neighbours on a plane are neighbours in the space that it shows (Venna and Kaski 2001, eq. 1).

For cosine distances give vectors of length 1: the order is the same.
"""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import DoubleArray, FloatArray

NEIGHBOURS = 10
ENOUGH = 0.9
"""Below this a plane shows neighbourhoods that are not there: it is not shown."""


def trustworthiness(space: FloatArray, plane: FloatArray, *, neighbours: int = NEIGHBOURS) -> float:
    """0..1, of (N, D) against (N, 2), both with Euclidean distances; 1: all plane neighbours are neighbours indeed.

    0 of fewer than three points, whose neighbours tell nothing.
    """
    # not with this module: a worker asks for one case's own neighbourhood alone
    from sklearn.manifold import trustworthiness as of_all

    k = min(neighbours, (len(space) - 1) // 2)
    return float(of_all(space.astype(np.float64), plane.astype(np.float64), n_neighbors=k)) if k >= 1 else 0.0


def local_trustworthiness(
    vector: FloatArray, place: FloatArray, space: FloatArray, plane: FloatArray, *, neighbours: int = NEIGHBOURS
) -> float:
    """0..1: the same of one case's own neighbourhood, which scikit-learn does not give.

    The mean of it over all points, each against all others, is their `trustworthiness`. NaN where a place is none.

    Parameters
    ----------
    vector, place
        (D,) and (2,): the case in the space and on the plane.
    space, plane
        (N, D) and (N, 2): the others.
    """
    k = min(neighbours, len(space) // 2)
    if k < 1:
        return 0.0
    apart, away = _distances(space, vector), _distances(plane, place)
    if np.isnan(apart).any() or np.isnan(away).any():
        return float("nan")
    rank = 1 + np.argsort(np.argsort(apart))
    shown = np.argsort(away)[:k]
    worst = k * (2 * (len(space) + 1) - 3 * k - 1) / 2
    return float(1 - np.maximum(rank[shown] - k, 0).sum() / worst)


def _distances(points: FloatArray, to: FloatArray) -> DoubleArray:
    return np.asarray(np.linalg.norm(points.astype(np.float64) - to, axis=1))
