"""Agreement against published examples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from whyray.reader_study.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha, mean_cohen_kappa

N = float("nan")
KRIPPENDORFF_2011 = np.array(
    # four observers, twelve units: section C of 'Computing Krippendorff's Alpha-Reliability'
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
)
FLEISS_COUNTS = [
    # ten subjects, five categories, fourteen raters: the worked example on Wikipedia, kappa 0.210
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_alpha_is_that_of_his_own_example(level: str, alpha: float) -> None:
    assert krippendorff_alpha(KRIPPENDORFF_2011, level)[0] == pytest.approx(alpha, abs=5e-4)  # type: ignore[arg-type]


def test_cases_counted_twice_weigh_as_if_they_were_there_twice() -> None:
    weights = np.array([[2, 1, 1, 1, 1, 0, 1, 1, 3, 1, 1, 1]], float)
    repeated = np.repeat(KRIPPENDORFF_2011, weights[0].astype(int), axis=1)
    for level in ("nominal", "ordinal", "interval"):
        weighted = krippendorff_alpha(KRIPPENDORFF_2011, level, weights)[0]
        assert weighted == pytest.approx(krippendorff_alpha(repeated, level)[0])


def test_fleiss_kappa_is_that_of_the_worked_example() -> None:
    ratings = np.array([np.repeat(np.arange(5), row) for row in FLEISS_COUNTS], float).T
    assert fleiss_kappa(ratings) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_needs_equally_many_ratings_of_each_case() -> None:
    assert np.isnan(fleiss_kappa(KRIPPENDORFF_2011))


def test_cohens_kappa_over_common_cases_is_that_of_the_worked_example() -> None:
    """Fifty grant proposals and two readers, the first example on Wikipedia: kappa 0.40."""
    first = np.repeat([1.0, 1.0, 0.0, 0.0, N, 1.0], [20, 5, 10, 15, 4, 4])
    second = np.repeat([1.0, 0.0, 1.0, 0.0, 1.0, N], [20, 5, 10, 15, 4, 4])
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert mean_cohen_kappa(np.stack([first, second])) == pytest.approx(0.4)


def test_where_both_readers_say_one_thing_always_chance_explains_all_and_there_is_no_kappa() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(cohen_kappa(np.ones(5), np.ones(5)))
    assert cohen_kappa(np.ones(5), np.zeros(5)) == 0


def test_readers_without_common_cases_have_no_kappa() -> None:
    apart = np.array([[1, 1, N, N], [N, N, 0, 1]])
    assert np.isnan(cohen_kappa(apart[0], apart[1]))
    assert np.isnan(krippendorff_alpha(apart)[0])
