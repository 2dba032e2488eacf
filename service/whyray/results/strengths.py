"""How much of a map lies on each frame: by this slices are chosen to be shown."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import BoolArray, DoubleArray, FloatArray
from whyray.base.frame_array import Frames, counts_of


def strength_of(values: FloatArray, region: BoolArray) -> tuple[float, float, float]:
    """Of a frame (rows, columns): the sum of |values| inside the region, that of all, and the largest."""
    if not values.any():
        return 0.0, 0.0, 0.0
    strength = np.abs(values)
    inside = float((strength * region).sum(dtype=np.float64)) if region.any() else 0.0
    return inside, float(strength.sum(dtype=np.float64)), float(strength.max())


def strengths_of(values: Frames[np.float32], region: Frames[np.bool_]) -> DoubleArray:
    """`strength_of` each frame: (frames, 3)."""
    # a slice at a time: whole volumes of what lies between would be written to memory and read again
    return np.array([strength_of(values[index], region[index]) for index in range(len(values))])


def strengths_of_mask(mask: Frames[np.bool_]) -> DoubleArray:
    """The same of a mask, which is its own region and 1 wherever it is set: (frames, 3)."""
    counts = counts_of(mask).astype(np.float64)
    return np.stack([counts, counts, np.minimum(counts, 1)], axis=1)
