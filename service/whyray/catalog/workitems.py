"""Workitems in the catalog: entered once, moved only along `states.WORKITEM_TRANSITIONS`, performed under a lease."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from whyray.base.errors import WhyRayError
from whyray.catalog import events, tallies
from whyray.catalog.states import WorkitemStage, WorkitemState
from whyray.catalog.tables import Workitem

OWN = ""
"""The name of WhyRay's own worklist."""
LEASE = timedelta(seconds=30)
"""How long a performer may be silent before another process takes its workitem over; it renews while it works."""
_FINAL = (WorkitemState.COMPLETED, WorkitemState.CANCELED)


def enter(session: Session, workitem: Workitem) -> bool:
    """Add a workitem; False if its worklist has this UID already."""
    if get(session, workitem.worklist, workitem.uid) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(workitem)
    except IntegrityError:  # another process entered it in the meantime
        return False
    return True


def get(session: Session, worklist: str, uid: str, *, lock: bool = False) -> Workitem | None:
    """The workitem with this UID in this worklist, if there is one."""
    query = select(Workitem).where(Workitem.worklist == worklist, Workitem.uid == uid)
    return session.scalar(query.with_for_update() if lock else query)


def listed(session: Session, worklist: str, *, states: Collection[WorkitemState] = ()) -> list[Workitem]:
    """The workitems of a worklist, most urgent and then oldest first; of these states alone, where some are given."""
    query = select(Workitem).where(Workitem.worklist == worklist).order_by(Workitem.priority, Workitem.id)
    if states:
        query = query.where(Workitem.state.in_(states))
    return list(session.scalars(query))


def known(session: Session, worklist: str, uids: Collection[str]) -> set[str]:
    """Of these UIDs, those that are in the catalog."""
    query = select(Workitem.uid).where(Workitem.worklist == worklist, Workitem.uid.in_(uids))
    return set(session.scalars(query))


def take(session: Session, workitem_id: int, claim_uid: str, route: str, now: datetime) -> bool:
    """Note that WhyRay is going to claim it, and with which Transaction UID; False if it is claimed or taken."""
    row = session.scalar(select(Workitem).where(Workitem.id == workitem_id).with_for_update())
    if row is None or row.stage is not None or row.state is not WorkitemState.SCHEDULED:
        return False
    row.stage, row.claim_uid, row.route, row.started_at = WorkitemStage.CLAIMING, claim_uid, route, now
    row.taken_after = events.last_id(session)
    return True


def due(session: Session, now: datetime) -> bool:
    """Whether `lease` would find something: a look that needs no write lock."""
    return session.scalar(select(Workitem.id).where(*_due(now)).limit(1)) is not None


def _due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        Workitem.stage.is_not(None),
        Workitem.stage != WorkitemStage.CLOSED,
        Workitem.not_before.is_(None) | (Workitem.not_before <= now),
        Workitem.lease_until.is_(None) | (Workitem.lease_until <= now),
    )


def lease(session: Session, owner: str, now: datetime) -> Workitem | None:
    """The most urgent workitem that WhyRay has something to do about now, under a lease; None if there is none."""
    row = session.scalar(
        select(Workitem)
        .where(*_due(now))
        .order_by(Workitem.priority, Workitem.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if row is not None:
        row.lease_owner, row.lease_until = owner, now + LEASE
    return row


def renew(session: Session, owner: str, now: datetime) -> None:
    """Say that `owner` is alive and still works on what it has leased."""
    session.execute(update(Workitem).where(Workitem.lease_owner == owner).values(lease_until=now + LEASE))


def held(session: Session, workitem_id: int, owner: str) -> Workitem | None:
    """The workitem, locked, if `owner` still has its lease."""
    row = session.scalar(select(Workitem).where(Workitem.id == workitem_id).with_for_update())
    return row if row is not None and row.lease_owner == owner else None


def release_claim(session: Session, row: Workitem) -> None:
    """Take back that WhyRay is going to claim it; of other worklists nothing stays here."""
    if row.worklist == OWN:
        row.stage = row.claim_uid = row.route = row.started_at = row.taken_after = None
    else:
        session.delete(row)


def count(row: Workitem, error: WhyRayError) -> None:
    """A failed attempt at a stage: one that met an outage which all work meets is none of its own."""
    row.outages = row.outages + 1 if error.waited_out else 0
    row.attempt += not error.waited_out


def hand_back(row: Workitem, *, not_before: datetime | None) -> None:
    """End the lease; nothing is done about the workitem before `not_before`."""
    row.lease_owner, row.lease_until, row.not_before = None, None, not_before


def forget(session: Session, before: datetime) -> list[str]:
    """Remove what was closed before `before`; gives the storage keys that are free now."""
    old = list(session.scalars(select(Workitem).where(Workitem.state.in_(_FINAL), Workitem.closed_at < before)))
    session.execute(delete(Workitem).where(Workitem.id.in_([workitem.id for workitem in old])))
    return [workitem.key for workitem in old if workitem.key is not None]


def tally(session: Session) -> dict[str, dict[WorkitemState, int]]:
    """How many workitems are in each state, by worklist."""
    counts: dict[str, dict[WorkitemState, int]] = {}
    for row in tallies.counted(session, "workitems"):
        worklist, state = row.facets
        counts.setdefault(worklist, {})[WorkitemState(state)] = row.number
    return counts
