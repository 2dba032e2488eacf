"""Announcements gather what one job brought to one destination, and are due when nothing of it is missing."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from alembic import command
from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from catalog.conftest import Ticks
from catalog.rows import job, result
from migrated import migrations_on
from whyray.base.errors import PeerBusy, PeerRefused, TransitionError
from whyray.catalog import Announcement, Catalog, Delivery, DeliveryState, announcements, deliveries, events, jobs
from whyray.catalog.database import upgrade


def prepare(catalog: Catalog, ticks: Ticks, *results: jobs.NewResult) -> str:
    """A finished job with these results; its id."""
    with catalog.begin() as session:
        row = job(session, now=ticks())
        jobs.claim(session, row.id, "worker", ticks())
        jobs.finish(session, row.id, "worker", results, [], ticks())
        return row.id


def send(session: Session, ticks: Ticks, *, most: int = 50, uid: str = "2.25.1", destination: str = "pacs") -> None:
    for delivery in deliveries.claim_batch(session, destination, "sender", ticks(), most=most):
        deliveries.sent(session, delivery.id, "sender", 0, "0x0000 Success", ticks(), announce_as=uid)
        session.flush()


def due(session: Session, ticks: Ticks, *, committed: bool = False) -> bool:
    return announcements.due(session, "pacs", ticks(), committed=committed)


def only(session: Session) -> Announcement:
    return session.scalars(select(Announcement)).one()


def test_an_announcement_is_due_when_the_last_delivery_to_its_destination_was_sent(
    catalog: Catalog, ticks: Ticks
) -> None:
    prepare(catalog, ticks, result("1", "pacs", "slow"), result("2", "pacs", "slow"))
    with catalog.begin() as session:
        send(session, ticks, most=1)
        assert not due(session, ticks)
        assert announcements.claim(session, "pacs", "announcer", ticks(), committed=False) == []
        send(session, ticks, uid="2.25.2")
        assert due(session, ticks), "what another destination waits for does not matter"
        assert not due(session, ticks, committed=True)
        (row,) = announcements.claim(session, "pacs", "announcer", ticks(), committed=False)
        assert row.uid == "2.25.1", "the second result joined the first"
        assert [result.sop_instance_uid for result in announcements.results_of(session, row.id)] == ["2.25.1", "2.25.2"]
        assert not due(session, ticks), "it is claimed"


def test_each_destination_of_a_job_has_its_own_announcement(catalog: Catalog, ticks: Ticks) -> None:
    prepare(catalog, ticks, result("1", "pacs", "archive"))
    with catalog.begin() as session:
        send(session, ticks)
        send(session, ticks, uid="2.25.2", destination="archive")
        rows = session.scalars(select(Announcement))
        assert {announcement.destination: announcement.uid for announcement in rows} == {
            "pacs": "2.25.1",
            "archive": "2.25.2",
        }


def test_commitment_counts_where_it_is_asked_for(catalog: Catalog, ticks: Ticks) -> None:
    prepare(catalog, ticks, result("1", "pacs"), result("2", "pacs"))
    with catalog.begin() as session:
        send(session, ticks)
        ids = list(session.scalars(select(Delivery.id)))
        deliveries.ask_commitment(session, ids, "2.25.5", ticks())
        deliveries.commitment_reported(session, "2.25.5", ["2.25.1"], {}, ticks())
        session.flush()
        assert not due(session, ticks, committed=True)
        deliveries.commitment_reported(session, "2.25.5", ["2.25.2"], {}, ticks())
        session.flush()
        assert due(session, ticks, committed=True)


def test_what_was_told_is_not_told_again_and_what_comes_later_is(catalog: Catalog, ticks: Ticks) -> None:
    job_id = prepare(catalog, ticks, result("1", "pacs"))
    with catalog.begin() as session:
        send(session, ticks)
        (row,) = announcements.claim(session, "pacs", "announcer", ticks(), committed=False)
        announcements.sent(session, row.id, "announcer", ticks())
        session.flush()
        deliveries.retry(session, session.scalars(select(Delivery.id)).one(), ticks(), actor="tests")
        session.flush()
        send(session, ticks, uid="2.25.2")
        assert only(session).uid == "2.25.1", "a result sent again"
        jobs.retry(session, job_id, ticks(), actor="tests")
        jobs.claim(session, job_id, "worker", ticks())
        jobs.finish(session, job_id, "worker", [result("1", "pacs"), result("2", "pacs")], [], ticks())
        session.flush()
        send(session, ticks, uid="2.25.3")
        (later,) = announcements.claim(session, "pacs", "announcer", ticks(), committed=False)
        assert later.uid == "2.25.3"
        assert [result.sop_instance_uid for result in announcements.results_of(session, later.id)] == ["2.25.2"]


def test_a_set_that_a_peer_may_have_heard_of_is_not_enlarged(catalog: Catalog, ticks: Ticks) -> None:
    job_id = prepare(catalog, ticks, result("1", "pacs"))
    with catalog.begin() as session:
        send(session, ticks)
        (row,) = announcements.claim(session, "pacs", "announcer", ticks(), committed=False)
        wait = timedelta(minutes=1)
        announcements.stop(session, row.id, "announcer", PeerBusy("later"), ticks(), retry_after=wait)
        ticks.pass_by(wait)
        session.flush()
        assert announcements.wake(session, ticks()) == 1
        jobs.retry(session, job_id, ticks(), actor="tests")
        jobs.claim(session, job_id, "worker", ticks())
        jobs.finish(session, job_id, "worker", [result("2", "pacs")], [], ticks())
        session.flush()
        assert not due(session, ticks)
        send(session, ticks, uid="2.25.2")
        assert len(announcements.claim(session, "pacs", "announcer", ticks(), committed=False)) == 2
        assert [result.sop_instance_uid for result in announcements.results_of(session, row.id)] == ["2.25.1"]


def test_an_announcer_that_is_silent_is_replaced_and_changes_nothing_any_more(catalog: Catalog, ticks: Ticks) -> None:
    prepare(catalog, ticks, result("1", "pacs"))
    with catalog.begin() as session:
        send(session, ticks)
        (row,) = announcements.claim(session, "pacs", "first", ticks(), committed=False)
        ticks.pass_by(announcements.LEASE / 2)
        session.flush()
        assert announcements.renew(session, [row.id], "first", ticks()) == {row.id}
        ticks.pass_by(announcements.LEASE)
        session.flush()
        assert announcements.claim(session, "pacs", "second", ticks(), committed=False)
        session.flush()
        assert announcements.renew(session, [row.id], "first", ticks()) == set()
        announcements.sent(session, row.id, "first", ticks())
        announcements.stop(session, row.id, "first", PeerRefused("no"), ticks(), retry_after=None)
        announcements.hand_back(session, [row.id], "first")
        assert (row.state, row.lease_owner, row.attempt) == (DeliveryState.SENDING, "second", 2)
        announcements.hand_back(session, [row.id], "second")
        assert (row.state, row.lease_owner, row.attempt) == (DeliveryState.QUEUED, None, 1)


def test_a_failure_for_good_is_an_event_that_names_the_job_and_can_be_tried_again_or_not_at_all(
    catalog: Catalog, ticks: Ticks
) -> None:
    job_id = prepare(catalog, ticks, result("1", "pacs"))
    with catalog.begin() as session:
        send(session, ticks)
        (row,) = announcements.claim(session, "pacs", "announcer", ticks(), committed=False)
        with pytest.raises(TransitionError):
            announcements.cancel(session, row.id, ticks(), actor="tests")
        announcements.stop(session, row.id, "announcer", PeerRefused("no"), ticks(), retry_after=None)
        assert row.state is DeliveryState.FAILED
        session.flush()
        (event,) = events.recent(session, kind="announcement.failed")
        assert (event.severity, event.job_id) == ("error", job_id)
        assert announcements.retry(session, row.id, ticks(), actor="tests") is DeliveryState.QUEUED
        assert row.attempt == 0
        assert announcements.cancel(session, row.id, ticks(), actor="tests") is DeliveryState.CANCELLED
        session.flush()
        assert not due(session, ticks)


def test_senders_that_end_their_first_objects_together_open_one_announcement(catalog: Catalog, ticks: Ticks) -> None:
    names = [str(number) for number in range(8)]
    prepare(catalog, ticks, *(result(name, "pacs") for name in names))
    with catalog.begin() as session:
        ids = [delivery.id for delivery in deliveries.claim_batch(session, "pacs", "sender", ticks())]
    ready = threading.Barrier(len(ids))

    def end(delivery_id: str, uid: str) -> None:
        ready.wait(30)
        with catalog.begin() as session:
            deliveries.sent(session, delivery_id, "sender", 0, "", ticks(), announce_as=uid)

    threads = [
        threading.Thread(target=end, args=(delivery_id, f"2.25.9{number}")) for number, delivery_id in enumerate(ids)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with catalog.read() as session:
        assert len(announcements.results_of(session, only(session).id)) == len(names)


def test_announcements_go_with_their_study(catalog: Catalog, ticks: Ticks) -> None:
    job_id = prepare(catalog, ticks, result("1", "pacs"))
    with catalog.begin() as session:
        send(session, ticks)
        session.flush()
        session.delete(jobs.get(session, job_id).study)
    with catalog.read() as session:
        assert session.scalars(select(Announcement)).all() == []


def test_a_catalog_from_before_announcements_keeps_its_deliveries_and_announces_none_of_them(
    catalog: Catalog, ticks: Ticks
) -> None:
    prepare(catalog, ticks, result("1", "pacs"))
    with catalog.begin() as session:
        (row,) = deliveries.claim_batch(session, "pacs", "sender", ticks())
        deliveries.sent(session, row.id, "sender", 0, "0x0000 Success", ticks())
    with catalog.engine.begin() as connection:
        command.downgrade(migrations_on(connection), "0010")
    assert "announcements" not in inspect(catalog.engine).get_table_names()
    upgrade(catalog.engine)
    with catalog.read() as session:
        kept = deliveries.get(session, row.id)
        assert (kept.state, kept.announcement_id) == (DeliveryState.SENT, None)
        assert not due(session, ticks)
