"""How far several maps of one answer point at the same places: one number, and no map made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from whyray.base.arrays import BoolArray, FloatArray
from whyray.explain.repeat import TOP, pointed_at
from whyray.explain.types import Heatmap

CHANCE = TOP
"""What maps that know nothing of each other reach; more, where their largest value fills more than a tenth."""


@dataclass(frozen=True)
class Agreement:
    """Mean pairwise overlap of the top tenth of several maps (feature agreement of Krishna et al. 2022, section 3.2,
    with a tenth of the places as k).

    `value` is 0..1, by chance about 0.1; `methods` are those whose maps were compared, in their order; `pairs` how many
    pairs that is.
    """

    value: float
    methods: tuple[str, ...]
    pairs: int


def agreement(heatmaps: Sequence[Heatmap]) -> Agreement | None:
    """Of maps of one target of one image; None where no two are independent of each other.

    Maps that were made of the same layer agree for free: such pairs are left out. Of a map only places that speak for
    the target count. It does not say that what is agreed on is right.
    """
    pairs = [
        (first, second)
        for first, second in combinations(range(len(heatmaps)), 2)
        if heatmaps[first].method != heatmaps[second].method and not _same_source(heatmaps[first], heatmaps[second])
    ]
    if not pairs:
        return None
    compared = {place for pair in pairs for place in pair}
    tops = {place: top_places(heatmaps[place].values) for place in compared}
    overlaps = [overlap(tops[first], tops[second]) for first, second in pairs]
    return Agreement(
        float(np.mean(overlaps)), tuple(heatmaps[place].method for place in sorted(compared)), len(overlaps)
    )


def top_places(values: FloatArray) -> BoolArray:
    """(*spatial): the tenth of the places with the largest values, of those that are positive; ties by `pointed_at`."""
    return np.asarray(pointed_at(values).reshape(values.shape) & (values > 0))


def overlap(first: BoolArray, second: BoolArray) -> float:
    """Places of both as a part of the larger one's, 0..1; 0 where one has none."""
    larger = max(int(first.sum()), int(second.sum()))
    return float((first & second).sum() / larger) if larger else 0.0


def _same_source(first: Heatmap, second: Heatmap) -> bool:
    return first.layer is not None and first.layer == second.layer
