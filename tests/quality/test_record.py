"""A package's record is graded by the exact binomial test."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from whyray.quality.record import SURE, p_of_fewer, p_of_more


@pytest.mark.parametrize("of", [1, 5, 37])
@pytest.mark.parametrize("chance", [1e-6, 0.05, 0.3, 0.77, 1 - 1e-6])
def test_the_probabilities_are_those_of_the_exact_binomial_test(of: int, chance: float) -> None:
    for hits in range(of + 1):
        more = binomtest(hits, of, chance, alternative="greater").pvalue
        fewer = binomtest(hits, of, chance, alternative="less").pvalue
        assert p_of_more(hits, of, chance) == pytest.approx(more, rel=1e-9, abs=1e-12)
        assert p_of_fewer(hits, of, chance) == pytest.approx(fewer, rel=1e-9, abs=1e-12)
        assert (p_of_more(hits, of, chance) < SURE, p_of_fewer(hits, of, chance) < SURE) == (more < SURE, fewer < SURE)
