"""How much of a stochastic map is chance: the overlap of what its two halves of samples point at."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import FloatArray

TOP = 0.1
"""Share of places that count as pointed at."""


def top_dice(first: FloatArray, second: FloatArray, top: float = TOP) -> float:
    """Dice overlap of the `top` share (0..1) of places with the largest values of each map, 0..1 (chance: `top`).

    Both maps have the same size; at least one place counts of each.
    """
    count = max(1, round(top * first.size))
    masks = np.zeros((2, first.size), bool)
    for mask, values in zip(masks, (first, second), strict=True):
        mask[np.argpartition(-values.ravel(), count - 1)[:count]] = True
    return float((masks[0] & masks[1]).sum() / count)
