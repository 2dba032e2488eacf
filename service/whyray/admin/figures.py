"""The figures of the overview and of the metrics: tallies, queue, destinations, roles."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from whyray.admin.describe import error_of, process_out
from whyray.admin.schemas import DestinationTally, ErrorOut, ProcessOut, QueueOut
from whyray.catalog import Delivery, DeliveryState, Job, JobState, deliveries, jobs, processes


def queue(session: Session) -> QueueOut:
    """What waits for a worker."""
    names = {number: word for word, number in jobs.PRIORITIES.items()}
    rows = session.execute(
        select(Job.priority, func.count(), func.min(Job.created_at))
        .where(Job.state == JobState.QUEUED)
        .group_by(Job.priority)
    ).all()
    next_retry = session.scalar(select(func.min(Job.not_before)).where(Job.state == JobState.WAITING))
    return QueueOut(
        queued=dict.fromkeys(jobs.PRIORITIES, 0)
        | {names.get(priority, "routine"): int(count) for priority, count, _ in rows},
        oldest_queued_at=min((oldest for _, _, oldest in rows), default=None),
        next_retry_at=next_retry,
    )


def roles(session: Session, now: datetime) -> list[ProcessOut]:
    """All roles, with whether they are alive."""
    return [process_out(row, processes.is_alive(row, now)) for row in processes.all_processes(session)]


def destinations(session: Session, configured: Iterable[str]) -> list[DestinationTally]:
    """Every destination that is configured or has deliveries."""
    tallies = deliveries.tally(session)
    names = list(dict.fromkeys([*configured, *sorted(tallies)]))
    known = set(configured)
    times = {
        name: (queued, sent)
        for name, queued, sent in session.execute(
            select(
                Delivery.destination,
                func.min(Delivery.created_at).filter(Delivery.state == DeliveryState.QUEUED),
                func.max(Delivery.sent_at),
            ).group_by(Delivery.destination)
        )
    }
    return [
        DestinationTally(
            destination=name,
            configured=name in known,
            states=tallies.get(name, {}),
            oldest_queued_at=times.get(name, (None, None))[0],
            last_sent_at=times.get(name, (None, None))[1],
            last_error=_last_error(session, name),
        )
        for name in names
    ]


def _last_error(session: Session, destination: str) -> ErrorOut | None:
    row = session.scalar(
        select(Delivery)
        .where(
            Delivery.destination == destination,
            Delivery.error_code.is_not(None),
            Delivery.state.in_((DeliveryState.WAITING, DeliveryState.FAILED)),
        )
        .order_by(Delivery.created_at.desc())
        .limit(1)
    )
    return None if row is None else error_of(row)
