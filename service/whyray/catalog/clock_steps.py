"""When the machine's clock was set back: what was to happen at a time, or had happened, is moved with it.

Otherwise all that waits would wait for as long again as the clock was set back by: studies for quiet, jobs and results
for their next attempt, what a dead process held for the end of its lease, and what was sent for storage commitment.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from whyray.catalog import announcements, deliveries, events, jobs, workitems
from whyray.catalog.attempts import Outgoing
from whyray.catalog.delivery_tables import Announcement, Delivery
from whyray.catalog.states import DeliveryState, JobState
from whyray.catalog.tables import Job, Study, Workitem


def moved(session: Session, by: timedelta, now: datetime) -> int:
    """The clock says `now` and was set back `by` so much: move what waits; says how much that was.

    A lease that was renewed since is left alone, so that nobody is taken to be dead.
    """
    number = sum(
        (
            _studies(session, by, now),
            _jobs(session, by, now),
            _outgoing(session, Delivery, deliveries.LEASE, by, now),
            _uncommitted(session, by, now),
            _outgoing(session, Announcement, announcements.LEASE, by, now),
            _workitems(session, by, now),
        )
    )
    words = f"the clock was set back by {by.total_seconds():.0f} s: {number} that wait were moved with it"
    events.record(session, now, "warning", "clock.set-back", words)
    return number


def _studies(session: Session, by: timedelta, now: datetime) -> int:
    """Those that routing waits for; a time since is left alone, though what came before it then looks later."""
    late = or_(Study.last_received_at > now, Study.opened_at > now, Study.released_at > now)
    rows = session.scalars(
        select(Study)
        .where(Study.received_sequence > Study.routed_sequence, late)
        .order_by(Study.study_instance_uid)  # as intake locks them
        .with_for_update()
    ).all()
    for row in rows:
        row.opened_at = _earlier(row.opened_at, by, now)
        row.last_received_at = _earlier(row.last_received_at, by, now)
        if row.released_at is not None:
            row.released_at = _earlier(row.released_at, by, now)
    return len(rows)


def _jobs(session: Session, by: timedelta, now: datetime) -> int:
    waiting = (Job.state == JobState.WAITING) & (Job.not_before > now)
    held = Job.state.in_((JobState.RUNNING, JobState.CANCELLING)) & (Job.lease_until > now + jobs.LEASE)
    # of one that runs too: if its worker dies, the message that it had is compared with what the clock says then
    sent_for = Job.state.in_((JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)) & (Job.dispatched_at > now)
    rows = session.scalars(select(Job).where(or_(waiting, held, sent_for)).order_by(Job.id).with_for_update()).all()
    for row in rows:
        _wait_less(row, jobs.LEASE, by, now)
        if row.dispatched_at is not None:
            row.dispatched_at = _earlier(row.dispatched_at, by, now)
    return len(rows)


def _outgoing(session: Session, table: type[Outgoing], lease: timedelta, by: timedelta, now: datetime) -> int:
    waiting = (table.state == DeliveryState.WAITING) & (table.not_before > now)
    held = (table.state == DeliveryState.SENDING) & (table.lease_until > now + lease)
    rows = session.scalars(select(table).where(or_(waiting, held)).order_by(table.id).with_for_update()).all()
    for row in rows:
        _wait_less(row, lease, by, now)
    return len(rows)


def _uncommitted(session: Session, by: timedelta, now: datetime) -> int:
    """What was sent and not asked for yet, or asked for and not answered."""
    # named, so that an index leads to what was sent lately: there may be millions of old ones
    destinations = list(deliveries.tally(session))
    late = (Delivery.destination.in_(destinations) & (Delivery.sent_at > now), Delivery.commitment_asked_at > now)
    query = select(Delivery).where(Delivery.state == DeliveryState.SENT).order_by(Delivery.id).with_for_update()
    rows = {row for which in late for row in session.scalars(query.where(which))}
    for row in rows:
        if row.sent_at is not None:
            row.sent_at = _earlier(row.sent_at, by, now)
        if row.commitment_asked_at is not None:
            row.commitment_asked_at = _earlier(row.commitment_asked_at, by, now)
    return len(rows)


def _workitems(session: Session, by: timedelta, now: datetime) -> int:
    late = or_(Workitem.not_before > now, Workitem.lease_until > now + workitems.LEASE)
    rows = session.scalars(select(Workitem).where(late).order_by(Workitem.id).with_for_update()).all()
    for row in rows:
        _wait_less(row, workitems.LEASE, by, now)
    return len(rows)


def _wait_less(row: Job | Delivery | Announcement | Workitem, lease: timedelta, by: timedelta, now: datetime) -> None:
    """A lease that ends within its length from now was renewed since, and is left alone."""
    if row.not_before is not None:
        row.not_before = _earlier(row.not_before, by, now)
    if row.lease_until is not None and row.lease_until > now + lease:
        row.lease_until -= by


def _earlier(at: datetime, by: timedelta, now: datetime) -> datetime:
    return at - by if at > now else at
