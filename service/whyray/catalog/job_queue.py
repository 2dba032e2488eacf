"""Which jobs need a message or a worker next: what the scheduler sends, and what a worker may take without one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, true, update
from sqlalchemy.orm import Session

from whyray.catalog.states import JOBS_AT_WORK, JobState
from whyray.catalog.tables import Job


def any_open(session: Session) -> bool:
    """Whether any job waits, is queued, runs or is being cancelled: a look that needs no write lock."""
    return session.scalar(select(Job.id).where(Job.state.in_(JOBS_AT_WORK)).limit(1)) is not None


def to_dispatch(session: Session, now: datetime, *, again_after: timedelta | None) -> list[Job]:
    """Jobs that need a message: never sent, lost on the way, or abandoned by their worker; most urgent first.

    They are marked as sent. A message too many is harmless.

    Parameters
    ----------
    again_after
        A queued job whose message is older than this is taken to have lost it; None while messages are still waiting
        in the broker, so that a long queue is not sent again and again.
    """
    needs: ColumnElement[bool] = Job.dispatched_at.is_(None)
    if again_after is not None:
        needs |= Job.dispatched_at <= now - again_after
    expired = (Job.state == JobState.RUNNING) & (Job.lease_until <= now)
    jobs = list(
        session.scalars(
            select(Job)
            .where((Job.state == JobState.QUEUED) & needs | expired & (needs | (Job.dispatched_at <= Job.lease_until)))
            .order_by(Job.priority, Job.created_at)
            .with_for_update(skip_locked=True)
        )
    )
    for job in jobs:
        job.dispatched_at = now
    return jobs


def next_claimable(
    session: Session,
    now: datetime,
    *,
    waiting_for: timedelta | None = None,
    before: int | None = None,
    besides: Collection[str] = (),
    besides_studies: Collection[int] = (),
) -> str | None:
    """The most urgent job that `claim` would give now; None if there is none.

    Parameters
    ----------
    waiting_for
        Leave out what has had its message, or was created, less than so long ago.
    before
        Leave out what is not more urgent than this priority.
    besides, besides_studies
        Leave out these jobs, and those of these studies.
    """
    queued: ColumnElement[bool] = Job.state == JobState.QUEUED
    abandoned = (Job.state == JobState.RUNNING) & (Job.lease_until <= now)
    if waiting_for is not None:
        queued &= func.coalesce(Job.dispatched_at, Job.created_at) <= now - waiting_for
        abandoned &= Job.lease_until <= now - waiting_for
    more_urgent: ColumnElement[bool] = true() if before is None else Job.priority < before
    claimable = select(Job.id).where(more_urgent, queued | abandoned).order_by(Job.priority, Job.created_at, Job.id)
    if besides:
        claimable = claimable.where(Job.id.not_in(besides))
    if besides_studies:
        claimable = claimable.where(Job.study_id.not_in(besides_studies))
    return session.scalar(claimable.limit(1))


def undispatch(session: Session, job_ids: Sequence[str]) -> None:
    """Take back that a message was sent: the broker did not take it."""
    session.execute(update(Job).where(Job.id.in_(job_ids)).values(dispatched_at=None))
