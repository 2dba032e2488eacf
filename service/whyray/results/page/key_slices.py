"""Which slices of a volume are shown: those with the highest attribution."""

from __future__ import annotations

import numpy as np

from whyray.imaging.source import BoolArray, FloatArray
from whyray.results.templates import VolumeLayout


def key_slices(values: FloatArray, region: BoolArray, layout: VolumeLayout) -> list[int]:
    """Indices of the key slices, highest first; slices without any attribution are none, but there is always one.

    Slices are ranked by the sum of |values| inside the region, and by that of all values where no region is; each next
    one lies at least `layout.apart` slices from those before, as long as there are such.

    Parameters
    ----------
    values
        (frames, rows, columns).
    region
        (frames, rows, columns).
    """
    strength = np.abs(values)
    inside = (strength * region).reshape(len(values), -1).sum(axis=1, dtype=np.float64)
    if not inside.any():
        inside = strength.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
    ranked = [int(each) for each in np.argsort(-inside, kind="stable")]
    candidates = [each for each in ranked if inside[each] > 0] or ranked[:1]
    chosen: list[int] = []
    for apart in (layout.apart, 1):
        for index in candidates:
            if len(chosen) == layout.key_slices:
                return chosen
            if all(abs(index - other) >= apart for other in chosen):
                chosen.append(index)
    return chosen
