"""The project's one AUC, calibration and bootstrap, against values by hand and reference libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from whyray.base.statistics import (
    auc,
    auc_interval,
    bootstrap_interval,
    effective_count,
    evenly_spread,
    expected_calibration_error,
    platt_scaling,
)


def test_the_area_under_the_curve_counts_ties_half_and_is_unknown_of_one_class() -> None:
    # of four pairs three are in order and one is a tie
    assert auc(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8])) == 0.875
    assert np.isnan(auc(np.zeros(3), np.arange(3.0)))
    assert np.isnan(auc(np.ones(3), np.arange(3.0)))


def test_the_area_under_the_curve_is_scikit_learns() -> None:
    rng = np.random.default_rng(4)
    truth, score = rng.random(50) > 0.6, rng.integers(0, 8, 50)
    assert auc(truth.astype(float), score.astype(float)) == pytest.approx(roc_auc_score(truth, score))


def test_platt_scaling_finds_the_scale_that_made_the_labels() -> None:
    rng = np.random.default_rng(5)
    score = rng.normal(0, 0.2, 20_000)
    truth = (rng.random(20_000) < 1 / (1 + np.exp(-(9 * score - 0.5)))).astype(float)
    assert platt_scaling(score, truth) == pytest.approx((9, -0.5), abs=0.3)


def test_platt_scaling_is_the_logistic_regression_on_platts_targets() -> None:
    """A target t is a positive of weight t and a negative of weight 1 - t."""
    rng = np.random.default_rng(6)
    truth = np.repeat([1.0, 0.0], [4, 36])
    score = rng.normal(0, 2, 40) + 2 * truth
    target = np.where(truth == 1, 5 / 6, 1 / 38)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    reference.fit(np.r_[score, score][:, None], np.repeat([1, 0], 40), sample_weight=np.r_[target, 1 - target])
    expected = (float(reference.coef_[0, 0]), float(reference.intercept_[0]))
    assert platt_scaling(score, truth) == pytest.approx(expected, abs=1e-3)


def test_platt_scaling_turns_no_answer_around() -> None:
    truth = np.repeat([1.0, 0.0], 30)
    slope, offset = platt_scaling(-truth, truth)
    assert slope == 0
    assert offset == pytest.approx(0, abs=1e-3)
    assert platt_scaling(-truth, truth, least_slope=0.05)[0] == pytest.approx(0.05)


def test_calibration_error_is_zero_for_true_frequencies_and_the_gap_for_false_ones() -> None:
    positive = range(5, 100, 10)
    said = np.repeat([count / 100 for count in positive], 100)
    true = np.concatenate([np.arange(100) < count for count in positive]).astype(float)
    assert expected_calibration_error(said, true) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(np.full(40, 0.9), np.zeros(40)) == pytest.approx(0.9)


def test_calibration_error_weighs_bins_by_their_cases() -> None:
    said, true = np.array([0.1, 0.2, 0.3, 0.6, 0.8]), np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    # bins of three and two: |0.2 - 1/3| and |0.7 - 1|
    assert expected_calibration_error(said, true, bins=2) == pytest.approx((3 * (1 / 3 - 0.2) + 2 * 0.3) / 5)


@pytest.mark.parametrize("order", [np.arange(40), np.arange(40)[::-1], np.random.default_rng(0).permutation(40)])
def test_calibration_error_of_equal_probabilities_does_not_hang_on_the_order_of_the_cases(order: np.ndarray) -> None:
    """As of models in 8 bits, and of any that saturate: half of those of which it says 0.5 are positive."""
    said, true = np.full(40, 0.5), np.repeat([0.0, 1.0], 20)
    assert expected_calibration_error(said[order], true[order]) == pytest.approx(0, abs=1e-12)
    said, true = np.repeat([0.25, 1.0], 20), np.tile([0.0, 0.0, 0.0, 1.0], 10)
    assert expected_calibration_error(said[order], true[order]) == pytest.approx(0.75 / 2)


def test_the_interval_is_scipys_bootstrap() -> None:
    values = np.random.default_rng(2).normal(3, 1, 80)
    interval = bootstrap_interval(lambda rows: float(values[rows].mean()), np.arange(80), np.random.default_rng(5))
    reference = bootstrap(
        (values,), np.mean, n_resamples=1000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    assert interval == pytest.approx((reference.low, reference.high))


def test_whole_groups_are_drawn_so_that_copies_of_a_case_make_nothing_surer() -> None:
    values = np.random.default_rng(2).normal(3, 1, 80)
    copies, patients = np.repeat(values, 3), np.repeat(np.arange(80), 3)
    once = bootstrap_interval(lambda rows: float(values[rows].mean()), np.arange(80), np.random.default_rng(5))
    thrice = bootstrap_interval(lambda rows: float(copies[rows].mean()), patients, np.random.default_rng(5))
    assert thrice == pytest.approx(once)
    one_patient = bootstrap_interval(lambda rows: float(values[rows].mean()), np.zeros(80), np.random.default_rng(5))
    assert one_patient == pytest.approx((values.mean(), values.mean()))


def test_resamples_without_a_value_are_left_out_of_the_interval() -> None:
    truth, score = np.repeat([1.0, 0.0], [2, 20]), np.linspace(1, 0, 22)
    low, high = bootstrap_interval(lambda rows: auc(truth[rows], score[rows]), np.arange(22), np.random.default_rng(0))
    assert low == high == 1


def test_rows_are_spread_evenly_from_the_first_to_the_last() -> None:
    assert evenly_spread(9, 3).tolist() == [0, 4, 8]
    assert evenly_spread(3, 9).tolist() == [0, 1, 2]
    assert evenly_spread(5, 1).tolist() == [0]
    assert evenly_spread(0, 4).tolist() == evenly_spread(4, 0).tolist() == []


def test_an_interval_of_an_area_ends_where_the_area_lies_two_standard_errors_off() -> None:
    low, high = auc_interval(0.8, 12, 20)
    for end in (low, high):
        spread = 1 + 15 * ((1 - end) / (2 - end) + end / (1 + end))
        assert abs(0.8 - end) == pytest.approx(1.96 * np.sqrt(end * (1 - end) * spread / 240), rel=1e-3)
    assert low < 0.8 < high
    assert auc_interval(0.2, 20, 12) == pytest.approx((1 - high, 1 - low))


def test_an_interval_of_a_perfect_area_has_a_width_and_more_patients_make_it_narrower() -> None:
    lows = [auc_interval(1.0, count, count) for count in (1, 3, 10, 100)]
    assert [high for _, high in lows] == [1] * 4
    assert 0 < lows[0][0] < lows[1][0] < lows[2][0] < lows[3][0] < 1
    assert auc_interval(0.0, 3, 3) == pytest.approx((0, 1 - lows[1][0]))


@pytest.mark.parametrize(("positives", "negatives"), [(3, 30), (8, 8), (25, 60)])
@pytest.mark.parametrize("apart", [0.0, 0.7, 2.3])
def test_the_interval_of_an_area_covers_it_as_often_as_it_says(positives: int, negatives: int, apart: float) -> None:
    from scipy.stats import norm

    rng = np.random.default_rng(positives)
    truth = np.repeat([1.0, 0.0], [positives, negatives])
    real, covered = float(norm.cdf(apart / np.sqrt(2))), 0
    for _ in range(600):
        low, high = auc_interval(auc(truth, rng.standard_normal(len(truth)) + apart * truth), positives, negatives)
        covered += low <= real <= high
    assert covered / 600 > 0.93


def test_rows_of_a_group_count_as_far_as_they_would_if_they_said_the_same() -> None:
    assert effective_count(np.array(["a", "b", "c"])) == 3
    assert effective_count(np.array(["a"] * 9)) == 1
    assert effective_count(np.array(["a"] * 9 + ["b"])) == pytest.approx(100 / 82)
