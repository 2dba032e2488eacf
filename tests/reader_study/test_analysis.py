"""Figures of a study against by-hand values and reference libraries; intervals that cover what is planted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import bootstrap, gmean
from sklearn.metrics import roc_auc_score

from whyray.base.errors import ConfigError
from whyray.reader_study import ReadingFact, TrueCase, Truth
from whyray.reader_study.analysis import analyse
from whyray.reader_study.bootstrap import draw, estimate, mean_auc, weighted_mean


def truth_of(rows: list[tuple[bool, bool]]) -> Truth:
    cases = [
        TrueCase(number=f"C{n:03d}", source=f"2.25.{n}", truth=truth, model_says=says, package="p@1", methods=("m",))
        for n, (truth, says) in enumerate(rows, 1)
    ]
    return Truth(name="study", target="Effusion", seed=1, cases=tuple(cases))


def said(reader: str, case: int, condition: str, present: bool, confidence: int = 3, seconds: float | None = 10.0):  # type: ignore[no-untyped-def]
    return ReadingFact(reader, f"C{case:03d}", condition, 1, present, confidence, seconds)  # type: ignore[arg-type]


# truth, model: right, right, wrong, wrong
FOUR = truth_of([(True, True), (False, False), (True, False), (False, True)])


def test_figures_of_a_small_study_are_those_counted_by_hand() -> None:
    facts = [
        # with explanation, R1 follows the model always, R2 but once
        *(said("R1", case, "with", says, 4, 8.0) for case, says in zip(range(1, 5), (1, 0, 0, 1), strict=True)),
        *(said("R2", case, "with", says, 2, 2.0) for case, says in zip(range(1, 5), (1, 0, 0, 0), strict=True)),
        # without, both are right always
        *(
            said(r, c, "without", s, 5, 4.0)
            for r in ("R1", "R2")
            for c, s in zip(range(1, 5), (1, 0, 1, 0), strict=True)
        ),
    ]
    analysis = analyse(facts, FOUR, draws=50)
    with_, without = (
        {name: estimate.value for name, estimate in analysis.conditions[side].items()} for side in ("with", "without")
    )
    assert with_["accuracy"] == pytest.approx(5 / 8)
    assert with_["sensitivity"] == pytest.approx(2 / 4)
    assert with_["specificity"] == pytest.approx(3 / 4)
    assert with_["reliance"] == pytest.approx(1.0)
    assert with_["over-reliance"] == pytest.approx(3 / 4)
    assert with_["confidence"] == pytest.approx(3.0)
    assert with_["seconds"] == pytest.approx(4.0)  # geometric mean of 8 and 2
    assert without["accuracy"] == without["auc"] == 1.0
    assert without["over-reliance"] == 0.0
    assert without["agreement"] == 1.0
    difference = {name: estimate.value for name, estimate in analysis.differences.items()}
    assert difference["accuracy"] == pytest.approx(5 / 8 - 1)
    assert difference["seconds"] == pytest.approx(1.0)
    assert analysis.model_accuracy == 0.5


def test_the_auc_is_the_mean_of_each_readers_own() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(40) < 0.5
    scores = rng.integers(-5, 6, (3, 40)) + 2.0 * truth
    scores[0, ::4] = np.nan
    expected = np.mean([roc_auc_score(truth[~np.isnan(row)], row[~np.isnan(row)]) for row in scores])
    assert mean_auc(scores, truth)[0] == pytest.approx(expected)


def test_with_one_reader_the_interval_is_scipys_bootstrap_over_cases() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(3, 1, 80)
    ours = estimate(values.mean(), weighted_mean(values[None], draw(1, 80, 20000, np.random.default_rng(5))))
    reference = bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(6))
    assert ours.low == pytest.approx(reference.confidence_interval.low, abs=0.01)
    assert ours.high == pytest.approx(reference.confidence_interval.high, abs=0.01)


def test_the_crossed_bootstrap_has_the_spread_of_readers_and_of_cases() -> None:
    rng = np.random.default_rng(3)
    readers, cases = rng.normal(0, 1.0, 12), rng.normal(0, 2.0, 60)
    values = readers[:, None] + cases[None]  # no noise besides
    drawn = weighted_mean(values, draw(12, 60, 8000, np.random.default_rng(4)))
    expected = np.sqrt(readers.var() / 12 + cases.var() / 60)
    assert drawn.std() == pytest.approx(expected, rel=0.06)


def _simulated(rng: np.random.Generator, gain: float) -> tuple[list[ReadingFact], Truth]:
    """Eight readers, sixty cases, half of them with explanation; explanations add `gain` to the chance to be right."""
    truth = truth_of([(bool(n % 2), bool(rng.random() < 0.7) == bool(n % 2)) for n in range(60)])
    facts = []
    for (reader, skill), (index, case) in itertools.product(enumerate(rng.normal(0, 0.05, 8)), enumerate(truth.cases)):
        condition = "with" if (index + reader) % 2 else "without"
        right = rng.random() < 0.6 + skill + gain * (condition == "with")
        facts.append(
            said(f"R{reader}", index + 1, condition, case.truth == right, seconds=float(rng.lognormal(3, 0.3)))
        )
    return facts, truth


def test_a_planted_gain_lies_in_the_interval_nineteen_times_in_twenty_and_none_is_rarely_found() -> None:
    rng = np.random.default_rng(11)
    covered = detected = 0
    for _ in range(60):
        facts, truth = _simulated(rng, 0.2)
        gain = analyse(facts, truth, draws=300).differences["accuracy"]
        covered += gain.low <= 0.2 <= gain.high  # type: ignore[operator]
        none = analyse(*_simulated(rng, 0.0), draws=300).differences["accuracy"]
        detected += not none.low <= 0 <= none.high  # type: ignore[operator]
    assert covered >= 52
    assert detected <= 6


def test_the_same_answers_and_seed_give_the_same_intervals() -> None:
    facts, truth = _simulated(np.random.default_rng(1), 0.1)
    assert analyse(facts, truth, draws=100, seed=3) == analyse(facts, truth, draws=100, seed=3)
    assert analyse(facts, truth, draws=100, seed=3) != analyse(facts, truth, draws=100, seed=4)


def test_interrupted_readings_count_but_their_time_does_not() -> None:
    facts = [said("R1", 1, "with", True, seconds=None), said("R1", 2, "with", False, seconds=9.0)]
    analysis = analyse(facts, FOUR, draws=20)
    assert analysis.readings["with"] == 2
    assert analysis.timed["with"] == 1
    assert analysis.conditions["with"]["seconds"].value == pytest.approx(gmean([9.0]))


def test_a_study_without_readings_of_one_condition_has_no_difference() -> None:
    analysis = analyse([said("R1", 1, "with", True), said("R1", 2, "with", False)], FOUR, draws=20)
    assert analysis.conditions["without"]["accuracy"].value is None
    assert analysis.differences["accuracy"].value is None


def test_few_readers_and_few_wrong_answers_of_the_model_are_noted() -> None:
    analysis = analyse([said("R1", 1, "with", True)], FOUR, draws=20)
    assert any("One reader" in note for note in analysis.notes)
    assert any("wrong in 2 cases" in note for note in analysis.notes)


def test_answers_about_other_cases_than_the_truth_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="C009"):
        analyse([said("R1", 9, "with", True)], FOUR)
    with pytest.raises(ConfigError, match="no answer"):
        analyse([], FOUR)
