"""Outlines of regions, in pixels of the source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray
from whyray.base.frame_array import Frames
from whyray.results.contours import closed_contours
from whyray.results.polygon_simplification import simplified
from whyray.results.remembered import Remembered

_TOLERANCE = 0.3
"""How far a simplified outline may lie from the region's edge, in pixels of the source."""

_largest: Remembered[NDArray[np.float64]] = Remembered(32)


def outlines(region: BoolArray) -> list[NDArray[np.float64]]:
    """Closed outlines of a (rows, columns) mask as (points, 2) arrays of (column, row).

    In pixel units of PS3.3 C.10.5 and C.18.6.1: 0\\0 is the outer corner of the first pixel, so that a pixel's centre
    is at + 0.5.
    """
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not len(rows):
        return []
    box = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    padded = np.pad(box, 1)
    corner = np.array([rows[0], columns[0]])
    polygons = []
    for within in closed_contours(padded):
        contour = within + corner
        simple = simplified(contour, _TOLERANCE)
        points = (simple if len(simple) > 3 else contour)[:, ::-1] - 0.5
        polygons.append(np.clip(points, 0, region.shape[::-1]))
    return polygons


def largest_outline(region: Frames[np.bool_], index: int) -> NDArray[np.float64]:
    """The outline that encloses most on a frame (its index) of (frames, rows, columns), which must not be empty there.

    It is remembered with the region, and nobody can write to it.
    """

    def made() -> NDArray[np.float64]:
        largest = max(outlines(region[index]), key=lambda points: abs(_area(points)))
        largest.flags.writeable = False
        return largest

    return _largest.of((region,), index, made)


def _area(points: NDArray[np.float64]) -> float:
    x, y = points[:, 0], points[:, 1]
    return float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
