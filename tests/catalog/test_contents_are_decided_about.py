"""Who decides which content of a study is in use, and when: an administrator, its sender, or nobody yet."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import select

from catalog.conftest import Ticks
from catalog.rows import NOON
from catalog.test_contents import UID, come, compare, in_use, kinds, sha256
from whyray.base.errors import NotFound, TransitionError
from whyray.catalog import (
    AuditRecord,
    Catalog,
    Conflict,
    ConflictDecision,
    Event,
    Instance,
    conflicts,
    contents,
)
from whyray.catalog.conflicts import Difference


def test_part_of_a_study_is_not_put_under_another_patient_unless_somebody_insists(
    catalog: Catalog, ticks: Ticks
) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1, 2)
        come(session, ticks, 1, content="B")
        with pytest.raises(TransitionError, match="still being compared"):
            contents.use_newest(session, UID, ticks(), actor="eva")
        compare(session, ticks)
        with pytest.raises(TransitionError, match="1 instance came again with another identification and 1 of"):
            contents.use_newest(session, UID, ticks(), actor="eva")
        assert in_use(session) == [sha256(1), sha256(2)]
        assert contents.use_newest(session, UID, ticks(), actor="eva", anyway=True).instances == 1
        assert sorted(in_use(session)) == sorted([sha256(1, "B"), sha256(2)])


def test_what_differs_in_other_attributes_may_be_used_in_part(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1, 2)
        come(session, ticks, 1, content="B")
        compare(session, ticks, Difference((), ("StudyDescription",)))
        assert contents.use_newest(session, UID, ticks(), actor="eva").instances == 1


def test_an_administrator_may_keep_what_is_in_use(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        come(session, ticks, 1, content="B")
        compare(session, ticks)
        (open_study,) = conflicts.unidentified(session)
        assert (open_study.study_instance_uid, open_study.instances) == (UID, 1)
        assert open_study.identification == {"PatientID", "PatientName"}
        assert contents.keep(session, UID, ticks(), actor="eva") == 1
        assert conflicts.unidentified(session) == []
        come(session, ticks, 1, content="B")  # a duplicate of what is known and decided about
        assert conflicts.unidentified(session) == conflicts.to_compare(session, 9) == []
        assert in_use(session) == [sha256(1)]
        come(session, ticks, 1, content="C")
        assert len(conflicts.to_compare(session, 9)) == 1


def test_nothing_is_kept_before_it_was_compared_nor_what_came_after_it_was_shown(
    catalog: Catalog, ticks: Ticks
) -> None:
    def shown() -> str:
        return conflicts.version(conflict for conflict, _ in conflicts.undecided(session, 1))

    with catalog.begin() as session:
        come(session, ticks, 1)
        come(session, ticks, 1, content="B")
        with pytest.raises(TransitionError, match="still being compared"):
            contents.keep(session, UID, ticks(), actor="eva")
        uncompared = shown()
        compare(session, ticks)
        compared = shown()
        come(session, ticks, 1, content="C")
        compare(session, ticks)
        for version in (uncompared, compared):
            with pytest.raises(TransitionError, match="since it was shown"):
                contents.keep(session, UID, ticks(), actor="eva", shown=version)
            with pytest.raises(TransitionError, match="since it was shown"):
                contents.use_newest(session, UID, ticks(), actor="eva", anyway=True, shown=version)
        assert (in_use(session), conflicts.is_decided(session, 1)) == ([sha256(1)], False)
        assert contents.keep(session, UID, ticks(), actor="eva", shown=shown()) == 1


def test_a_decision_is_remembered_when_the_contents_come_again(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        assert not conflicts.is_decided(session, 1)
        come(session, ticks, 1, content="B")
        compare(session, ticks)
        contents.keep(session, UID, ticks(), actor="eva")
        for content in ("", "B"):
            come(session, ticks, 1, content=content)
            session.expire_all()
            assert conflicts.is_decided(session, 1)
        assert len(conflicts.undecided(session, 1)) == 1  # it asks again, for the sender insists


def test_a_sender_that_sends_what_is_in_use_again_has_decided(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        come(session, ticks, 1, content="B")
        compare(session, ticks)
        come(session, ticks, 1)
        session.expire_all()
        assert conflicts.unidentified(session) == []
        assert conflicts.is_decided(session, 1)
        (event,) = session.scalars(select(Event).where(Event.kind == "content.kept"))
        assert (event.actor, event.study_instance_uid) == ("whyray", UID)  # an AE title is no log-in name
        assert event.message.startswith("PACS sent what is in use")
        assert contents.use_newest(session, UID, ticks(), actor="eva") == contents.Used()
        rows = session.execute(select(Instance.sha256, Instance.variant, Instance.set_aside).order_by(Instance.variant))
        assert [tuple(row) for row in rows] == [(sha256(1, "B"), 0, True), (sha256(1), 1, False)]
    with catalog.read() as session:
        assert any('"content.kept"' in content for content in session.scalars(select(AuditRecord.content)))


@pytest.mark.parametrize(("sender", "is_compared"), [("MODALITY", True), ("PACS", False)])
def test_what_another_sent_or_was_not_compared_stays_undecided_when_what_is_in_use_comes_again(
    catalog: Catalog, ticks: Ticks, sender: str, is_compared: bool
) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        come(session, ticks, 1, content="B")
        if is_compared:
            compare(session, ticks)
        come(session, ticks, 1, ae=sender)
        session.expire_all()
        if not is_compared:
            compare(session, ticks)
        ((_, pair),) = conflicts.undecided(session, 1)
        assert not pair.is_newest
        assert len(conflicts.unidentified(session)) == 1
        assert (kinds(session), conflicts.is_decided(session, 1)) == ([], False)


def test_another_content_overtakes_the_one_that_waited(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        come(session, ticks, 1, content="B")
        compare(session, ticks)
        come(session, ticks, 1, content="C")
        assert [row.decision for row in session.scalars(select(Conflict))] == [ConflictDecision.OVERTAKEN, None]
        compare(session, ticks, Difference())
        assert conflicts.unidentified(session) == []
        contents.use_newest(session, UID, ticks(), actor="eva")
        assert in_use(session) == [sha256(1, "C")]


def test_who_decided_is_audited_and_no_event_says_more_than_names_of_attributes(
    catalog: Catalog, ticks: Ticks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with catalog.begin() as session:
        come(session, ticks, 1)
        come(session, ticks, 1, content="B")
        compare(session, ticks)
        contents.use_newest(session, UID, ticks(), actor="eva")
    with catalog.read() as session:
        (event,) = session.scalars(select(Event).where(Event.kind == "content.used"))
        assert (event.actor, event.severity) == ("eva", "warning")
        assert "which differs in PatientID, PatientName" in event.message
        assert any('"content.used"' in content for content in session.scalars(select(AuditRecord.content)))


def test_nothing_is_decided_about_a_study_that_is_not_here(catalog: Catalog) -> None:
    with catalog.begin() as session:
        for decide in (contents.use_newest, contents.keep):
            with pytest.raises(NotFound):
                decide(session, "1.2.3.4", NOON, actor="eva")  # type: ignore[operator]
