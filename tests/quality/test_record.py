"""A package's record is graded by the exact binomial test."""

from __future__ import annotations

import pytest
from scipy.stats import binom, binomtest, fisher_exact

from whyray.quality import Grade
from whyray.quality.record import SURE, _graded, p_of_fewer, p_of_more, p_of_more_than_guess


@pytest.mark.parametrize("of", [1, 5, 37])
@pytest.mark.parametrize("chance", [1e-6, 0.05, 0.3, 0.77, 1 - 1e-6])
def test_the_probabilities_are_those_of_the_exact_binomial_test(of: int, chance: float) -> None:
    for hits in range(of + 1):
        more = binomtest(hits, of, chance, alternative="greater").pvalue
        fewer = binomtest(hits, of, chance, alternative="less").pvalue
        assert p_of_more(hits, of, chance) == pytest.approx(more, rel=1e-9, abs=1e-12)
        assert p_of_fewer(hits, of, chance) == pytest.approx(fewer, rel=1e-9, abs=1e-12)
        assert (p_of_more(hits, of, chance) < SURE, p_of_fewer(hits, of, chance) < SURE) == (more < SURE, fewer < SURE)


@pytest.mark.parametrize("of", [1, 7, 40])
def test_two_counts_are_compared_by_fishers_exact_test(of: int) -> None:
    for hits in range(of + 1):
        for guessed in range(0, of + 1, 3):
            table = [[hits, of - hits], [guessed, of - guessed]]
            expected = fisher_exact(table, alternative="greater").pvalue
            assert p_of_more_than_guess(hits, guessed, of) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("of", [20, 60])
@pytest.mark.parametrize("chance", [0.1, 0.3, 0.6])
def test_maps_as_good_as_a_guess_are_green_no_more_often_than_the_level_says(of: int, chance: float) -> None:
    """The guess's hits are counted on the same findings: taken for a known chance, one in nine was green."""
    likely = binom.pmf(range(of + 1), of, chance)
    green = sum(
        likely[hits] * likely[guessed]
        for hits in range(of + 1)
        for guessed in range(of + 1)
        if _graded(hits, of, {"a guess": guessed}, "maps hit").grade is Grade.GREEN
    )
    assert 0 < green <= SURE
