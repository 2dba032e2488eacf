"""Rejections in the catalog, on each database: entered by few statements, found by UIDs, kept beyond their study."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import event, select

from catalog.rows import NOON, received
from migrated import down_and_up
from whyray.catalog import Catalog, Rejection, RejectionNote, Study, lifted_rejections, rejections, studies

MANY = frozenset(f"1.2.1.1.{number}" for number in range(2500))


def _study(catalog: Catalog) -> Study:
    with catalog.begin() as session:
        for number in (1, 2, 9999):
            studies.add_instance(session, received(number), NOON)
    with catalog.read() as session:
        return session.scalars(select(Study)).one()


def _enter(catalog: Catalog, study: Study, code: str, minutes: int, uids: frozenset[str] = MANY) -> int:
    note = RejectionNote(f"2.25.{minutes}", NOON + timedelta(minutes=minutes), code, uids)
    with catalog.begin() as session:
        return rejections.enter(session, study.id, note, NOON, actor="PACS")


def _routable(catalog: Catalog, study_id: int) -> set[str]:
    with catalog.read() as session:
        return {one.sop_instance_uid for group in studies.routable(session, study_id).values() for one in group}


def test_many_are_entered_by_few_statements_and_what_had_expired_may_prove_wrong(catalog: Catalog) -> None:
    study = _study(catalog)
    statements: list[str] = []
    event.listen(catalog.engine, "before_cursor_execute", lambda *heard: statements.append(heard[2]))
    assert _enter(catalog, study, "113039", 1) == len(MANY)
    assert len(statements) < 25
    assert _enter(catalog, study, "113039", 1) == 0
    assert _enter(catalog, study, "113001", 2, frozenset([*MANY, "1.2.3"])) == len(MANY) + 1
    assert _enter(catalog, study, "113039", 3) == 0
    assert _routable(catalog, study.id) == {"1.2.1.1.9999"}
    with catalog.read() as session:
        assert {(row.code, row.document_uid) for row in session.scalars(select(Rejection))} == {("113001", "2.25.2")}
        assert len(studies.rejected(session, study.id)) == 2


def test_what_was_wrong_outlives_its_study_and_what_had_expired_does_not(catalog: Catalog) -> None:
    study = _study(catalog)
    _enter(catalog, study, "113001", 1, frozenset(["1.2.1.1.1"]))
    _enter(catalog, study, "113039", 1, frozenset(["1.2.1.1.2"]))
    with catalog.begin() as session:
        rejections.forget_expired(session, study.study_instance_uid)
        session.delete(session.get_one(Study, study.id))
    assert _routable(catalog, _study(catalog).id) == {"1.2.1.1.2", "1.2.1.1.9999"}


def test_what_had_expired_and_comes_again_is_as_if_it_came_after_the_note(catalog: Catalog) -> None:
    study = _study(catalog)
    _enter(catalog, study, "113039", 1, frozenset(["1.2.1.1.1"]))
    _enter(catalog, study, "113001", 1, frozenset(["1.2.1.1.2"]))
    later = NOON + timedelta(hours=1)
    with catalog.begin() as session:
        studies.settle(session, study.id, 3, "routed")
        for number in (2, 9999):
            again = studies.add_instance(session, received(number, copy=1), later)
            assert again is studies.Arrival.DUPLICATE
        assert studies.unsettled(session) == []
        assert studies.add_instance(session, received(1, copy=1), later) is studies.Arrival.DUPLICATE
        assert [one.id for one in studies.unsettled(session)] == [study.id]
    assert _routable(catalog, study.id) == {"1.2.1.1.1", "1.2.1.1.9999"}


def test_a_note_is_withdrawn_with_its_study_locked_first_as_others_do_that_write_rejections(catalog: Catalog) -> None:
    study = _study(catalog)
    _enter(catalog, study, "113001", 1, frozenset(["1.2.1.1.1"]))
    note = RejectionNote("2.25.1", NOON + timedelta(minutes=1), "113001", frozenset(["1.2.1.1.1"]))
    statements: list[str] = []
    with catalog.begin() as session:
        event.listen(session.connection(), "before_cursor_execute", lambda *heard: statements.append(heard[2]))
        assert rejections.withdraw_note(session, study.study_instance_uid, note) == 1
    first, second = statements[:2]
    assert "FROM studies" in first
    assert catalog.engine.dialect.name == "sqlite" or "FOR UPDATE" in first
    assert second.startswith("DELETE FROM rejections")
    assert _routable(catalog, study.id) == {"1.2.1.1.1", "1.2.1.1.2", "1.2.1.1.9999"}


def test_what_is_lifted_keeps_its_note_and_title(catalog: Catalog) -> None:
    study = _study(catalog)
    _enter(catalog, study, "113001", 1, frozenset(["1.2.1.1.1"]))
    lifted_at = NOON + timedelta(hours=1)
    with catalog.begin() as session:
        lifted = lifted_rejections.lift(session, study.study_instance_uid, lifted_at, actor="eva", reason="by mistake")
    assert (lifted.instances, lifted.becomes) == (1, "the study is routed anew")
    with catalog.read() as session:
        (row,) = lifted_rejections.listed(session)
    assert (row.title, row.is_lifted, row.since) == ("113001 Rejected for Quality Reasons", True, lifted_at)


def test_what_was_lifted_in_the_schema_before_stays_lifted(catalog: Catalog) -> None:
    study = _study(catalog)
    _enter(catalog, study, "113001", 1, frozenset(["1.2.1.1.1"]))
    _enter(catalog, study, "113001", 2, frozenset(["1.2.1.1.2"]))
    lifted_at = NOON + timedelta(hours=1)
    with catalog.begin() as session:
        lifted_rejections.lift(
            session, study.study_instance_uid, lifted_at, actor="eva", reason="by mistake", document_uid="2.25.1"
        )
    down_and_up(catalog.engine, "0028")
    assert _routable(catalog, study.id) == {"1.2.1.1.1", "1.2.1.1.9999"}
    with catalog.read() as session:
        rows = lifted_rejections.listed(session)
    assert [(row.document_uid, row.is_lifted) for row in rows] == [("2.25.1", True), ("2.25.2", False)]
    assert (rows[0].since, rows[0].title) == (lifted_at, "an unknown title")
