"""One action on many jobs, deliveries or announcements, each along the transition table, in small transactions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from whyray.admin import queries as reading
from whyray.admin.describe import DELIVERY_ACTIONS, JOB_ACTIONS
from whyray.admin.service_schemas import BulkIn, BulkOut
from whyray.base.errors import NotFound, TransitionError, uncorrectable_codes
from whyray.catalog import (
    Announcement,
    Catalog,
    Delivery,
    DeliveryState,
    Job,
    JobState,
    State,
    announcements,
    deliveries,
    events,
    jobs,
)

_AT_ONCE = 100
"""Moves in one transaction: few enough that intake and workers are not kept from writing."""

_RETRY: dict[str, Callable[..., object]] = {
    "jobs": jobs.retry,
    "deliveries": deliveries.retry,
    "announcements": announcements.retry,
}
_CANCEL: dict[str, Callable[..., object]] = {
    "jobs": jobs.cancel,
    "deliveries": deliveries.cancel,
    "announcements": announcements.cancel,
}


def act(catalog: Catalog, wanted: BulkIn, actor: str) -> BulkOut:
    """Do it; says how many matched, moved, and had moved on by themselves meanwhile.

    Raises
    ------
    TransitionError
        If the transition table has no such move from this state, or the state is none of theirs; or if the error named
        is one that a retry can't help.
    """
    with catalog.read() as session:
        ids = _matching(session, wanted)
    if wanted.dry_run:
        return BulkOut(matched=len(ids), moved=0, refused=0)
    moved = 0
    for start in range(0, len(ids), _AT_ONCE):
        with catalog.begin() as session:
            moved += _move(session, wanted, ids[start : start + _AT_ONCE], catalog.clock(), actor)
    with catalog.begin() as session:
        events.record(
            session,
            catalog.clock(),
            "info",
            "admin.bulk-retry" if wanted.action == "retry" else "admin.bulk-cancel",
            _words(wanted, moved),
            actor=actor,
        )
    return BulkOut(matched=len(ids), moved=moved, refused=len(ids) - moved)


def _move(session: Session, wanted: BulkIn, ids: list[str], now: datetime, actor: str) -> int:
    moved = 0
    for row_id in sorted(ids):  # in the order in which all lock several
        # the state that was asked for, or nothing: a job that has moved on meanwhile is left alone
        row: Job | Delivery | Announcement | None
        if wanted.of == "jobs":
            row = session.get(Job, row_id, with_for_update=True)
        elif wanted.of == "deliveries":
            row = session.get(Delivery, row_id, with_for_update=True)
        else:
            row = session.get(Announcement, row_id, with_for_update=True)
        if row is None or row.state.value != wanted.state.value:
            continue
        try:
            if wanted.action == "retry":
                _RETRY[wanted.of](session, row_id, now, actor=actor, anyway=wanted.anyway)
            else:
                _CANCEL[wanted.of](session, row_id, now, actor=actor)
        except (NotFound, TransitionError):
            continue
        moved += 1
    return moved


def _matching(session: Session, wanted: BulkIn) -> list[str]:
    filters = {
        "route": wanted.route,
        "package": wanted.package,
        "destination": wanted.destination,
        "error_code": wanted.error_code,
    }
    conditions: list[ColumnElement[bool]]
    if wanted.of == "jobs":
        job_state = _as(JobState, wanted)
        if job_state not in JOB_ACTIONS[wanted.action]:
            raise TransitionError(f"a job that is {job_state.value} cannot {wanted.action}")
        conditions = reading.job_filters(state=[job_state], **filters) + _helped(Job, wanted)
        return list(session.scalars(select(Job.id).where(*conditions).order_by(Job.priority, Job.created_at)))
    delivery_state = _as(DeliveryState, wanted)
    if delivery_state not in DELIVERY_ACTIONS[wanted.action]:
        noun = "a delivery" if wanted.of == "deliveries" else "an announcement"
        raise TransitionError(f"{noun} that is {delivery_state.value} cannot {wanted.action}")
    if wanted.of == "announcements":
        conditions = reading.announcement_filters(state=[delivery_state], **filters) + _helped(Announcement, wanted)
        return list(session.scalars(select(Announcement.id).where(*conditions).order_by(Announcement.created_at)))
    conditions = reading.delivery_filters(state=[delivery_state], **filters) + _helped(Delivery, wanted)
    return list(
        session.scalars(select(Delivery.id).where(*conditions).order_by(Delivery.priority, Delivery.created_at))
    )


def _helped(table: type[Job | Delivery | Announcement], wanted: BulkIn) -> list[ColumnElement[bool]]:
    """Where failures are retried: only those that a retry can help."""
    if wanted.action != "retry" or wanted.state.value != JobState.FAILED.value or wanted.anyway:
        return []
    hopeless = uncorrectable_codes()
    if wanted.error_code in hopeless:
        raise TransitionError(
            f"what failed with {wanted.error_code} would fail again in the same way",
            advice='Do what the error\'s own advice says. After an update, `"anyway": true` queues it all the same.',
        )
    return [table.error_code.is_(None) | table.error_code.not_in(hopeless)]


def _as(kind: type[State], wanted: BulkIn) -> State:
    try:
        return kind(wanted.state.value)
    except ValueError as error:
        raise TransitionError(f"{wanted.of} have no state {wanted.state.value!r}") from error


def _words(wanted: BulkIn, moved: int) -> str:
    chosen = wanted.model_dump(exclude_none=True, exclude={"of", "action", "dry_run", "anyway"}, mode="json")
    return f"{wanted.action} of {moved} {wanted.of} with " + ", ".join(
        f"{key} {value}" for key, value in chosen.items()
    )
