"""The machine's clock is set back by an hour: nothing waits for an hour because of it, and nobody alive is robbed."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.rows import NOON, job, received, result
from whyray.base.errors import PeerUnreachable
from whyray.catalog import (
    Catalog,
    Delivery,
    Job,
    Study,
    clock_steps,
    deliveries,
    events,
    job_queue,
    jobs,
    known_series,
    processes,
    studies,
)
from whyray.catalog.attention import LATE_COMMITMENT, attention
from whyray.catalog.shortages import Disks

HOUR = timedelta(hours=1)
SOON = timedelta(minutes=1)
NOW = NOON - HOUR
"""What the clock says after the step; rows were stamped at noon."""
LATER = PeerUnreachable("no answer")


def test_a_study_that_was_coming_in_is_routed_when_it_would_have_been(catalog: Catalog) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON - SOON)
        studies.add_instance(session, received(2), NOON)
    with catalog.begin_bare() as transaction:
        known_series.release(transaction, ["1.2.1"], NOON)
    with catalog.begin() as session:
        clock_steps.moved(session, HOUR, NOW)
    with catalog.read() as session:
        (study,) = session.scalars(select(Study)).all()
        assert (study.opened_at, study.last_received_at, study.released_at) == (NOW - SOON, NOW, NOW)


def test_what_came_after_the_step_keeps_its_time(catalog: Catalog) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON)
        studies.add_instance(session, received(2), NOW)
        clock_steps.moved(session, HOUR, NOW)
    with catalog.read() as session:
        (study,) = session.scalars(select(Study)).all()
        assert (study.opened_at, study.last_received_at) == (NOW, NOW)


def test_a_job_that_waits_is_tried_again_after_its_wait_and_no_hour_later(catalog: Catalog) -> None:
    with catalog.begin() as session:
        made = job(session)
        jobs.claim(session, made.id, "worker", NOON)
        jobs.stop(session, made.id, "worker", LATER, NOON, retry_after=SOON)
        clock_steps.moved(session, HOUR, NOW)
    with catalog.begin() as session:
        assert jobs.wake(session, NOW + SOON - timedelta(seconds=1)) == 0
        assert jobs.wake(session, NOW + SOON) == 1


def test_a_dead_workers_job_is_taken_over_and_a_living_ones_is_not(catalog: Catalog) -> None:
    with catalog.begin() as session:
        dead, living = job(session, study=1), job(session, study=2)
        jobs.claim(session, dead.id, "dead", NOON)
        jobs.claim(session, living.id, "living", NOON)
        jobs.renew(session, living.id, "living", 0.5, "at work", NOW)
        clock_steps.moved(session, HOUR, NOW)
    with catalog.begin() as session:
        after = NOW + jobs.LEASE
        assert jobs.claim(session, living.id, "other", after - timedelta(seconds=1)) is None
        assert jobs.claim(session, dead.id, "other", after) is not None


def test_the_job_of_a_worker_that_dies_after_the_step_gets_a_message(catalog: Catalog) -> None:
    """Its message was older than its lease only once the clock had come to where it was before."""
    with catalog.begin() as session:
        made = job(session)
        assert job_queue.to_dispatch(session, NOON, again_after=SOON) == [made]
        jobs.claim(session, made.id, "worker", NOON)
        jobs.renew(session, made.id, "worker", 0.5, "at work", NOW)
        clock_steps.moved(session, HOUR, NOW)
    with catalog.begin() as session:
        (again,) = job_queue.to_dispatch(session, NOW + jobs.LEASE, again_after=None)
        assert (again.id, again.dispatched_at) == (made.id, NOW + jobs.LEASE)


def test_a_message_that_was_lost_is_made_up_for(catalog: Catalog) -> None:
    with catalog.begin() as session:
        job(session)
        job_queue.to_dispatch(session, NOON, again_after=None)
        clock_steps.moved(session, HOUR, NOW)
        assert [row.dispatched_at for row in session.scalars(select(Job))] == [NOW]


def test_results_that_wait_or_are_held_by_a_dead_sender_go_out_in_time(catalog: Catalog) -> None:
    with catalog.begin() as session:
        made = job(session)
        jobs.claim(session, made.id, "worker", NOON)
        jobs.finish(session, made.id, "worker", [result("1", "pacs"), result("2", "pacs")], [], NOON)
        waiting, held = deliveries.claim_batch(session, "pacs", "sender", NOON)
        deliveries.stop(session, waiting.id, "sender", LATER, NOON, status=None, retry_after=SOON)
        clock_steps.moved(session, HOUR, NOW)
    with catalog.begin() as session:
        assert deliveries.wake(session, NOW + SOON) == 1
        due = deliveries.claim_batch(session, "pacs", "other", NOW + deliveries.LEASE)
        assert {row.id for row in due} == {waiting.id, held.id}
    with catalog.read() as session:
        assert session.get_one(Delivery, held.id).attempt == 2


def test_commitment_is_asked_for_again_in_time_and_told_of_as_late(catalog: Catalog) -> None:
    def uncommitted(session: Session, at: datetime) -> set[str]:
        rows = deliveries.uncommitted(session, "pacs", asked_before=at - 2 * SOON, sent_before=at - SOON)
        return {row.id for row in rows}

    with catalog.begin() as session:
        made = job(session)
        jobs.claim(session, made.id, "worker", NOON)
        jobs.finish(session, made.id, "worker", [result("1", "pacs"), result("2", "pacs")], [], NOON)
        asked, unasked = (row.id for row in deliveries.claim_batch(session, "pacs", "sender", NOON))
        for sent in (asked, unasked):
            deliveries.sent(session, sent, "sender", 0, "", NOON)
        deliveries.ask_commitment(session, [asked], "2.25.9", NOON)
        clock_steps.moved(session, HOUR, NOW)
    with catalog.read() as session:
        assert uncommitted(session, NOW + SOON - timedelta(seconds=1)) == set()
        assert uncommitted(session, NOW + SOON) == {unasked}
        assert uncommitted(session, NOW + 2 * SOON) == {asked, unasked}
        late = attention(session, NOW + LATE_COMMITMENT, destinations=["pacs"], disks=Disks(None, None, 0))
    assert "commitment.late" in {item.kind for item in late}


def test_commitment_that_is_asked_for_anew_each_hour_is_told_of_as_late(catalog: Catalog) -> None:
    with catalog.begin() as session:
        made = job(session)
        jobs.claim(session, made.id, "worker", NOON)
        jobs.finish(session, made.id, "worker", [result("1", "pacs")], [], NOON)
        (sent,) = (row.id for row in deliveries.claim_batch(session, "pacs", "sender", NOON))
        deliveries.sent(session, sent, "sender", 0, "", NOON)
        for hour in range(7):
            deliveries.ask_commitment(session, [sent], f"2.25.{hour + 1}", NOON + hour * HOUR)
    with catalog.read() as session:
        late = attention(session, NOON + LATE_COMMITMENT, destinations=["pacs"], disks=Disks(None, None, 0))
    assert "commitment.late" in {item.kind for item in late}


def test_what_was_committed_or_sent_after_the_step_keeps_its_time(catalog: Catalog) -> None:
    with catalog.begin() as session:
        made = job(session)
        jobs.claim(session, made.id, "worker", NOON)
        jobs.finish(session, made.id, "worker", [result("1", "pacs"), result("2", "pacs")], [], NOON)
        before, after = (row.id for row in deliveries.claim_batch(session, "pacs", "sender", NOON))
        deliveries.sent(session, before, "sender", 0, "", NOON)
        deliveries.ask_commitment(session, [before], "2.25.9", NOON)
        committed = session.get_one(Delivery, before).result.sop_instance_uid
        assert deliveries.commitment_reported(session, "2.25.9", [committed], {}, NOON) == 1
        deliveries.sent(session, after, "sender", 0, "", NOW)
        clock_steps.moved(session, HOUR, NOW)
        assert [session.get_one(Delivery, row).sent_at for row in (before, after)] == [NOON, NOW]


def test_the_step_is_an_event(catalog: Catalog) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON)
        assert clock_steps.moved(session, HOUR, NOW) == 1
    with catalog.read() as session:
        (event,) = events.recent(session, kind="clock.set-back")
    assert (event.severity, event.at) == ("warning", NOW)
    assert "3600 s: 1 that wait" in event.message


def test_a_sign_of_life_from_before_the_step_is_none(catalog: Catalog) -> None:
    """A worker that died was shown as alive for an hour."""
    with catalog.begin() as session:
        processes.seen(session, "worker@here:1", "worker", NOON)
    with catalog.read() as session:
        (row,) = processes.all_processes(session)
        assert not processes.is_alive(row, NOW)
