"""The state of an installation, counted in the catalog: what the admin page, its API and `whyray status` show alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from whyray.catalog import deliveries, jobs, processes, stuck, study_states, workitems
from whyray.catalog.attention import attention
from whyray.catalog.attention_item import Attention
from whyray.catalog.shortages import Disks
from whyray.catalog.states import DeliveryState, JobState, WorkitemState
from whyray.catalog.study_states import StudyState
from whyray.catalog.tables import Job, Process


@dataclass(frozen=True)
class ErrorWords:
    """Why something does not go on, and what to do."""

    code: str
    message: str
    advice: str | None


@dataclass(frozen=True)
class RoleState:
    """One role and its last sign of life."""

    name: str
    role: str
    alive: bool
    started_at: datetime
    seen_at: datetime
    error: ErrorWords | None
    """Why it could not start, or ended, or what hinders it though it runs; None where nobody knows of anything."""
    detail: dict[str, Any]

    @property
    def config_refused(self) -> str | None:
        """What is wrong with the configuration file, while an older one is in force."""
        words = self.detail.get("config_refused")
        return None if words is None else str(words)


@dataclass(frozen=True)
class QueueState:
    """What waits for a worker: queued jobs by the word of their priority, and when something happens next."""

    queued: dict[str, int]
    oldest_queued_at: datetime | None
    next_retry_at: datetime | None


@dataclass(frozen=True)
class DestinationState:
    """How one destination fares; `configured` is False for one that has deliveries and is not configured any more."""

    destination: str
    configured: bool
    states: dict[DeliveryState, int]
    oldest_queued_at: datetime | None
    last_sent_at: datetime | None
    last_error: ErrorWords | None


@dataclass(frozen=True)
class Overview:
    """What runs, how much stands where, and what needs somebody."""

    at: datetime
    roles: tuple[RoleState, ...]
    studies: dict[StudyState, int]
    jobs: dict[JobState, int]
    queue: QueueState
    destinations: tuple[DestinationState, ...]
    workitems: dict[str, dict[WorkitemState, int]]
    """By worklist; WhyRay's own is ''."""
    attention: tuple[Attention, ...]

    @property
    def healthy(self) -> bool:
        """Whether roles run and none is lost."""
        return bool(self.roles) and all(role.alive for role in self.roles)


def overview(session: Session, now: datetime, *, destinations: Iterable[str], disks: Disks) -> Overview:
    """Count all of it.

    Parameters
    ----------
    destinations
        Those that the configuration names.
    disks
        What storage and catalog can still take.
    """
    named = list(destinations)
    stuck_groups = stuck.everything(session)
    return Overview(
        at=now,
        roles=role_states(session, now),
        studies=study_states.tally(session),
        jobs=jobs.tally(session),
        queue=queue_state(session),
        destinations=destination_states(session, named, stuck_work=stuck_groups),
        workitems=workitems.tally(session),
        attention=attention(session, now, destinations=named, disks=disks, stuck_work=stuck_groups),
    )


def role_states(session: Session, now: datetime) -> tuple[RoleState, ...]:
    """All roles, the newest sign of life first."""
    return tuple(_role_state(row, now) for row in processes.all_processes(session))


def _role_state(row: Process, now: datetime) -> RoleState:
    alive = processes.is_alive(row, now)
    error = processes.why_ended(row) or (processes.hindrance(row) if alive else None)
    return RoleState(
        name=row.name,
        role=row.role,
        alive=alive,
        started_at=row.started_at,
        seen_at=row.seen_at,
        error=None if error is None else ErrorWords(error["code"], error["message"], error["advice"]),
        detail=row.detail,
    )


def queue_state(session: Session) -> QueueState:
    """What waits for a worker."""
    words = {number: word for word, number in jobs.PRIORITIES.items()}
    rows = session.execute(
        select(Job.priority, func.count(), func.min(Job.created_at))
        .where(Job.state == JobState.QUEUED)
        .group_by(Job.priority)
    ).all()
    return QueueState(
        queued=dict.fromkeys(jobs.PRIORITIES, 0)
        | {words.get(priority, "routine"): int(count) for priority, count, _ in rows},
        oldest_queued_at=min((oldest for _, _, oldest in rows), default=None),
        next_retry_at=session.scalar(select(func.min(Job.not_before)).where(Job.state == JobState.WAITING)),
    )


def destination_states(
    session: Session, configured: Iterable[str], *, stuck_work: stuck.StuckGroups | None = None
) -> tuple[DestinationState, ...]:
    """Every destination that is configured or has deliveries.

    Parameters
    ----------
    stuck_work
        As `stuck.deliveries` or `stuck.everything` gives it, where it was looked up already.
    """
    named = list(configured)
    stuck_groups = stuck.deliveries(session) if stuck_work is None else stuck_work
    states = deliveries.tally(session)
    names = list(dict.fromkeys([*named, *sorted(states)]))
    oldest, last = deliveries.oldest_queued_at(session), deliveries.last_sent_at(session, names)
    return tuple(
        DestinationState(
            destination=name,
            configured=name in named,
            states=states.get(name, {}),
            oldest_queued_at=oldest.get(name),
            last_sent_at=last[name],
            last_error=_last_error(name, stuck_groups),
        )
        for name in names
    )


def _last_error(destination: str, stuck_groups: stuck.StuckGroups) -> ErrorWords | None:
    """Of what was created last, of all that failed or waits."""
    groups = [
        group
        for state in (DeliveryState.FAILED, DeliveryState.WAITING)
        for group in stuck_groups["deliveries", state]
        if group.place == destination and group.error_code is not None
    ]
    newest = max(groups, key=lambda group: group.newest_at, default=None)
    return None if newest is None else ErrorWords(newest.error_code or "", newest.message, newest.advice)
