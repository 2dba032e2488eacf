"""How much of a stochastic map is chance: the overlap of what its two halves of samples point at."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import BoolArray, FloatArray

TOP = 0.1
"""Share of places that count as pointed at."""


def top_dice(first: FloatArray, second: FloatArray, top: float = TOP) -> float:
    """Dice overlap of the `top` share (0..1) of places with the largest values of each map, 0..1 (chance: `top`).

    Both maps have the same size. Equal values are not told apart: see `pointed_at`. 0 where a map points nowhere, being
    the same everywhere.
    """
    one, two = pointed_at(first, top), pointed_at(second, top)
    both = int(one.sum()) + int(two.sum())
    return float(2 * (one & two).sum() / both) if one.any() and two.any() else 0.0


def pointed_at(values: FloatArray, top: float = TOP) -> BoolArray:
    """(places,): the `top` share of places with the largest values, flat.

    Where that share ends among equal values (the zeros of a sparse map, a segment, a plateau), all of these are left
    out, for which of them would be taken is nothing that the map says; unless nothing is larger than they are: then
    they are what it points at. None of a map that is the same everywhere, or that has NaN.
    """
    flat = values.ravel()
    count = max(1, round(top * flat.size))
    least = np.partition(flat, flat.size - count)[flat.size - count]  # NaN comes last
    if np.isnan(flat).any() or not flat.max() > flat.min():
        return np.zeros(flat.shape, bool)
    places: BoolArray = flat >= least
    if np.count_nonzero(places) > count and (above := flat > least).any():
        return np.asarray(above)
    return places
