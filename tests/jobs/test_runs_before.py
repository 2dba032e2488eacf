"""In whatever order a job's results come out, one set is in force, and nothing that was replaced comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyray.jobs.runs_before import Groups, RunsBefore, results_of_run, version_in_force
from whyray.results import EarlierResult

REVISION_BEFORE = [EarlierResult("sr", "0.0", "0")]


@dataclass(frozen=True)
class Said:
    """An answer, as far as UIDs follow from it."""

    words: str
    supersedes: tuple[str, ...] = ()
    run: int = 1


@dataclass
class Runs:
    """A job that runs and runs: what is in force, and all that ever was, the oldest first."""

    in_force: list[EarlierResult] = field(default_factory=list)
    ever: list[EarlierResult] = field(default_factory=list)
    replacements: int = 0

    def run(self, words: str, count: int = 2) -> list[str]:
        """The UIDs that this run makes of a job of so many images."""
        replaced_before = [result for result in self.ever if result not in self.in_force]
        before = RunsBefore(tuple(self.in_force), tuple(replaced_before), self.replacements)
        answers: list[Any] = [Said(f"{words}{number}") for number in range(count)]
        made, replaced = results_of_run(answers, REVISION_BEFORE, before, make)
        self.replacements += bool(replaced)
        results = [
            EarlierResult("sr", str(result.dataset.SOPInstanceUID), "0") for _, group in made for result in group
        ]
        self.in_force = [result for result in self.in_force if result.sop_instance_uid not in replaced]
        self.in_force += [result for result in results if result not in self.ever]
        self.ever += [result for result in results if result not in self.ever]
        return [result.sop_instance_uid for result in results]


def make(answers: Sequence[Any], earlier: Sequence[EarlierResult]) -> Groups:
    assert all(answer.supersedes == tuple(one.sop_instance_uid for one in earlier) for answer in answers)
    return [([answer], [_result(answer)]) for answer in answers]


def _result(said: Said) -> Any:
    uid = hashlib.sha256(repr(said).encode()).hexdigest()
    return SimpleNamespace(dataset=SimpleNamespace(SOPInstanceUID=uid))


@given(st.lists(st.sampled_from("ABC"), min_size=1, max_size=7))
def test_in_every_order_of_results_those_of_the_last_run_are_in_force_alone(order: list[str]) -> None:
    runs, last = Runs(), None
    for words in order:
        in_force, ever = (
            [result.sop_instance_uid for result in runs.in_force],
            {result.sop_instance_uid for result in runs.ever},
        )
        made = runs.run(words)
        assert [result.sop_instance_uid for result in runs.in_force] == made
        if words == last:
            assert made == in_force, "equal results are the same objects"
        else:
            assert not ever & set(made), "an archive may leave alone what comes under a UID that it has"
        last = words


@pytest.mark.parametrize("order", ["ABA", "ABAB", "AABB", "ABBA"])
def test_each_change_makes_one_more_set_which_names_all_before_it(order: str) -> None:
    runs = Runs()
    for words in order:
        runs.run(words)
    changes = sum(here != there for here, there in pairwise(order))
    assert len(runs.ever) == 2 * (changes + 1)
    named = (*REVISION_BEFORE, *runs.ever[: 2 * changes])
    assert runs.in_force[0].sop_instance_uid == next(
        str(result.dataset.SOPInstanceUID)
        for _, (result, *_) in make(
            [Said(f"{order[-1]}0", tuple(one.sop_instance_uid for one in named), changes + 1)], named
        )
    )


def test_two_sets_that_are_in_force_give_way_to_one_that_names_both_even_where_it_equals_one_of_them() -> None:
    """As earlier versions left them."""
    first, second = Runs(), Runs()
    first.run("A")
    second.run("B")
    runs = Runs([*first.in_force, *second.in_force], [*first.ever, *second.ever])
    made = runs.run("A")
    assert [result.sop_instance_uid for result in runs.in_force] == made
    assert not set(made) & {result.sop_instance_uid for result in (*first.ever, *second.ever)}
    assert runs.run("A") == made


@pytest.mark.parametrize("count", [0, 1])
def test_a_run_that_makes_less_than_the_run_before_leaves_nothing_else_in_force(count: int) -> None:
    runs = Runs()
    runs.run("A")
    assert [result.sop_instance_uid for result in runs.in_force] != (made := runs.run("A", count))
    assert [result.sop_instance_uid for result in runs.in_force] == made


def rows_of(revision: int, *runs: int | None, superseded: bool = False) -> list[Any]:
    """Two rows for each run, with the minute at which a later run replaced it; None of those that none replaced."""
    return [
        SimpleNamespace(
            sop_class_uid="sr",
            sop_instance_uid=f"{revision}.{minute}.{number}",
            series_instance_uid="0",
            superseded=superseded or minute is not None,
            replaced_at=None if minute is None else datetime(2026, 1, 2, 3, minute, tzinfo=UTC),
            job=SimpleNamespace(revision=revision),
        )
        for minute in runs
        for number in range(2)
    ]


@pytest.mark.parametrize(
    ("rows", "replacements"),
    [
        ([], 0),
        (rows_of(1, None), 0),
        (rows_of(1, 4, 9, None), 2),
        (rows_of(1, None, superseded=True), 0),
        (rows_of(1, 4, None, superseded=True), 1),
    ],
)
def test_what_a_newer_revision_superseded_is_no_run_that_was_replaced(rows: list[Any], replacements: int) -> None:
    before = RunsBefore.of(rows)
    assert before.replacements == replacements
    assert len(before.in_force) + len(before.replaced) == len(rows)


@pytest.mark.parametrize(
    ("rows", "version"),
    [
        ([], None),
        (rows_of(1, None, superseded=True), (1, 1)),
        ([*rows_of(1, 1, None), *rows_of(2, 4, 9, None, superseded=True)], (2, 3)),
        (rows_of(1, 4, None, superseded=True), (1, 2)),
    ],
)
def test_the_version_in_force_is_the_last_run_of_the_last_revision_with_results(
    rows: list[Any], version: tuple[int, int] | None
) -> None:
    assert version_in_force(rows) == version
