"""Announcements in the catalog: which results have arrived at a destination, and are to be told of (PS3.4 annex R).

An announcement gathers the deliveries of one job to one destination, each in the transaction that enters it as sent, so
that no crash parts them. It is due when the last of them has arrived, and moves along `states.DELIVERY_TRANSITIONS`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session, joinedload

from whyray.base.errors import WhyRayError
from whyray.catalog import attempts, events
from whyray.catalog.database import new_id
from whyray.catalog.delivery_tables import Announcement, Delivery
from whyray.catalog.replacement import REPLACED, drop, is_replaced
from whyray.catalog.states import DeliveryState, delivery_after
from whyray.catalog.tables import Job, ResultRow

LEASE = timedelta(seconds=120)
"""How long an announcer may be silent before another takes over."""

_ON_THE_WAY = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.WAITING, DeliveryState.FAILED)
"""A failed one too: an administrator sends it again or cancels it, and then the set is whole."""

_NOT_TAKEN_BACK = Delivery.state != DeliveryState.CANCELLED
"""What the peer could not commit to and an administrator gave up is not there."""


def gather(session: Session, delivery: Delivery, uid: str, now: datetime) -> None:
    """Put a delivery that was just sent into the announcement of its job's results at this destination.

    What an announcement has named already is not named again, however often it is sent. `uid` is the SOP Instance UID
    of a new announcement: made where there is none, or where that was sent with fewer results. A result that was
    replaced while it was being sent is not named.
    """
    if delivery.announcement_id is not None or is_replaced(delivery.result):
        return
    job_id = delivery.result.job_id
    # two associations that end their first objects together must not open two announcements
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
    row = session.scalar(
        select(Announcement).where(
            Announcement.job_id == job_id,
            Announcement.destination == delivery.destination,
            Announcement.state == DeliveryState.QUEUED,
            # one that was tried may have reached the peer with fewer results
            Announcement.error_code.is_(None),
            Announcement.sent_at.is_(None),
        )
    )
    if row is None:
        row = Announcement(id=new_id(session), job_id=job_id, destination=delivery.destination, uid=uid, created_at=now)
        session.add(row)
    delivery.announcement_id = row.id


def due(session: Session, destination: str, now: datetime, *, committed: bool) -> bool:
    """Whether `claim` would find something: a look that needs no write lock."""
    due_id = session.scalar(select(Announcement.id).where(*_due(destination, now, committed=committed)).limit(1))
    return due_id is not None


def claim(
    session: Session, destination: str, owner: str, now: datetime, *, committed: bool, most: int = 50
) -> list[Announcement]:
    """Take up to `most` announcements of what has arrived at one destination, oldest first.

    Those of which every result was replaced since are cancelled instead.

    Parameters
    ----------
    committed
        Whether a result has arrived only when the peer has committed to storing it.
    """
    announcements = list(
        session.scalars(
            select(Announcement)
            .where(*_due(destination, now, committed=committed))
            .order_by(Announcement.created_at, Announcement.id)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
    )
    claimed = []
    for announcement in announcements:
        if results_of(session, announcement.id):
            attempts.take(announcement, owner, now + LEASE)
            claimed.append(announcement)
        else:
            drop(announcement)
    return claimed


def _due(destination: str, now: datetime, *, committed: bool) -> tuple[ColumnElement[bool], ...]:
    abandoned = (Announcement.state == DeliveryState.SENDING) & (Announcement.lease_until <= now)
    pending = (*_ON_THE_WAY, DeliveryState.SENT) if committed else _ON_THE_WAY
    missing = exists().where(
        Delivery.result_id == ResultRow.id,
        ResultRow.job_id == Announcement.job_id,
        Delivery.destination == Announcement.destination,
        Delivery.state.in_(pending),
        ~REPLACED,
    )
    return (
        Announcement.destination == destination,
        (Announcement.state == DeliveryState.QUEUED) | abandoned,
        ~missing,
        exists().where(Delivery.announcement_id == Announcement.id, _NOT_TAKEN_BACK),
    )


def results_of(session: Session, announcement_id: str) -> list[ResultRow]:
    """The results in force that an announcement names, with their job and study; of those claimed at least one."""
    return list(
        session.scalars(
            select(ResultRow)
            .join(Delivery)
            .where(Delivery.announcement_id == announcement_id, _NOT_TAKEN_BACK, ~REPLACED)
            .options(joinedload(ResultRow.job).joinedload(Job.study))
            .order_by(ResultRow.id)
        )
    )


def renew(session: Session, announcement_ids: Collection[str], owner: str, now: datetime) -> set[str]:
    """Renew the leases that `owner` still holds on these; says which."""
    return attempts.renew(session, Announcement, announcement_ids, owner, now + LEASE)


def hand_back(session: Session, announcement_ids: Collection[str], owner: str) -> None:
    """Queue again what was claimed and never tried; the attempt is not counted."""
    attempts.hand_back(session, Announcement, announcement_ids, owner)


def sent(session: Session, announcement_id: str, owner: str, now: datetime) -> None:
    """The peer has been told."""
    row = attempts.find(session, Announcement, announcement_id, lock=True)
    if not attempts.holds(row, owner):
        return
    row.state, row.sent_at = delivery_after("sent", row.state), now
    attempts.clear_error(row)
    attempts.release_lease(row)


def stop(
    session: Session,
    announcement_id: str,
    owner: str,
    error: WhyRayError,
    now: datetime,
    *,
    retry_after: timedelta | None,
) -> DeliveryState:
    """Close a failed attempt: wait for `retry_after`, or fail for good where it is None. Says the state reached."""
    row = attempts.find(session, Announcement, announcement_id, lock=True)
    if attempts.holds(row, owner) and attempts.give_up(row, error, now, retry_after):
        events.record(
            session,
            now,
            "error",
            "announcement.failed",
            f"that results are at {row.destination} was not announced: {error.code}: {error.message}",
            job=row.job_id,
        )
    return row.state


def cancel(session: Session, announcement_id: str, now: datetime, *, actor: str) -> DeliveryState:
    """Cancel an announcement that waits.

    Raises
    ------
    NotFound, TransitionError
        If there is none, or it is being sent or past that.
    """
    row = attempts.find(session, Announcement, announcement_id, lock=True)
    row.state = delivery_after("cancel", row.state)
    events.record(session, now, "info", "admin.cancel", _words(row), actor=actor, job=row.job_id)
    return row.state


def retry(session: Session, announcement_id: str, now: datetime, *, actor: str, anyway: bool = False) -> DeliveryState:
    """Queue again, from attempt 0.

    Raises
    ------
    NotFound, TransitionError
        If there is none, or it is queued or being sent; or, unless it is to be tried `anyway`, if it failed for a
        reason that nobody can correct.
    """
    row = attempts.find(session, Announcement, announcement_id, lock=True)
    attempts.queue_again(row, DeliveryState.SENT, anyway=anyway)
    events.record(session, now, "info", "admin.retry", _words(row), actor=actor, job=row.job_id)
    return row.state


def _words(row: Announcement) -> str:
    return f"announcement of results at {row.destination}"


def to_wake(session: Session, now: datetime) -> bool:
    """Whether `wake` would find something: a look that needs no write lock."""
    return attempts.to_wake(session, Announcement, now)


def wake(session: Session, now: datetime) -> int:
    """Queue the waiting announcements whose back-off is over; says how many."""
    return attempts.wake(session, Announcement, now)
