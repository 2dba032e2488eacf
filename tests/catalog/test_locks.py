"""Transactions that lock several rows do so in one order, and one that others were in the way of is done again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from catalog.conftest import Ticks
from catalog.rows import job, received, result
from peers import until
from whyray.catalog import (
    Catalog,
    Delivery,
    DeliveryState,
    Event,
    Instance,
    Job,
    Study,
    contents,
    deliveries,
    events,
    jobs,
    studies,
)

# SQLite lets one write at a time
pytestmark = pytest.mark.parametrize("catalog", ["postgresql"], indirect=True)

SEVERAL = range(1, 21)
"""So many studies."""


def claimed(catalog: Catalog, ticks: Ticks) -> list[str]:
    """Ids of deliveries that `sender` has claimed, each of a job of its own."""
    with catalog.begin() as session:
        for study in SEVERAL:
            row = job(session, study=study, now=ticks())
            jobs.claim(session, row.id, "worker", ticks())
            jobs.finish(session, row.id, "worker", [result(str(study), "pacs")], [], ticks())
    with catalog.begin() as session:
        ids = sorted(row.id for row in deliveries.claim_batch(session, "pacs", "sender", ticks()))
    with catalog.begin() as session:
        # on the disk they lie in the order of their last change
        for row_id in reversed(ids):
            session.execute(update(Delivery).where(Delivery.id == row_id).values(status_text="changed"))
    return ids


def waits(catalog: Catalog) -> bool:
    """Whether a transaction waits for another."""
    with catalog.read() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")))


def held_by_who_waits(catalog: Catalog, table: type[Delivery | Job], work: Callable[[Session], object]) -> set[str]:
    """The rows that a transaction has locked when it has to wait for the first of them by id."""

    def apart() -> None:
        with catalog.begin() as session:
            # by an index the rows may come in the order of their ids by themselves
            for scan in ("indexscan", "indexonlyscan", "bitmapscan"):
                session.execute(text(f"SET LOCAL enable_{scan} TO off"))
            work(session)

    with ThreadPoolExecutor(1) as threads:
        with catalog.begin() as session:
            first, *others = session.scalars(select(table.id).order_by(table.id))
            session.execute(select(table.id).where(table.id == first).with_for_update())
            waiting = threads.submit(apart)
            until(lambda: waits(catalog), what="the other transaction waits")
            free = set(session.scalars(select(table.id).where(table.id != first).with_for_update(skip_locked=True)))
        waiting.result(timeout=30)
    return set(others) - free


Work = Callable[[Session, Sequence[str], Ticks], object]
WORKS: dict[str, Work] = {
    "renew": lambda session, ids, ticks: deliveries.renew(session, ids, "sender", ticks()),
    "hand back": lambda session, ids, _: deliveries.hand_back(session, ids, "sender"),
    "ask for commitment": lambda session, ids, ticks: deliveries.ask_commitment(session, ids, "2.25.5", ticks()),
    "lock": lambda session, ids, _: deliveries.lock(session, ids, with_jobs=False),
}


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_who_waits_for_a_delivery_holds_none_that_comes_after_it(catalog: Catalog, ticks: Ticks, work: Work) -> None:
    ids = claimed(catalog, ticks)
    assert held_by_who_waits(catalog, Delivery, lambda session: work(session, ids[::-1], ticks)) == set()


def test_jobs_are_locked_in_their_order_and_before_deliveries(catalog: Catalog, ticks: Ticks) -> None:
    """As where results are withdrawn or replaced, which begins with their job."""
    ids = claimed(catalog, ticks)

    def lock(session: Session) -> None:
        deliveries.lock(session, ids[::-1], with_jobs=True)

    assert held_by_who_waits(catalog, Job, lock) == set()
    assert held_by_who_waits(catalog, Delivery, lock) == set()


def _of_one_study(catalog: Catalog, ticks: Ticks, ids: Sequence[str]) -> list[str]:
    """The jobs of one study: one with a result and, later, these; by when they were made."""
    with catalog.begin() as session:
        first = job(session, now=ticks())
        jobs.claim(session, first.id, "worker", ticks())
        jobs.finish(session, first.id, "worker", [result("1", "pacs")], [], ticks())
        alike = {
            name: getattr(first, name) for name in ("study_id", "route", "package", "series_uids", "through_instance")
        }
        for revision, job_id in enumerate(ids, start=2):
            now = ticks.pass_by(timedelta(seconds=1))
            session.add(Job(id=job_id, revision=revision, input_digest=job_id, created_at=now, **alike))
        return [first.id, *ids]


def _withdraw(session: Session, ticks: Ticks) -> None:
    study = session.scalars(select(Study)).one()
    former = session.scalars(select(Instance)).one()
    contents.withdraw(session, study, [former], ticks(), "admin", "that is in use no more")


def _create(session: Session, ticks: Ticks) -> None:
    study = session.scalars(select(Study)).one()
    studies.add_instance(session, received(7), ticks())
    taken = studies.routable(session, study.id)
    made = jobs.create(
        session, study=study, route="route", package="package@1", instances=taken, priority=2, now=ticks()
    )
    assert made is not None
    assert made.revision == 6


@pytest.mark.parametrize(
    ("work", "ids"), [(_withdraw, "7654"), (_create, "4567")], ids=["withdrawn", "replaced by a new revision"]
)
def test_the_jobs_of_a_study_are_locked_in_the_order_of_their_ids_too(
    catalog: Catalog, ticks: Ticks, work: Callable[[Session, Ticks], None], ids: str
) -> None:
    """By when they were made, one that enters what was sent of them and one that withdraws them could wait for each
    other."""
    made = _of_one_study(catalog, ticks, [f"0000000{number}" for number in ids])
    assert held_by_who_waits(catalog, Job, lambda session: work(session, ticks)) == set()
    with catalog.read() as session:
        told = [event.job_id for event in session.scalars(select(Event).order_by(Event.id)) if event.job_id in made]
    assert told in (made, made[::-1]), "in the order in which they were made"


def test_two_that_enter_deliveries_of_the_same_jobs_the_other_way_round_both_come_through(
    catalog: Catalog, ticks: Ticks
) -> None:
    with catalog.begin() as session:
        for study in (1, 2):
            row = job(session, study=study, now=ticks())
            jobs.claim(session, row.id, "worker", ticks())
            jobs.finish(session, row.id, "worker", [result(str(study), "pacs", "other")], [], ticks())
    with catalog.begin() as session:
        ids = {
            name: [row.id for row in sorted(deliveries.claim_batch(session, name, name, ticks()), key=_job_of)]
            for name in ("pacs", "other")
        }

    def enter(name: str) -> None:
        in_order = ids[name] if name == "pacs" else ids[name][::-1]
        with catalog.begin() as session:
            deliveries.lock(session, in_order, with_jobs=True)
            for number, delivery_id in enumerate(in_order):
                uid = f"2.25.{'12'[name == 'pacs']}{number}"
                deliveries.sent(session, delivery_id, name, 0, "", ticks(), announce_as=uid)
                session.flush()

    with ThreadPoolExecutor(2) as threads:
        for entered in [threads.submit(enter, name) for name in ids]:
            entered.result(timeout=30)
    with catalog.read() as session:
        assert {row.state for row in session.scalars(select(Delivery))} == {DeliveryState.SENT}


def _job_of(row: Delivery) -> str:
    return row.result.job_id


def test_a_transaction_that_is_ended_for_another_is_done_again(catalog: Catalog, ticks: Ticks) -> None:
    ids = claimed(catalog, ticks)[:2]
    both_have_one = Barrier(2)
    tries: list[str] = []

    def cross(first: str, second: str) -> None:
        met = False

        def work(session: Session) -> None:
            nonlocal met
            tries.append(first)
            deliveries.get(session, first, lock=True)
            events.record(session, ticks(), "info", "job.created", first)
            if not met:
                met = True
                both_have_one.wait(30)
            deliveries.get(session, second, lock=True)

        catalog.repeat(work)

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(cross, *ids), threads.submit(cross, *ids[::-1])]:
            done.result(timeout=60)
    assert len(tries) >= 3, "one of them was ended"
    with catalog.read() as session:
        told = [event.message for event in events.recent(session, kind="job.created") if event.message in ids]
    assert sorted(told) == ids, "what was done before is not done twice"


def test_a_transaction_that_others_are_always_in_the_way_of_fails_at_last(catalog: Catalog, ticks: Ticks) -> None:
    tries = []

    class Lost(Exception):  # noqa: N818
        sqlstate = "40P01"

    def work(_: Session) -> None:
        tries.append(ticks())
        raise OperationalError("", None, Lost())

    with pytest.raises(OperationalError):
        catalog.repeat(work)
    assert len(tries) == 5


def test_what_is_no_conflict_is_not_done_again(catalog: Catalog) -> None:
    tries = []

    def work(session: Session) -> None:
        tries.append(1)
        session.execute(text("SELECT 1 / 0"))

    with pytest.raises(Exception, match="division by zero"):
        catalog.repeat(work)
    assert tries == [1]
