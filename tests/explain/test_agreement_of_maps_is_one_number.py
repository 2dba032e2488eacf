"""Agreement: how far maps point at the same places, of those that are independent of each other."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.explain import CHANCE, Heatmap, agreement


def heatmap(values: np.ndarray, method: str, layer: str | None = None) -> Heatmap:
    return Heatmap(values.astype(np.float32), "one", method, signed=True, unit="logit", layer=layer)


def lit(rows: slice, columns: slice) -> np.ndarray:
    values = np.zeros((20, 20), np.float32)
    values[rows, columns] = np.random.default_rng(0).uniform(1, 2, values[rows, columns].shape)
    return values


def test_maps_of_the_same_places_agree_wholly_and_maps_of_other_places_not_at_all() -> None:
    here, there = lit(slice(0, 4), slice(0, 10)), lit(slice(10, 14), slice(0, 10))
    same = agreement([heatmap(here, "occlusion"), heatmap(here * 7, "rise")])
    assert same is not None
    assert (same.value, same.pairs, same.methods) == (1, 1, ("occlusion", "rise"))
    other = agreement([heatmap(here, "occlusion"), heatmap(there, "rise")])
    assert other is not None
    assert other.value == 0


def test_half_of_the_places_is_half_and_the_mean_is_over_pairs() -> None:
    whole, half = lit(slice(0, 4), slice(0, 10)), lit(slice(2, 6), slice(0, 10))
    agreed = agreement([heatmap(whole, "occlusion"), heatmap(half, "rise"), heatmap(whole, "lime")])
    assert agreed is not None
    assert (agreed.value, agreed.pairs) == (pytest.approx((0.5 + 1 + 0.5) / 3), 3)


def test_maps_that_know_nothing_of_each_other_agree_by_chance() -> None:
    rng = np.random.default_rng(1)
    maps = [heatmap(rng.random((100, 100)), f"method-{number}") for number in range(6)]
    agreed = agreement(maps)
    assert agreed is not None
    assert agreed.value == pytest.approx(CHANCE, abs=0.02)


def test_plateaus_are_compared_as_they_lie_and_not_by_their_upper_rows() -> None:
    """Maps of windows, segments or cells: the first tenth of a plateau is its upper left, whatever else it covers."""
    upper, around = np.zeros((2, 20, 20), np.float32)
    upper[:8], around[0], around[12:] = 1, 1, 1
    agreed = agreement([heatmap(upper, "occlusion"), heatmap(around, "rise")])
    assert agreed is not None
    assert agreed.value == pytest.approx(1 / 9)


def test_maps_of_one_layer_agree_for_free_and_are_not_compared() -> None:
    here = lit(slice(0, 4), slice(0, 10))
    assert agreement([heatmap(here, "grad-cam", "features"), heatmap(here, "hi-res-cam", "features")]) is None
    assert agreement([heatmap(here, "grad-cam", "features")]) is None
    cams = [heatmap(here, "grad-cam", "features"), heatmap(here, "hi-res-cam", "features")]
    with_another = agreement([*cams, heatmap(here, "occlusion")])
    assert with_another is not None
    assert with_another.pairs == 2


def test_what_speaks_against_the_target_is_not_pointed_at() -> None:
    sparse = lit(slice(0, 1), slice(0, 5))
    against = -lit(slice(0, 1), slice(0, 5))
    agreed = agreement([heatmap(sparse, "occlusion"), heatmap(against, "rise")])
    assert agreed is not None
    assert agreed.value == 0
