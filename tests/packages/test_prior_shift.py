"""A probability that holds for one prevalence, moved to another."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from whyray.packages import TargetSpec, at_prevalence
from whyray.packages.prior_shift import from_log_odds, log_odds

SHARES = st.floats(1e-4, 1 - 1e-4)
LOGITS = st.floats(-12, 12)


def target(prevalence: float = 0.12, threshold: float = 0.371) -> TargetSpec:
    return TargetSpec(name="Lung Opacity", threshold=threshold, calibration=(1.0386, 0.0713), prevalence=prevalence)


def answered(spec: TargetSpec, logit: float) -> float:
    assert spec.calibration is not None
    a, b = spec.calibration
    return from_log_odds(a * logit + b)


@settings(max_examples=50)
@given(SHARES, SHARES, LOGITS)
def test_there_and_back_is_the_same(stated: float, other: float, logit: float) -> None:
    spec = target(stated)
    back = at_prevalence(at_prevalence(spec, other), stated)
    assert answered(back, logit) == pytest.approx(answered(spec, logit), rel=1e-9)
    # on the way it may lie at 1 - 1e-8, of which a float keeps eight digits
    assert back.threshold == pytest.approx(spec.threshold, rel=1e-6)


@settings(max_examples=50)
@given(SHARES, SHARES, LOGITS)
def test_the_commoner_a_finding_the_more_probable_it_is(one: float, other: float, logit: float) -> None:
    low, high = sorted((one, other))
    spec = target()
    assert answered(at_prevalence(spec, low), logit) <= answered(at_prevalence(spec, high), logit)


@settings(max_examples=50)
@given(SHARES, LOGITS)
def test_who_is_called_present_stays_the_same(prevalence: float, logit: float) -> None:
    spec = target()
    moved = at_prevalence(spec, prevalence)
    margin = log_odds(answered(spec, logit)) - log_odds(spec.threshold)
    if abs(margin) > 1e-6:
        assert (answered(moved, logit) >= moved.threshold) == (margin > 0)


def test_the_odds_are_multiplied_by_the_ratio_of_the_odds_of_the_prevalences() -> None:
    """Saerens et al. 2002, eq. 2.4, by hand: of 1000 images 120 with the finding; then of 1000 images 20."""
    spec, logit = target(0.12), 0.3
    before = answered(spec, logit)
    present, absent = before * 0.02 / 0.12, (1 - before) * 0.98 / 0.88
    assert answered(at_prevalence(spec, 0.02), logit) == pytest.approx(present / (present + absent))


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_that_calls_everybody_or_nobody_still_does(threshold: float) -> None:
    assert at_prevalence(target(threshold=threshold), 0.02).threshold == threshold


def test_nothing_is_moved_from_a_prevalence_that_nobody_stated() -> None:
    with pytest.raises(ValueError, match="states no prevalence"):
        at_prevalence(TargetSpec(name="Mass", calibration=(1.0, 0.0)), 0.02)


@pytest.mark.parametrize("wrong", [{"prevalence": 0.12}, {"prevalence": 0, "calibration": (1, 0)}])
def test_a_prevalence_is_that_of_a_calibration_and_lies_between_none_and_all(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TargetSpec.model_validate({"name": "Mass", **wrong})


@given(st.floats(1e-9, 1 - 1e-9))
@settings(max_examples=50)
def test_log_odds_are_taken_back(share: float) -> None:
    assert math.isclose(from_log_odds(log_odds(share)), share, rel_tol=1e-6)
