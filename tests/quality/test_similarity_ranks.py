"""Ranks are Spearman's: equal values share the mean of theirs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from whyray.quality.complexity import gini
from whyray.quality.similarity import ranks


@pytest.mark.parametrize("seed", range(3))
def testranks_are_those_of_scipy_with_ties_and_zeros_of_both_signs(seed: int) -> None:
    from scipy.stats import rankdata

    values = np.random.default_rng(seed).integers(-3, 4, (17, 13)).astype(np.float32) / 3
    values[0, :4] = [0.0, -0.0, 0.0, -0.0]
    assert np.array_equal(ranks(values), rankdata(values.ravel()))


@pytest.mark.parametrize("seed", range(3))
def test_ranks_of_single_precision_are_those_of_double(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(5000) * 10.0 ** rng.integers(-40, 30, 5000)).astype(np.float32)
    values[:40] = np.repeat(np.float32([np.inf, -np.inf, 0.0, -0.0]), 10)
    values[40:60] = values[60:80]
    assert np.array_equal(ranks(values), ranks(values.astype(np.float64)))
    values[3] = -np.float32(np.nan)
    assert np.array_equal(ranks(values), ranks(values.astype(np.float64)))


def test_all_that_is_no_number_shares_one_rank_after_the_others() -> None:
    assert ranks(np.array([np.nan, 1.0, np.nan, 0.5])).tolist() == [3.5, 2.0, 3.5, 1.0]


@given(hnp.arrays(np.float32, st.integers(1, 400), elements=st.floats(0, 8, width=32) | st.just(0.0)))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_gini_index_is_that_of_the_magnitudes_in_rising_order(magnitude: np.ndarray) -> None:
    ordered = np.sort(magnitude).astype(np.float64)
    ranks = np.arange(1, len(ordered) + 1)
    known = ((2 * ranks - len(ordered) - 1) * ordered).sum() / (len(ordered) * ordered.sum()) if ordered.any() else 0.0
    assert gini(magnitude) == known
