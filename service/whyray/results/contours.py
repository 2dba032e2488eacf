"""Where a mask ends: closed lines halfway between the centres of pixels that are set and of those that are not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray

_TOP, _LEFT, _BOTTOM, _RIGHT = range(4)
"""Sides of a square of four pixels' centres; a line goes from the middle of one to that of another."""
_FIRST = np.zeros((16, 2), np.intp)
_SECOND = np.zeros((16, 2), np.intp)
"""By which corners are set (1: upper left, 2: upper right, 4: lower left, 8: lower right): where a line comes from and
goes to, what is set on its left. Where two corners across from each other are set there are two lines, and pixels that
meet at a corner do not belong together."""
for _corners, _line in {
    1: (_TOP, _LEFT),
    2: (_RIGHT, _TOP),
    3: (_RIGHT, _LEFT),
    4: (_LEFT, _BOTTOM),
    5: (_TOP, _BOTTOM),
    6: (_RIGHT, _TOP),
    7: (_RIGHT, _BOTTOM),
    8: (_BOTTOM, _RIGHT),
    9: (_TOP, _LEFT),
    10: (_BOTTOM, _TOP),
    11: (_BOTTOM, _LEFT),
    12: (_LEFT, _RIGHT),
    13: (_TOP, _RIGHT),
    14: (_LEFT, _TOP),
}.items():
    _FIRST[_corners] = _line
_SECOND[6] = _LEFT, _BOTTOM
_SECOND[9] = _BOTTOM, _RIGHT


def closed_contours(mask: BoolArray) -> list[NDArray[np.float64]]:
    """The contours of a (rows, columns) mask whose border is not set: (points, 2) each, the first point again at the
    end, in (row, column) of pixels' centres.

    The same as `skimage.measure.find_contours(mask, 0.5)`, number by number and in its order, which looks at every
    square of an image one by one: a fifth of the time for a region in a radiograph.
    """
    pixels = mask.astype(np.uint8)
    across = pixels[:, :-1] + 2 * pixels[:, 1:]
    corners = across[:-1] + 4 * across[1:]
    squares = np.flatnonzero(corners % 15)  # neither none nor all four
    if not len(squares):
        return []
    kinds = corners.ravel()[squares]
    rows, columns = np.divmod(squares, corners.shape[1])
    saddles = (kinds == 6) | (kinds == 9)
    places = np.cumsum(1 + saddles) - 1 - saddles  # of each square's first line among all
    lines = np.empty((len(squares) + int(saddles.sum()), 2), np.intp)
    lines[places] = _sides(rows, columns, _FIRST[kinds], mask.shape[1])
    lines[places[saddles] + 1] = _sides(rows[saddles], columns[saddles], _SECOND[kinds[saddles]], mask.shape[1])
    order = np.argsort(lines[:, 0])
    following = order[np.searchsorted(lines[order, 0], lines[:, 1])].tolist()
    contours = []
    unseen = np.ones(len(lines), bool)
    for first in range(len(lines)):
        if not unseen[first]:
            continue
        contour, line = [first], following[first]
        while line != first:
            contour.append(line)
            line = following[line]
        unseen[contour] = False
        last = contour.index(max(contour))
        contours.append(_points(lines[[contour[last], *contour[last + 1 :], *contour[: last + 1]], 1], mask.shape[1]))
    return contours


def _sides(rows: NDArray[np.intp], columns: NDArray[np.intp], sides: NDArray[np.intp], width: int) -> NDArray[np.intp]:
    """(squares, 2): numbers of two sides of each square; 2 p is on top of pixel p, and 2 p + 1 on its left."""
    below = (rows[:, None] + (sides == _BOTTOM)) * width
    upright = (sides == _LEFT) | (sides == _RIGHT)
    return np.asarray(2 * (below + columns[:, None] + (sides == _RIGHT)) + upright, np.intp)


def _points(sides: NDArray[np.intp], width: int) -> NDArray[np.float64]:
    """(points, 2): the middle of each side in (row, column)."""
    pixels, upright = np.divmod(sides, 2)
    rows, columns = np.divmod(pixels, width)
    return np.stack([rows + 0.5 * upright, columns + 0.5 * (1 - upright)], axis=1)
