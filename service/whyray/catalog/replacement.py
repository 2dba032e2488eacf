"""Results that a later run of their own job replaced: what has not been sent of them stays unsent.

Those of an earlier revision are superseded too, but are sent: the job that replaces them has not run yet, and its
reports name them. A replaced result stays one when its job is superseded itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.catalog.states import DeliveryState, delivery_after, delivery_sources
from whyray.catalog.tables import Announcement, Delivery, ResultRow

REPLACED = ResultRow.replaced_at.is_not(None)
"""Whether a later run of the same job replaced a result."""


def is_replaced(row: ResultRow) -> bool:
    """As `REPLACED`, of a row."""
    return row.replaced_at is not None


def replace(session: Session, job_id: str, sop_instance_uids: Collection[str], now: datetime) -> str:
    """Mark these results of a job replaced, and cancel what waits to be sent of them; says so in words, for the event.

    One that is being sent may arrive; if it does not, `drop` is what becomes of it.
    """
    own = (ResultRow.job_id == job_id) & ResultRow.sop_instance_uid.in_(sop_instance_uids)
    for row in session.scalars(select(ResultRow).where(own)):
        row.superseded, row.replaced_at = True, now
    found: Counter[DeliveryState] = Counter()
    unsent = delivery_sources("replace")
    for delivery in session.scalars(select(Delivery).join(ResultRow).where(own).with_for_update(of=Delivery)):
        found[delivery.state] += 1
        if delivery.state in unsent:
            delivery.state = delivery_after("replace", delivery.state)
    cancelled = sum(found[state] for state in unsent)
    sent, sending = found[DeliveryState.SENT] + found[DeliveryState.COMMITTED], found[DeliveryState.SENDING]
    words = (
        f"{len(sop_instance_uids)} results of an earlier run were replaced, {cancelled} deliveries of them cancelled"
    )
    if sent or sending:
        words += f"; {sent} had been sent and {sending} are being sent: the archive may show them beside the new ones"
    return words


def drop(row: Delivery | Announcement) -> None:
    """Cancel what would be sent, or sent again, though what it is about was replaced meanwhile."""
    row.state = delivery_after("drop", row.state)
    row.lease_owner = row.lease_until = None
