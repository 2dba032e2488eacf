"""A mask at the smaller size of a page: a pixel of the page is in where half of what it stands for is."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray


def shrunk(mask: BoolArray, size: tuple[int, int]) -> BoolArray | None:
    """A mask (rows, columns) at `size` (width, height); None where a side grows.

    What Pillow's box filter and a threshold of a half give, from numbers of pixels: it takes a mask as a picture of
    floats, four bytes a pixel, and a region is small in it. Where no pixel of the page would be half in, those are that
    hold any of it.
    """
    lengths = list(zip(mask.shape, size[::-1], strict=True))
    if any(count > length for length, count in lengths):
        return None
    inside = np.zeros(size[::-1], bool)
    pages, windows = [], []
    for axis, (length, count) in enumerate(lengths):
        set_at = np.flatnonzero(mask.any(axis=1 - axis))
        if not len(set_at):
            return inside
        first, behind = _windows(length, count)
        reached = slice(np.searchsorted(behind, set_at[0], "right"), np.searchsorted(first, set_at[-1], "right"))
        pages.append(reached)
        windows.append((first[reached], behind[reached]))
    rows, columns = windows
    box = mask[:, columns[0][0] : columns[1][-1]].view(np.uint8)
    counts = _sums(_sums(box, *rows).T, *(edges - columns[0][0] for edges in columns)).T
    half = 2 * counts >= np.outer(rows[1] - rows[0], columns[1] - columns[0])
    inside[pages[0], pages[1]] = half if half.any() else counts > 0
    return inside


def _sums(counts: NDArray[Any], first: NDArray[np.intp], behind: NDArray[np.intp]) -> NDArray[np.uint32]:
    """Sums of the rows from each first one on to the one behind."""
    lengths = behind - first
    sums = np.zeros((len(first), counts.shape[1]), np.uint32)
    for place in range(int(lengths.max())):
        reached = lengths > place
        if reached.all():
            sums += counts.take(first + place, axis=0)
        else:
            sums[reached] += counts.take(first[reached] + place, axis=0)
    return sums


@lru_cache(maxsize=16)  # of the sizes of a page's pictures
def _windows(length: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first of `length` pixels that each of `count` page pixels stands for, and the one behind the last.

    As Pillow has it: those whose centre is less than half a page pixel before its own, or at most so far behind; by
    rounding one on the edge may belong to two, or to none.
    """
    scale = length / count
    centres = (np.arange(count) + 0.5) * scale
    first = np.maximum((centres - 0.5 * scale + 0.5).astype(np.intp), 0)
    first += ~((first - centres + 0.5) / scale > -0.5)
    behind = np.minimum((centres + 0.5 * scale + 0.5).astype(np.intp), length)
    behind -= ~((behind - 1 - centres + 0.5) / scale <= 0.5)
    return first, behind
