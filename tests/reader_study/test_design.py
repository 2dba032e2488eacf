"""Who sees what: each case once, half of them with explanation, balanced over truth, model and readers."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyray.base.errors import ConfigError
from whyray.reader_study import plan

STRATA = {f"C{number:03d}": (number % 2 == 0, number % 5 == 0) for number in range(1, 42)}
READERS = ("R1", "R2", "R3", "R4")


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), crossover=st.booleans(), count=st.integers(2, 41), readers=st.integers(1, 5))
def test_each_reader_sees_each_case_once_a_session_and_half_of_them_explained(
    seed: int, crossover: bool, count: int, readers: int
) -> None:
    strata = dict(list(STRATA.items())[:count])
    for reader in plan(strata, [f"R{n}" for n in range(readers)], seed=seed, crossover=crossover):
        assert len(reader.sessions) == 1 + crossover
        for session in reader.sessions:
            assert sorted(one.case for one in session) == sorted(strata)
            sides = Counter(one.condition for one in session)
            assert abs(sides["with"] - sides["without"]) <= 1
            for stratum in set(strata.values()):
                inside = Counter(one.condition for one in session if strata[one.case] == stratum)
                assert abs(inside["with"] - inside["without"]) <= 1


def test_an_even_number_of_readers_reads_each_case_equally_often_under_both_conditions() -> None:
    for seed in range(20):
        seen = Counter(
            (one.case, one.condition) for reader in plan(STRATA, READERS, seed=seed) for one in reader.sessions[0]
        )
        assert set(seen.values()) == {2}


def test_a_crossover_shows_every_case_under_both_conditions_in_another_order() -> None:
    for reader in plan(STRATA, READERS, seed=3, crossover=True):
        first, second = ({one.case: one.condition for one in session} for session in reader.sessions)
        assert all(first[case] != second[case] for case in STRATA)
        assert [one.case for one in reader.sessions[0]] != [one.case for one in reader.sessions[1]]


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert plan(STRATA, READERS, seed=1) == plan(STRATA, READERS, seed=1)
    assert plan(STRATA, READERS, seed=1) != plan(STRATA, READERS, seed=2)


def test_conditions_are_mixed_within_a_session() -> None:
    row = [one.condition for one in plan(STRATA, READERS, seed=1)[0].sessions[0]]
    assert sum(one != other for one, other in pairwise(row)) > 10


@pytest.mark.parametrize(("strata", "readers"), [({"C1": 1}, ["R1"]), (STRATA, []), (STRATA, ["R1", "R1"])])
def test_a_study_that_can_not_be_is_refused(strata: dict[str, object], readers: list[str]) -> None:
    with pytest.raises(ConfigError):
        plan(strata, readers, seed=0)  # type: ignore[arg-type]
