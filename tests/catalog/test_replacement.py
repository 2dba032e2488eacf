"""What a later run of a job replaced goes to nobody any more, and holds up nothing that is in force."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from catalog.conftest import Postgres, Ticks
from catalog.rows import job, result
from migrated import down_and_up
from whyray.base.errors import DecodeError, PeerBusy, TransitionError
from whyray.catalog import (
    Announcement,
    Catalog,
    Delivery,
    DeliveryState,
    ResultRow,
    announcements,
    deliveries,
    events,
    jobs,
    sqlite_url,
)

WAIT = timedelta(seconds=30)


def ran(session: Session, ticks: Ticks, *names: str) -> str:
    """A job that made these results for a PACS; its id."""
    row = job(session, now=ticks())
    jobs.claim(session, row.id, "worker", ticks())
    jobs.finish(session, row.id, "worker", [result(name, "pacs") for name in names], [], ticks())
    session.flush()
    return row.id


def run_again(session: Session, ticks: Ticks, job_id: str, *names: str, replaced: tuple[str, ...]) -> None:
    jobs.retry(session, job_id, ticks(), actor="tests")
    jobs.claim(session, job_id, "worker", ticks())
    results = [result(name, "pacs") for name in names]
    uids = [f"2.25.{name}" for name in replaced]
    jobs.finish(session, job_id, "worker", results, [], ticks(), replaced=uids)
    session.flush()


def claim(session: Session, ticks: Ticks, *, most: int = 50) -> list[Delivery]:
    claimed = deliveries.claim_batch(session, "pacs", "sender", ticks(), most=most)
    session.flush()
    return claimed


def send(session: Session, ticks: Ticks, *, uid: str = "2.25.1", most: int = 50) -> None:
    for delivery in claim(session, ticks, most=most):
        deliveries.sent(session, delivery.id, "sender", 0, "0x0000 Success", ticks(), announce_as=uid)
        session.flush()


def states(session: Session) -> dict[str, DeliveryState]:
    session.flush()
    return {delivery.result.sop_instance_uid: delivery.state for delivery in session.scalars(select(Delivery))}


def of(session: Session, name: str) -> Delivery:
    return next(
        delivery for delivery in session.scalars(select(Delivery)) if delivery.result.sop_instance_uid == f"2.25.{name}"
    )


def test_what_was_not_sent_of_replaced_results_is_cancelled(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        job_id = ran(session, ticks, "11", "12", "13", "14")
        send(session, ticks, most=1)
        waits, fails = claim(session, ticks, most=2)
        deliveries.stop(session, waits.id, "sender", PeerBusy("later"), ticks(), status=None, retry_after=WAIT)
        deliveries.stop(session, fails.id, "sender", DecodeError("never"), ticks(), status=0xC000, retry_after=None)
        run_again(session, ticks, job_id, "21", replaced=("11", "12", "13", "14"))
        assert states(session) == {
            "2.25.11": DeliveryState.SENT,
            "2.25.12": DeliveryState.CANCELLED,
            "2.25.13": DeliveryState.CANCELLED,
            "2.25.14": DeliveryState.CANCELLED,
            "2.25.21": DeliveryState.QUEUED,
        }
        (event,) = events.recent(session, kind="job.results-replaced")
        assert event.message == (
            "4 results of an earlier run were replaced, 3 deliveries of them cancelled; "
            "1 had been sent and 0 are being sent: the archive may show them beside the new ones"
        )
        ticks.pass_by(WAIT)
        assert deliveries.wake(session, ticks()) == 0
        assert [delivery.result.sop_instance_uid for delivery in claim(session, ticks)] == ["2.25.21"]


def test_what_stays_in_force_is_still_sent(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        job_id = ran(session, ticks, "11", "12")
        run_again(session, ticks, job_id, "11", "21", replaced=("12",))
        assert {delivery.result.sop_instance_uid for delivery in claim(session, ticks)} == {"2.25.11", "2.25.21"}


@pytest.mark.parametrize("late_instances", [False, True])
@pytest.mark.parametrize("ending", ["sent", "later", "handed back", "sender died"])
def test_a_delivery_that_is_being_sent_may_arrive_and_is_not_tried_again(
    catalog: Catalog, ticks: Ticks, ending: str, late_instances: bool
) -> None:
    with catalog.begin() as session:
        job_id = ran(session, ticks, "11")
        (row,) = claim(session, ticks)
        run_again(session, ticks, job_id, "21", replaced=("11",))
        assert row.state is DeliveryState.SENDING
        if late_instances:
            job(session, instances=2, now=ticks())
            session.flush()
        if ending == "sent":
            deliveries.sent(session, row.id, "sender", 0, "0x0000 Success", ticks(), announce_as="2.25.1")
        elif ending == "later":
            deliveries.stop(session, row.id, "sender", PeerBusy("later"), ticks(), status=None, retry_after=WAIT)
        elif ending == "handed back":
            deliveries.hand_back(session, [row.id], "sender")
        ticks.pass_by(deliveries.LEASE + WAIT)
        session.flush()
        deliveries.wake(session, ticks())
        session.flush()
        assert [delivery.result.sop_instance_uid for delivery in claim(session, ticks)] == ["2.25.21"]
        assert row.state is (DeliveryState.SENT if ending == "sent" else DeliveryState.CANCELLED)
        assert (row.lease_owner, row.announcement_id) == (None, None)


def test_replaced_results_are_not_sent_again_on_anybodys_wish(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        job_id = ran(session, ticks, "11", "12", "13")
        send(session, ticks, most=1)
        (refused,) = claim(session, ticks, most=1)
        run_again(session, ticks, job_id, "21", replaced=("11", "12", "13"))
        for name, state in (("11", DeliveryState.SENT), ("13", DeliveryState.CANCELLED)):
            with pytest.raises(TransitionError, match="replaced"):
                deliveries.retry(session, of(session, name).id, ticks(), actor="tests")
            assert of(session, name).state is state
        # what fails after that needs a way out of the list of what has failed
        deliveries.stop(session, refused.id, "sender", DecodeError("never"), ticks(), status=0xC000, retry_after=None)
        deliveries.retry(session, refused.id, ticks(), actor="tests", anyway=True)
        session.flush()
        claim(session, ticks)
        assert refused.state is DeliveryState.CANCELLED


def test_results_of_an_earlier_revision_are_sent_as_ever(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        ran(session, ticks, "11")
        job(session, instances=2, now=ticks())
        session.flush()
        send(session, ticks)
        assert states(session) == {"2.25.11": DeliveryState.SENT}
        (row,) = announcements.claim(session, "pacs", "announcer", ticks(), committed=False)
        assert [result.sop_instance_uid for result in announcements.results_of(session, row.id)] == ["2.25.11"]


@pytest.mark.parametrize("committed", [False, True])
def test_an_announcement_names_what_is_in_force_and_waits_for_nothing_else(
    catalog: Catalog, ticks: Ticks, committed: bool
) -> None:
    with catalog.begin() as session:
        job_id = ran(session, ticks, "11", "12")
        send(session, ticks, most=1)
        claim(session, ticks, most=1)  # never ends
        run_again(session, ticks, job_id, "21", replaced=("11", "12"))
        assert not announcements.due(session, "pacs", ticks(), committed=committed)
        send(session, ticks, uid="2.25.2")
        deliveries.ask_commitment(session, [of(session, "21").id], "2.25.5", ticks())
        deliveries.commitment_reported(session, "2.25.5", ["2.25.21"], {}, ticks())
        session.flush()
        assert announcements.due(session, "pacs", ticks(), committed=committed)
        (row,) = announcements.claim(session, "pacs", "announcer", ticks(), committed=committed)
        assert [result.sop_instance_uid for result in announcements.results_of(session, row.id)] == ["2.25.21"]


def test_an_announcement_of_replaced_results_alone_that_was_tried_is_cancelled(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        job_id = ran(session, ticks, "11")
        send(session, ticks)
        (old,) = announcements.claim(session, "pacs", "announcer", ticks(), committed=False)
        announcements.stop(session, old.id, "announcer", PeerBusy("later"), ticks(), retry_after=WAIT)
        run_again(session, ticks, job_id, "21", replaced=("11",))
        send(session, ticks, uid="2.25.2")
        ticks.pass_by(WAIT)
        announcements.wake(session, ticks())
        session.flush()
        (new,) = announcements.claim(session, "pacs", "announcer", ticks(), committed=False)
        session.flush()
        assert (new.uid, old.state) == ("2.25.2", DeliveryState.CANCELLED)
        assert len(session.scalars(select(Announcement)).all()) == 2
        announcements.sent(session, new.id, "announcer", ticks())
        session.flush()
        assert not announcements.due(session, "pacs", ticks(), committed=False)


def test_what_of_replaced_results_is_or_may_come_to_the_archive_is_said(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        job_id = ran(session, ticks, "11", "12", "13")
        send(session, ticks, most=1)
        (row,) = claim(session, ticks, most=1)
        run_again(session, ticks, job_id, "21", replaced=("11", "12", "13"))
        (event,) = events.recent(session, kind="job.results-replaced")
        assert event.message == (
            "3 results of an earlier run were replaced, 1 deliveries of them cancelled; "
            "1 had been sent and 1 are being sent: the archive may show them beside the new ones"
        )
        assert not events.recent(session, kind="delivery.replaced")
        deliveries.sent(session, row.id, "sender", 0, "0x0000 Success", ticks())
        session.flush()
        (event,) = events.recent(session, kind="delivery.replaced")
        assert (event.severity, event.job_id) == ("warning", job_id)
        assert event.message == f"pacs took {row.result.sop_instance_uid}, which a later run replaced meanwhile"


def test_a_result_is_replaced_at_one_time_whatever_becomes_of_its_job(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        job_id = ran(session, ticks, "11")
        run_again(session, ticks, job_id, "21", replaced=("11",))
        at = of(session, "11").result.replaced_at
        assert at is not None
        ticks.pass_by(WAIT)
        run_again(session, ticks, job_id, "31", replaced=("21",))
        job(session, instances=2, now=ticks())
        session.flush()
        rows = [of(session, name).result for name in ("11", "21", "31")]
        assert rows[0].replaced_at == at
        assert rows[1].replaced_at is not None
        assert rows[1].replaced_at > at
        assert rows[2].replaced_at is None
        assert all(result.superseded for result in rows)


@pytest.mark.usefixtures("real_migrations")
def test_when_earlier_versions_replaced_results_is_told_by_what_took_their_place(
    tmp_path: Path, postgres: Postgres, request: pytest.FixtureRequest
) -> None:
    for url in (sqlite_url(tmp_path / "catalog.sqlite"), postgres.new_database("replaced-when")):
        catalog, ticks = Catalog(url), Ticks()
        request.addfinalizer(catalog.close)
        with catalog.begin() as session:
            job_id = ran(session, ticks, "11", "12")
            session.execute(update(ResultRow).where(ResultRow.sop_instance_uid == "2.25.12").values(kind="seg"))
            ticks.pass_by(WAIT)
            run_again(session, ticks, job_id, "12", "21", replaced=("11",))
            ticks.pass_by(WAIT)
            run_again(session, ticks, job_id, "21", "32", replaced=("12",))
            session.execute(update(ResultRow).where(ResultRow.sop_instance_uid == "2.25.32").values(kind="seg"))
            session.flush()
            expected = times(session)
            assert len(set(expected.values()) - {None}) == 2
            session.execute(update(ResultRow).values(replaced_at=None))
        down_and_up(catalog.engine, "0022")
        with catalog.read() as session:
            assert times(session) == expected


def times(session: Session) -> dict[str, datetime | None]:
    session.expire_all()
    return {row.sop_instance_uid: row.replaced_at for row in session.scalars(select(ResultRow))}
