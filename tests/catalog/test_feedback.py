"""Verdicts: one a person and result, about what it was then, longer than the result lives."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select

from catalog.rows import NOON, job, result
from whyray.base.errors import NotFound, TransitionError
from whyray.catalog import Catalog, Event, Feedback, ResultRow, feedback, jobs


def finished(catalog: Catalog, *, study: int = 1) -> str:
    with catalog.begin() as session:
        row = job(session, study=study)
        jobs.claim(session, row.id, "worker", NOON)
        made = result(f"77{study}")
        jobs.finish(session, row.id, "worker", [made], [], NOON)
        return made.sop_instance_uid


def kept(catalog: Catalog) -> list[Feedback]:
    with catalog.read() as session:
        return list(session.scalars(select(Feedback)))


def test_a_verdict_outlives_its_result(catalog: Catalog) -> None:
    uid = finished(catalog)
    with catalog.begin() as session:
        feedback.give(session, uid, "reject", NOON, actor="ada", reason="wrong-place", comment="a rib")
    with catalog.begin() as session:
        session.execute(delete(ResultRow))
    (row,) = kept(catalog)
    assert (row.verdict, row.reason, row.comment, row.package) == ("reject", "wrong-place", "a rib", "package@1")


def test_a_person_has_one_verdict_a_result_and_may_change_it(catalog: Catalog) -> None:
    uid = finished(catalog)
    with catalog.begin() as session:
        feedback.give(session, uid, "reject", NOON, actor="ada", reason="too-vague")
        feedback.give(session, uid, "accept", NOON, actor="grace")
    with catalog.begin() as session:
        feedback.give(session, uid, "accept", NOON, actor="ada")
    assert sorted((row.actor, row.verdict, row.reason) for row in kept(catalog)) == [
        ("ada", "accept", None),
        ("grace", "accept", None),
    ]
    with catalog.read() as session:
        assert feedback.tally(session) == {("package@1", "accept"): 2}


def test_a_verdict_can_be_taken_back(catalog: Catalog) -> None:
    uid = finished(catalog)
    with catalog.begin() as session:
        feedback.give(session, uid, "accept", NOON, actor="ada")
    with catalog.begin() as session:
        feedback.take_back(session, uid, NOON, actor="ada")
        with pytest.raises(NotFound):
            feedback.take_back(session, uid, NOON, actor="ada")
    assert kept(catalog) == []


def test_a_comment_is_in_no_event(catalog: Catalog) -> None:
    uid = finished(catalog)
    with catalog.begin() as session:
        feedback.give(session, uid, "reject", NOON, actor="ada", reason="other", comment="private words")
    with catalog.read() as session:
        said = [event.message for event in session.scalars(select(Event)) if event.kind == "feedback.reject"]
    assert said == [f"result {uid}: other"]


def test_results_that_are_not_there_or_superseded_take_no_verdict(catalog: Catalog) -> None:
    uid = finished(catalog)
    with catalog.begin() as session:
        session.scalars(select(ResultRow)).one().superseded = True
    with catalog.begin() as session:
        with pytest.raises(TransitionError, match="superseded"):
            feedback.give(session, uid, "accept", NOON, actor="ada")
        with pytest.raises(NotFound):
            feedback.give(session, "2.25.0", "accept", NOON, actor="ada")
