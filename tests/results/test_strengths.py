"""How much of a map lies on each frame."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.results import strength_of


@pytest.mark.parametrize("place", [(0, 0), (700, 3), (1023, 1023)])
def test_a_value_that_is_none_is_not_lost(place: tuple[int, int]) -> None:
    values = np.ones((1024, 1024), np.float32)
    values[place] = np.nan
    assert np.isnan(strength_of(values, np.ones(values.shape, bool))).all()


def test_strengths_are_the_sums_and_the_largest() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 700)).astype(np.float32)
    region = values > 1
    sizes = np.abs(values).astype(np.float64)
    assert strength_of(values, region) == pytest.approx((sizes[region].sum(), sizes.sum(), sizes.max()))
