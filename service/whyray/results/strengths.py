"""How much of a map lies on each frame: by this slices are chosen to be shown."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import BoolArray, DoubleArray, FloatArray
from whyray.base.frame_array import Frames, counts_of

_AT_ONCE = 512 * 512
"""Pixels that are looked at together: of a radiograph what lies between would be written to memory and read again."""


def strength_of(values: FloatArray, region: BoolArray) -> tuple[float, float, float]:
    """Of a frame (rows, columns): the sum of |values| inside the region, that of all, and the largest.

    Each is NaN where a value is.
    """
    inside = total = largest = 0.0
    rows = max(1, _AT_ONCE // max(1, values.shape[1]))
    for first in range(0, len(values), rows):
        strength, chosen = np.abs(values[first : first + rows]), region[first : first + rows]
        if not strength.any():
            continue
        total += float(strength.sum(dtype=np.float64))
        largest = float(np.maximum(largest, strength.max()))  # which keeps NaN, as the sums do
        if chosen.any():
            strength *= chosen
            inside += float(strength.sum(dtype=np.float64))
    return inside, total, largest


def strengths_of(values: Frames[np.float32], region: Frames[np.bool_]) -> DoubleArray:
    """`strength_of` each frame: (frames, 3)."""
    # a slice at a time: whole volumes of what lies between would be written to memory and read again
    return np.array([strength_of(values[index], region[index]) for index in range(len(values))])


def strengths_of_mask(mask: Frames[np.bool_]) -> DoubleArray:
    """The same of a mask, which is its own region and 1 wherever it is set: (frames, 3)."""
    counts = counts_of(mask).astype(np.float64)
    return np.stack([counts, counts, np.minimum(counts, 1)], axis=1)
