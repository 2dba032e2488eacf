"""The audit trail's tables."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from whyray.catalog.columns import Base, UtcDateTime


class AuditRecord(Base):
    """One link of the chain: the database itself forbids to change or remove it, or to add one before the end.

    `hash` is SHA-256 (hexadecimal) over the former link's hash, a line feed and `content`, in UTF-8.
    """

    __tablename__ = "audit_records"
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """1, 2, 3 …, without a gap."""
    content: Mapped[str] = mapped_column(Text)
    """JSON with sorted keys, the record's own number among them; see `whyray.catalog.audit.AuditEvent`."""
    hash: Mapped[str] = mapped_column(String(64))


class AuditReceiver(Base):
    """How far the records were sent to one receiver."""

    __tablename__ = "audit_receivers"
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    through: Mapped[int] = mapped_column(BigInteger, default=0)
    """The number of the last record that was sent."""
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_owner: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
