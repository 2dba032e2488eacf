"""Work that waits for a role that does not run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.catalog import deliveries, jobs
from whyray.catalog.attention_item import Attention, number_of
from whyray.catalog.states import DeliveryState, JobState
from whyray.catalog.tables import Job, Process

_ABOUT_TO_START = timedelta(minutes=1)
"""So long a role is waited for in silence: it may be starting."""
_LOOKED_AT = 20
"""So many of the oldest of each priority: those that were tried before don't say since when they wait."""


def unserved(
    session: Session, now: datetime, *, running: Collection[Process], destinations: Collection[str]
) -> Iterator[Attention]:
    """Queued jobs and deliveries that nobody takes up. Nothing is said while any role has just started: the others of
    its machine are about to.

    Parameters
    ----------
    running
        The roles that show signs of life.
    destinations
        Those that the configuration names: results for others would not be sent by any role.
    """
    roles = {row.role for row in running}
    if any(timedelta(0) <= now - row.started_at < _ABOUT_TO_START for row in running):
        return
    if "worker" not in roles:
        yield from _jobs(session, now)
    if "delivery" not in roles:
        yield from _deliveries(session, now, destinations)


def _jobs(session: Session, now: datetime) -> Iterator[Attention]:
    count = jobs.tally(session).get(JobState.QUEUED, 0)
    if not count:
        return
    since = _oldest_never_begun(session)
    if since is None or now - since >= _ABOUT_TO_START:
        yield Attention(
            severity="error",
            kind="jobs.no-worker",
            title=f"{_waiting(count, 'job')} and no worker runs",
            message="Studies are taken in and routed, and nothing computes.",
            advice="Start a worker: `whyray serve` runs all roles of a machine, `whyray worker` this one alone. If "
            "one should run, its log says why it does not.",
            count=count,
            since=since,
        )


def _oldest_never_begun(session: Session) -> datetime | None:
    """When the oldest queued job that no worker has begun yet was made; read from the beginnings of an index."""
    oldest = []
    for priority in jobs.PRIORITIES.values():
        first = (
            select(Job.created_at, Job.started_at)
            .where(Job.state == JobState.QUEUED, Job.priority == priority)
            .order_by(Job.created_at)
            .limit(_LOOKED_AT)
        )
        oldest += [created_at for created_at, started_at in session.execute(first) if started_at is None][:1]
    return min(oldest, default=None)


def _deliveries(session: Session, now: datetime, destinations: Collection[str]) -> Iterator[Attention]:
    queued = {
        name: states[DeliveryState.QUEUED]
        for name, states in deliveries.tally(session).items()
        if name in destinations and states.get(DeliveryState.QUEUED)
    }
    if not queued:
        return
    oldest = deliveries.oldest_queued_at(session)
    since = min((oldest[name] for name in queued if name in oldest), default=None)
    if since is not None and now - since < _ABOUT_TO_START:
        return
    count = sum(queued.values())
    yield Attention(
        severity="error",
        kind="deliveries.no-role",
        title=f"{_waiting(count, 'result')} and no delivery role runs",
        message=f"Nothing is sent to {', '.join(sorted(queued))}.",
        advice="Start it: `whyray serve` runs all roles of a machine, `whyray delivery` this one alone. If one should "
        "run, its log says why it does not.",
        count=count,
        since=since,
    )


def _waiting(count: int, noun: str) -> str:
    return f"{number_of(count, noun)} {'waits' if count == 1 else 'wait'}"
