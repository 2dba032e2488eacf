"""Which slices of a volume are shown: those with the highest attribution."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import BoolArray, FloatArray
from whyray.results.template_layout import Layout


def key_slices(values: FloatArray, region: BoolArray, layout: Layout) -> list[int]:
    """Indices of the key slices, highest first; slices on which nothing is visible are none, but there is always one.

    Slices are ranked by the sum of |values| inside the region, then by that of all values; each next one lies at least
    `layout.volume.apart` slices from those before, as long as there are such.

    Parameters
    ----------
    values
        (frames, rows, columns).
    region
        (frames, rows, columns).
    """
    volume = layout.volume
    # a slice at a time: whole volumes of what lies between would be written to memory and read again
    measured = np.array([_measures(values[index], region[index]) for index in range(len(values))])
    inside, everywhere, highest = measured[:, 0], measured[:, 1], measured[:, 2].astype(np.float32)
    visible = highest > layout.opacity.start * highest.max()
    ranked = [int(index) for index in np.lexsort((np.arange(len(values)), -everywhere, -inside))]
    candidates = [index for index in ranked if visible[index]] or ranked[:1]
    chosen: list[int] = []
    for apart in (volume.apart, 1):
        for index in candidates:
            if len(chosen) == volume.key_slices:
                return chosen
            if all(abs(index - other) >= apart for other in chosen):
                chosen.append(index)
    return chosen


def _measures(values: FloatArray, region: BoolArray) -> tuple[float, float, float]:
    """Of a slice: the sum of |values| inside the region, that of all, and the largest."""
    if not values.any():
        return 0.0, 0.0, 0.0
    strength = np.abs(values)
    inside = float((strength * region).sum(dtype=np.float64)) if region.any() else 0.0
    return inside, float(strength.sum(dtype=np.float64)), float(strength.max())
