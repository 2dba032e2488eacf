"""Results that a later run of their own job replaced, or whose images were corrected: what was not sent stays unsent.

Those of an earlier revision are superseded too, but are sent: the job that replaces them has not run yet, and its
reports name them. A replaced result stays one when its job is superseded itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from whyray.catalog.delivery_tables import Announcement, Delivery
from whyray.catalog.states import DeliveryState, delivery_after, delivery_sources
from whyray.catalog.tables import Job, ResultRow

REPLACED = or_(ResultRow.replaced_at.is_not(None), ResultRow.withdrawn_at.is_not(None))
"""Whether a later run of the same job replaced a result, or it was withdrawn with the content it was made from."""


def is_replaced(row: ResultRow) -> bool:
    """As `REPLACED`, of a row."""
    return row.replaced_at is not None or row.withdrawn_at is not None


def replace(session: Session, job_id: str, sop_instance_uids: Collection[str], now: datetime) -> str:
    """Mark these results of a job replaced, and cancel what waits to be sent of them; says so in words, for the event.

    One that is being sent may arrive; if it does not, `drop` is what becomes of it.
    """
    own = (ResultRow.job_id == job_id) & ResultRow.sop_instance_uid.in_(sop_instance_uids)
    for row in session.scalars(select(ResultRow).where(own)):
        row.superseded, row.replaced_at = True, now
    stopped = _stop_sending(session, own, "replace")
    words = f"{len(sop_instance_uids)} results of an earlier run were replaced, {stopped.words}"
    if stopped.gone:
        words += ": the archive may show them beside the new ones"
    return words


@dataclass(frozen=True)
class StoppedDeliveries:
    """Deliveries of results that are in force no more: cancelled, sent already, and being sent in this moment."""

    cancelled: int = 0
    sent: int = 0
    sending: int = 0

    @property
    def gone(self) -> bool:
        """Whether an archive may have some."""
        return bool(self.sent or self.sending)

    @property
    def words(self) -> str:
        """For an event."""
        words = f"{self.cancelled} deliveries of them cancelled"
        return words + (f"; {self.sent} had been sent and {self.sending} are being sent" if self.gone else "")


def withdraw(session: Session, job_ids: Collection[str], now: datetime) -> tuple[int, StoppedDeliveries]:
    """Take back all results of these jobs, which were made from content that is in use no more; says how many.

    Those of earlier revisions and runs too: until they are sent, they would be sent under what was corrected.
    """
    of_jobs = ResultRow.job_id.in_(job_ids) & ResultRow.withdrawn_at.is_(None)
    rows = session.scalars(select(ResultRow).where(of_jobs)).all()
    for row in rows:
        row.superseded, row.withdrawn_at = True, now
    return len(rows), _stop_sending(session, ResultRow.id.in_([row.id for row in rows]), "withdraw")


def _stop_sending(session: Session, which: ColumnElement[bool], action: str) -> StoppedDeliveries:
    counts: Counter[DeliveryState] = Counter()
    unsent = delivery_sources(action)
    of_these = select(Delivery).join(ResultRow).where(which).order_by(Delivery.id).with_for_update(of=Delivery)
    for delivery in session.scalars(of_these):
        counts[delivery.state] += 1
        if delivery.state in unsent:
            delivery.state = delivery_after(action, delivery.state)
    return StoppedDeliveries(
        cancelled=sum(counts[state] for state in unsent),
        sent=counts[DeliveryState.SENT] + counts[DeliveryState.COMMITTED],
        sending=counts[DeliveryState.SENDING],
    )


def drop(row: Delivery | Announcement) -> None:
    """Cancel what would be sent, or sent again, though what it is about was replaced meanwhile."""
    row.state = delivery_after("drop", row.state)
    row.lease_owner = row.lease_until = None


def arrived_of_withdrawn(session: Session, study_id: int) -> dict[str, int]:
    """By destination, how many withdrawn results of a study it has taken, or may be taking."""
    states = (DeliveryState.SENDING, DeliveryState.SENT, DeliveryState.COMMITTED)
    rows = session.execute(
        select(Delivery.destination, func.count())
        .join(ResultRow)
        .join(Job)
        .where(Job.study_id == study_id, ResultRow.withdrawn_at.is_not(None), Delivery.state.in_(states))
        .group_by(Delivery.destination)
        .order_by(Delivery.destination)
    )
    return {str(destination): int(number) for destination, number in rows}
