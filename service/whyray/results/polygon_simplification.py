"""Outlines with fewer points, as Douglas and Peucker (1973) leave them out: all stretches of a line at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def simplified(line: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """The points of a line (points, 2) that keep it within `tolerance` of what it was; first and last always.

    The same points as those of `skimage.measure.approximate_polygon`, number by number, which looks at one stretch
    after another: ten times as long for the outline of a region in a radiograph.
    """
    if tolerance <= 0 or len(line) < 3:
        return line
    kept = np.zeros(len(line), bool)
    kept[[0, -1]] = True
    starts, ends = np.array([0]), np.array([len(line) - 1])
    while len(starts):
        counts = ends - starts - 1
        inner = counts > 0
        starts, ends, counts = starts[inner], ends[inner], counts[inner]
        if not len(starts):
            break
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        points = np.arange(counts.sum()) + np.repeat(starts + 1 - first, counts)
        away = _distances(line, points, np.repeat(starts, counts), np.repeat(ends, counts))
        farthest = np.maximum.reduceat(away, first)
        # of points that are equally far, the first
        candidates = np.where(away == np.repeat(farthest, counts), points, len(line))
        cut = np.minimum.reduceat(candidates, first)
        split = farthest > tolerance
        kept[cut[split]] = True
        starts, ends = (
            np.concatenate([starts[split], cut[split]]),
            np.concatenate([cut[split], ends[split]]),
        )
    return line[kept]


def _distances(
    line: NDArray[np.float64], points: NDArray[np.intp], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> NDArray[np.float64]:
    """How far each point lies from the stretch between its start and its end: from the line beside it, else from the
    nearer of the two."""
    (r, c), (r0, c0), (r1, c1) = line[points].T, line[starts].T, line[ends].T
    dr, dc = r1 - r0, c1 - c0
    dr0, dc0, dr1, dc1 = r - r0, c - c0, r - r1, c - c1
    beside = (dr0 * dr + dc0 * dc > 0) & (-dr1 * dr - dc1 * dc > 0)
    angle = -np.arctan2(dr, dc)
    sine, cosine = np.sin(angle), np.cos(angle)
    from_line = np.abs(r * cosine + c * sine - (c0 * sine + r0 * cosine))
    from_ends = np.minimum(np.sqrt(dc0**2 + dr0**2), np.sqrt(dc1**2 + dr1**2))
    distances: NDArray[np.float64] = np.where(beside, from_line, from_ends)
    return distances
