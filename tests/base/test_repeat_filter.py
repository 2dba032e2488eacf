"""The same thing is told once a minute, with how often it came meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from whyray.base.repeat_filter import RepeatFilter


@dataclass
class Seconds:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def test_the_same_thing_passes_once_a_minute_and_other_things_beside_it(seconds: Seconds) -> None:
    told = RepeatFilter(seconds)
    assert told.passes(("intake.rejected", "STRANGER")) == 0
    assert told.passes(("intake.rejected", "STRANGER")) is None
    assert told.passes(("intake.rejected", "OTHER")) == 0
    seconds.now += 59.9
    assert told.passes(("intake.rejected", "STRANGER")) is None
    seconds.now += 0.1
    assert told.passes(("intake.rejected", "STRANGER")) == 2, "what was held back is counted"
    seconds.now += 60
    assert told.passes(("intake.rejected", "STRANGER")) == 0, "and told once"


def test_what_never_stops_is_told_every_minute_all_the_same(seconds: Seconds) -> None:
    told = RepeatFilter(seconds)
    passed = 0
    for _ in range(301):
        passed += told.passes("tries for ever") is not None
        seconds.now += 1
    assert passed == 6


def test_a_clock_that_is_set_back_keeps_nothing_quiet(seconds: Seconds) -> None:
    told = RepeatFilter(seconds)
    assert told.passes("again") == 0
    seconds.now -= 3600
    assert told.passes("again") == 0
    assert told.passes("again") is None


def test_the_memory_of_a_flood_of_names_is_bounded_and_the_newest_are_kept(seconds: Seconds) -> None:
    told = RepeatFilter(seconds, most=3)
    for name in ("first", "second", "third"):
        assert told.passes(name) == 0
    assert told.passes("first") is None
    assert told.passes("fourth") == 0
    assert told.passes("first") == 0, "forgotten: it passed longest ago"
    assert told.passes("fourth") is None
    assert told.passes("third") is None


def test_of_many_threads_one_passes(seconds: Seconds) -> None:
    told = RepeatFilter(seconds)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: told.passes("same"), range(200)))
    assert [answer for answer in answers if answer is not None] == [0]
    seconds.now += 60
    assert told.passes("same") == 199
