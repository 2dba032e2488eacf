"""An administrator lifts a rejection: the study is explained again, and only what comes later rejects anew."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.rejection_scene import EXPIRED, SAFETY, days, films, note, ordered, retention, run, taken, uids
from site_under_test import Site
from whyray.base.errors import ConfigError, NotFound
from whyray.catalog import AuditRecord, Event, JobState, Rejection, audit, lifted_rejections

WHY = "rejected in the wrong study, ticket 4711"


def lift(site: Site, uid: str, *, document_uid: str | None = None, reason: str = WHY) -> int:
    with site.catalog.begin() as session:
        lifted = lifted_rejections.lift(
            session, uid, site.clock(), actor="eva", reason=reason, document_uid=document_uid
        )
        return lifted.instances


def test_a_study_is_explained_again_whole_and_the_note_that_is_here_is_passed_over(site: Site) -> None:
    first, second = films(1, 2)
    router = site.router()
    uid = site.receive([first, second])
    router.step()
    run(site, site.jobs()[0], "1")
    site.receive([note(second)])
    router.step()
    site.clock.tick(60)
    assert lift(site, uid) == 1
    assert router.step() == 1
    assert taken(site, site.jobs()[-1]) == uids(first, second)
    assert [job.state for job in site.jobs()] == [JobState.SUPERSEDED, JobState.SUPERSEDED, JobState.QUEUED]
    site.clock.tick(60)
    assert router.step() == 0


def test_a_study_of_which_all_was_rejected_is_explained_again(site: Site) -> None:
    images = films(1, 2)
    router = site.router()
    uid = site.receive(images)
    router.step()
    site.receive([note(*images)])
    assert router.step() == 0
    lift(site, uid)
    assert router.step() == 1
    assert taken(site, site.jobs()[-1]) == uids(*images)


def test_who_lifted_what_and_why_is_an_event_and_audited(site: Site) -> None:
    (image,) = films(1)
    uid = site.receive([image, note(image)])
    site.router().step()
    lift(site, uid, reason="  PACS team,\n ticket 4711 ")
    with site.catalog.read() as session:
        event = session.scalars(select(Event).where(Event.kind == "rejection.lifted")).one()
        assert (event.actor, event.study_instance_uid, event.severity) == ("eva", uid, "warning")
        assert "1 instance by its notes was lifted: PACS team, ticket 4711; the study is routed anew" in event.message
        last = session.scalars(select(AuditRecord).order_by(AuditRecord.number.desc())).first()
        assert last is not None
        audited = audit.event_of(last, site.catalog.keys)
    assert (audited.kind, audited.detail, audited.participants[0].name) == ("steering", "rejection.lifted", "eva")


def test_one_note_of_two_is_lifted(site: Site) -> None:
    first, second, third = films(1, 2, 3)
    wrong, right = note(second), note(third)
    router = site.router()
    uid = site.receive([first, second, third, wrong, right])
    router.step()
    assert lift(site, uid, document_uid=str(wrong.SOPInstanceUID)) == 1
    router.step()
    assert taken(site, site.jobs()[-1]) == uids(first, second)
    with site.catalog.read() as session:
        rows = lifted_rejections.listed(session, study_uid=uid)
    assert {(row.document_uid, row.title, row.is_lifted, row.instances) for row in rows} == {
        (str(wrong.SOPInstanceUID), "113037 Rejected for Patient Safety Reasons", True, 1),
        (str(right.SOPInstanceUID), "113037 Rejected for Patient Safety Reasons", False, 1),
    }


def test_what_a_second_note_that_is_here_said_of_the_same_images_is_passed_over_too(site: Site) -> None:
    first, second = films(1, 2)
    router = site.router()
    uid = site.receive([first, second])
    for _ in range(2):
        site.receive([note(second)])
        router.step()
        site.clock.tick(60)
    lift(site, uid)
    router.step()
    assert taken(site, site.jobs()[-1]) == uids(first, second)


def test_a_note_that_comes_later_rejects_anew(site: Site) -> None:
    first, second = films(1, 2)
    router = site.router()
    uid = site.receive([first, second, note(second)])
    router.step()
    lift(site, uid)
    router.step()
    site.clock.tick(60)
    site.receive([note(second)])
    router.step()
    assert taken(site, site.jobs()[-1]) == uids(first)
    with site.catalog.read() as session:
        assert [row.is_lifted for row in lifted_rejections.listed(session)] == [False]


@pytest.mark.parametrize("title", [SAFETY, EXPIRED], ids=lambda code: code.value)
def test_what_was_lifted_stays_so_where_the_study_is_removed_and_comes_again_with_its_note(
    site: Site, title: object
) -> None:
    first, second = films(1, 2)
    lifted = note(second, title=title)  # type: ignore[arg-type]
    router = site.router()
    uid = site.receive([first, second, lifted])
    router.step()
    lift(site, uid)
    router.step()
    run(site, site.jobs()[-1])
    site.clock.tick(days(4000))
    for _ in range(3):
        retention(site).step()
    site.receive([first, second, lifted])
    router.step()
    assert taken(site, site.jobs()[-1]) == uids(first, second)


@pytest.mark.parametrize("gone_before", [False, True], ids=["lifted, then gone", "gone, then lifted"])
def test_of_two_notes_on_an_image_that_was_lifted_neither_rejects_it_as_both_come_again(
    site: Site, gone_before: bool
) -> None:
    first, second = films(1, 2)
    notes = [note(second), note(second)]
    router = site.router()
    uid = site.receive([first, second])
    for one in notes:
        site.receive([one])
        router.step()
        site.clock.tick(60)
    if not gone_before:
        lift(site, uid)
        router.step()
    run(site, site.jobs()[-1])
    site.clock.tick(days(4000))
    for _ in range(3):
        retention(site).step()
    if gone_before:
        lift(site, uid)
        site.clock.tick(60)
    site.receive([first, second, *notes])
    router.step()
    assert taken(site, site.jobs()[-1]) == uids(first, second)


def test_a_rejection_is_lifted_though_its_study_is_here_no_more(site: Site) -> None:
    (image,) = films(1)
    uid = site.receive([note(image)])
    router = site.router()
    router.step()
    site.configure(otherwise="keep 1d")
    site.clock.tick(days(4000))
    for _ in range(3):
        retention(site).step()
    assert lift(site, uid) == 1
    with site.catalog.read() as session:
        event = session.scalars(select(Event).where(Event.kind == "rejection.lifted")).one()
    assert event.message.endswith("they are used where they come again")
    site.receive([image])
    assert router.step() == 1


def test_images_that_were_fetched_for_a_workitem_are_ordered_anew(site: Site) -> None:
    first, second = films(1, 2)
    uid = site.receive([first, second, note(second)], routed=False, released=False)
    ordered(site, first)
    lift(site, uid)
    assert site.router().step() == 0
    ordered(site, first)
    assert taken(site, site.jobs()[-1]) == uids(first, second)


@pytest.mark.parametrize("reason", ["", "  \n ", "x" * 501, "bell\x07"])
def test_without_a_reason_nothing_is_lifted(site: Site, reason: str) -> None:
    (image,) = films(1)
    uid = site.receive([image, note(image)])
    site.router().step()
    with pytest.raises(ConfigError, match="for a reason"):
        lift(site, uid, reason=reason)
    with site.catalog.read() as session:
        assert session.scalars(select(Rejection.code)).all() == ["113037"]


def test_where_nothing_is_rejected_nothing_is_lifted(site: Site) -> None:
    (image,) = films(1)
    uid = site.receive([image])
    for given in ({"uid": uid}, {"uid": "1.2.3"}, {"uid": uid, "document_uid": "1.2.3"}):
        with pytest.raises(NotFound, match="is rejected"):
            lift(site, **given)  # type: ignore[arg-type]
