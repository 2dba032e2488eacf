"""Work that waits for a role that does not run, or that does not get round to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.catalog import deliveries, jobs
from whyray.catalog.attention_item import Attention, number_of
from whyray.catalog.states import DeliveryState, JobState
from whyray.catalog.tables import Job

_ABOUT_TO_START = timedelta(minutes=1)
"""So long a role is waited for in silence: it may be starting."""
_LATE = timedelta(hours=1)
_LOOKED_AT = 20
"""So many of the oldest of each priority: those that were tried before don't say since when they wait."""


def unserved(
    session: Session, now: datetime, *, alive: Collection[str], destinations: Collection[str]
) -> Iterator[Attention]:
    """Queued jobs and deliveries that nobody takes up.

    Parameters
    ----------
    alive
        The roles that show signs of life.
    destinations
        Those that the configuration names: results for others would not be sent by any role.
    """
    yield from _jobs(session, now, worker_runs="worker" in alive)
    if "delivery" not in alive:
        yield from _deliveries(session, now, destinations)


def _jobs(session: Session, now: datetime, *, worker_runs: bool) -> Iterator[Attention]:
    count = jobs.tally(session).get(JobState.QUEUED, 0)
    if not count:
        return
    since = _oldest_never_begun(session)
    if not worker_runs:
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
    elif since is not None and now - since >= _LATE:
        yield Attention(
            severity="warning",
            kind="jobs.late",
            title=f"{_waiting(count, 'job')}, the oldest for more than an hour",
            message="Workers run, and have not got round to it.",
            advice="Look at the jobs that run: how far they are, and how long such jobs usually take. If more comes in "
            "than is worked off, run more workers (`workers.count`, or another machine), or narrow the routes.",
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
