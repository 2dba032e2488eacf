"""What jobs and deliveries have in common: both are tried under a lease, fail with an error, wait, and are woken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.catalog.states import DeliveryState, JobState
from whyray.catalog.tables import Delivery, Job
from whyray.errors import NotFound, WhyRayError

Attempted = TypeVar("Attempted", Job, Delivery)
_WAITING = {Job: JobState.WAITING, Delivery: DeliveryState.WAITING}


def find(session: Session, table: type[Attempted], row_id: str, *, lock: bool) -> Attempted:
    """The row of that id, locked for this transaction if wanted.

    Raises
    ------
    NotFound
        If there is none.
    """
    query = select(table).where(table.id == row_id)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(f"no {table.__name__.lower()} {row_id}")
    return row


def waiting_until(session: Session, table: type[Attempted], now: datetime) -> Sequence[Attempted]:
    """The waiting rows whose back-off is over, locked; rows that another process holds are left to it."""
    due = select(table).where(table.state == _WAITING[table], table.not_before <= now)
    return session.scalars(due.with_for_update(skip_locked=True)).all()


def blame(row: Job | Delivery, error: WhyRayError) -> None:
    """Say why the attempt did not succeed, and what to do."""
    row.error_code, row.error_message, row.error_advice = error.code, error.message, error.advice


def acquit(row: Job | Delivery) -> None:
    """Forget why an earlier attempt did not succeed."""
    row.error_code = row.error_message = row.error_advice = None


def let_go(row: Job | Delivery) -> None:
    """Give up the lease."""
    row.lease_owner = row.lease_until = None


def begin_anew(row: Job | Delivery) -> None:
    """Count attempts from 0, at once."""
    row.attempt, row.not_before = 0, None
    let_go(row)
