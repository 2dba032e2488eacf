"""The catalog's tables of what leaves: results on their way to destinations, and announcements of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from whyray.catalog.columns import Base, EnumText, UtcDateTime
from whyray.catalog.partial_indexes import index_of_stuck, partial_index
from whyray.catalog.states import DeliveryState
from whyray.catalog.tables import ResultRow


class Delivery(Base):
    """One result on its way to one destination. `status` is the PACS's own DICOM or HTTP status, shown as it came."""

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    result_id: Mapped[int] = mapped_column(ForeignKey("results.id", ondelete="CASCADE"), index=True)
    destination: Mapped[str] = mapped_column(String(64))
    route: Mapped[str | None] = mapped_column(String(128))
    """Of its job; here too, so that the deliveries of a route are found without all others."""
    priority: Mapped[int] = mapped_column(Integer, default=2)
    state: Mapped[DeliveryState] = mapped_column(EnumText(DeliveryState), default=DeliveryState.QUEUED)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    outages: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """As of `Job`."""
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_owner: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    status: Mapped[int | None] = mapped_column(Integer)
    status_text: Mapped[str | None] = mapped_column(Text)
    transfer_syntax_uid: Mapped[str | None] = mapped_column(String(64))
    """In which transfer syntax the peer took it."""
    commitment_uid: Mapped[str | None] = mapped_column(String(64), index=True)
    """Transaction UID of the storage commitment request in flight."""
    commitment_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    announcement_id: Mapped[str | None] = mapped_column(String(36), index=True)
    """The announcement that tells of it, once it was sent; None where nobody is to be told."""
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_advice: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    result: Mapped[ResultRow] = relationship(back_populates="deliveries")

    __table_args__ = (
        UniqueConstraint("result_id", "destination"),
        Index("ix_deliveries_due", "destination", "state", "priority", "created_at"),
        Index("ix_deliveries_created", "created_at", "result_id", "destination"),
        Index("ix_deliveries_facets", "destination", "route", "state", "created_at", "result_id"),
        Index("ix_deliveries_sent", "destination", "sent_at"),
        Index("ix_deliveries_commitment", "state", "commitment_asked_at"),
    )


SENT_AND_ASKED = text("deliveries.state = 'sent' AND deliveries.commitment_asked_at IS NOT NULL")
"""Deliveries of which the peer has not said yet whether it keeps them: few of the millions that were sent."""
partial_index(
    "ix_deliveries_asked",
    Delivery.destination,
    Delivery.commitment_asked_at,
    where=text("state = 'sent' AND commitment_asked_at IS NOT NULL"),
)


class Announcement(Base):
    """One Instance Availability Notification: the results of one job have arrived at one destination.

    It names the deliveries whose `announcement_id` it is. `uid` is its SOP Instance UID: the same at every attempt, so
    that a peer that has it already can say so.
    """

    __tablename__ = "announcements"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    destination: Mapped[str] = mapped_column(String(64))
    uid: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[DeliveryState] = mapped_column(EnumText(DeliveryState), default=DeliveryState.QUEUED)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    outages: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """As of `Job`."""
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_owner: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_advice: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (Index("ix_announcements_due", "destination", "state", "created_at"),)


index_of_stuck(
    "ix_deliveries_stuck",
    Delivery.state,
    Delivery.destination,
    Delivery.error_code,
    Delivery.created_at,
    Delivery.result_id,
)
index_of_stuck(
    "ix_announcements_stuck",
    Announcement.state,
    Announcement.destination,
    Announcement.error_code,
    Announcement.created_at,
)
