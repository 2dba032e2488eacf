"""Which slices of a volume are shown: those with the highest attribution."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import DoubleArray
from whyray.results.template_layout import Layout


def key_slices(strengths: DoubleArray, layout: Layout) -> list[int]:
    """Indices of the key slices, highest first; slices on which nothing is visible are none, but there is always one.

    Slices are ranked by the sum of |values| inside the region, then by that of all values; each next one lies at least
    `layout.volume.apart` slices from those before, as long as there are such. Those that hold nothing of the region
    come after all that do, however near to each other these lie.

    Parameters
    ----------
    strengths
        (frames, 3) of a map or a mask, as `strengths_of` and `strengths_of_mask` give them.
    """
    volume = layout.volume
    inside, everywhere, highest = strengths[:, 0], strengths[:, 1], strengths[:, 2].astype(np.float32)
    visible = highest > layout.opacity.start * highest.max()
    ranked = [int(index) for index in np.lexsort((np.arange(len(strengths)), -everywhere, -inside))]
    candidates = [index for index in ranked if visible[index]] or ranked[:1]
    of_region = [index for index in candidates if inside[index] > 0]
    beside_it = [index for index in candidates if inside[index] <= 0]
    chosen: list[int] = []
    for among in (of_region, beside_it):
        for apart in (volume.apart, 1):
            for index in among:
                if len(chosen) == volume.key_slices:
                    return chosen
                if all(abs(index - other) >= apart for other in chosen):
                    chosen.append(index)
    return chosen
