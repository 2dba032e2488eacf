"""Results that a later run of their own job replaced: what has not been sent of them stays unsent.

Those of an earlier revision are superseded too, but are sent: the job that replaces them has not run yet, and its
reports name them.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from whyray.catalog.states import JobState, delivery_after, delivery_sources
from whyray.catalog.tables import Announcement, Delivery, Job, ResultRow

REPLACED = ResultRow.superseded & ResultRow.job.has(Job.state != JobState.SUPERSEDED)
"""Whether a later run of the same job replaced a result."""


def is_replaced(row: ResultRow) -> bool:
    """As `REPLACED`, of a row with its job."""
    return row.superseded and row.job.state is not JobState.SUPERSEDED


def replace(session: Session, job_id: str, sop_instance_uids: Collection[str]) -> int:
    """Mark these results of a job superseded, and cancel what waits to be sent of them; says how many deliveries.

    One that is being sent may arrive; if it does not, `drop` is what becomes of it.
    """
    own = (ResultRow.job_id == job_id) & ResultRow.sop_instance_uid.in_(sop_instance_uids)
    session.execute(update(ResultRow).where(own).values(superseded=True))
    unsent = session.scalars(
        select(Delivery)
        .join(ResultRow)
        .where(own, Delivery.state.in_(delivery_sources("replace")))
        .with_for_update(of=Delivery)
    ).all()
    for delivery in unsent:
        delivery.state = delivery_after("replace", delivery.state)
    return len(unsent)


def drop(row: Delivery | Announcement) -> None:
    """Cancel what would be sent, or sent again, though what it is about was replaced meanwhile."""
    row.state = delivery_after("drop", row.state)
    row.lease_owner = row.lease_until = None
