"""How alike two halves of a stochastic map are: only what both point at counts, and there are two halves always."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inference import nets
from whyray.explain import explain, top_dice
from whyray.explain.repeat import TOP, pointed_at
from whyray.inference import RuntimeOptions, load_package

MAPS = arrays(np.float32, (10, 10), elements=st.integers(-3, 3).map(float))


def test_sparse_maps_that_point_at_other_places_share_nothing() -> None:
    """Nine of the ten places that count are zeros in both: which zeros is nothing that the maps say."""
    first, second = np.zeros((2, 10, 10), np.float32)
    first[0, 0] = second[5, 5] = 1
    assert top_dice(first, second) == 0
    assert top_dice(first, first) == 1


def test_a_map_that_is_the_same_everywhere_repeats_nothing() -> None:
    same = np.zeros((10, 10), np.float32)
    assert top_dice(same, same) == 0
    assert top_dice(same, np.arange(100, dtype=np.float32)) == 0


def test_a_plateau_larger_than_what_counts_is_pointed_at_as_a_whole() -> None:
    left, right = np.zeros((2, 10, 10), np.float32)
    left[:, :4], right[:, -4:] = 1, 1
    assert top_dice(left, left) == 1
    assert top_dice(left, right) == 0


def test_without_ties_it_is_the_overlap_of_the_largest_tenths() -> None:
    first, second = np.random.default_rng(0).random((2, 30, 30), np.float32)
    tops = [set(np.argsort(-values.ravel())[:90].tolist()) for values in (first, second)]
    assert top_dice(first, second) == pytest.approx(len(tops[0] & tops[1]) / 90)


@settings(max_examples=200, deadline=None)
@given(first=MAPS, second=MAPS, order=st.permutations(range(100)))
def test_it_hangs_on_no_order_of_the_places(first: np.ndarray, second: np.ndarray, order: list[int]) -> None:
    dice = top_dice(first, second)
    assert 0 <= dice <= 1
    assert top_dice(second, first) == dice
    assert top_dice(first.ravel()[order], second.ravel()[order]) == dice
    places = pointed_at(first)
    if places.any():
        assert first.ravel()[places].min() > first.ravel()[~places].max()
        assert places.sum() <= TOP * 100 or len(np.unique(first.ravel()[places])) == 1


@pytest.mark.parametrize(("method", "many"), [("smooth-grad", {"samples": 40}), ("rise", {"masks": 60})])
def test_one_pass_that_holds_all_samples_gives_two_halves(method: str, many: dict[str, int]) -> None:
    """Where one pass takes all, as on an accelerator, one half was nothing, and the map seemed not to be repeated."""
    dice, values = [], []
    for size in (3, 64):
        options = RuntimeOptions(device="cpu", intra_op_threads=1, batch_size=size)
        model = load_package(nets.packed("plain"), options=options)
        heatmap = explain(model, nets.image("plain").numpy(), target="one", method=method, **many)
        dice.append(heatmap.evidence["split_half_dice"])
        values.append(heatmap.values)
    assert dice[1] > 0.15, "more than chance"
    np.testing.assert_allclose(values[0], values[1], rtol=1e-4, atol=1e-6)


def test_a_single_sample_has_no_halves() -> None:
    heatmap = explain(nets.loaded("plain"), nets.image("plain").numpy(), target="one", method="smooth-grad", samples=1)
    assert "split_half_dice" not in heatmap.evidence
