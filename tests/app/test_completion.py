from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from whyray.app.completion import Arrivals, Decision, decide

START = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Rule:
    on_release: bool = True
    quiet_for: timedelta = timedelta(seconds=20)
    at_most: timedelta = timedelta(minutes=10)
    if_incomplete: Literal["process", "skip"] = "process"


def arrivals(last: float, *, released: float | None = None, received: int = 1, expected: int | None = None) -> Arrivals:
    return Arrivals(
        opened_at=START,
        last_received_at=START + timedelta(seconds=last),
        released_at=None if released is None else START + timedelta(seconds=released),
        received=received,
        expected=expected,
    )


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_single_view_is_complete_as_soon_as_its_association_is_released() -> None:
    assert decide(Rule(), arrivals(0, released=0.1), after(0.1))[0] is Decision.PROCESS


def test_a_release_before_the_newest_instance_does_not_count() -> None:
    assert decide(Rule(), arrivals(5, released=1), after(6))[0] is Decision.WAIT


def test_without_release_quiet_time_decides() -> None:
    rule = Rule(on_release=False)
    assert decide(rule, arrivals(0, released=1), after(19.9))[0] is Decision.WAIT
    assert decide(rule, arrivals(0, released=1), after(20))[0] is Decision.PROCESS


def test_an_expected_count_holds_a_released_and_quiet_study_until_all_are_here() -> None:
    assert decide(Rule(), arrivals(0, released=1, received=3, expected=5), after(100))[0] is Decision.WAIT
    assert decide(Rule(), arrivals(0, received=5, expected=5), after(0))[0] is Decision.PROCESS


def test_at_the_ceiling_an_incomplete_study_is_processed_or_skipped_as_the_route_says() -> None:
    waiting = arrivals(599, received=3, expected=5)
    assert decide(Rule(), waiting, after(600)) == (
        Decision.PROCESS,
        "the ceiling of 0:10:00 is reached; 3 of 5 came",
    )
    assert decide(Rule(if_incomplete="skip"), waiting, after(600))[0] is Decision.SKIP


@given(
    st.booleans(),
    st.floats(0, 1000),
    st.none() | st.floats(0, 1000),
    st.integers(1, 9),
    st.none() | st.integers(1, 9),
    st.floats(0, 2000),
)
def test_nothing_waits_past_the_ceiling_and_time_alone_never_takes_a_decision_back(
    on_release: bool, last: float, released: float | None, received: int, expected: int | None, now: float
) -> None:
    rule, known = Rule(on_release=on_release), arrivals(last, released=released, received=received, expected=expected)
    decision = decide(rule, known, after(now))[0]
    if now >= 600:
        assert decision is not Decision.WAIT
    if decision is Decision.PROCESS:
        assert decide(rule, known, after(now + 5000))[0] is Decision.PROCESS
