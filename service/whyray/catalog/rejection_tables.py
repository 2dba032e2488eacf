"""The catalog's table of instances that a key object selection rejected."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from whyray.catalog.columns import Base, UtcDateTime

RETENTION_EXPIRED = "113039"
"""The `code` of instances that a retention policy has removed."""


class Rejection(Base):
    """An instance of a study that is rejected, whether it is here already or comes later.

    `code` is the document title, a DCM code (see `catalog.rejections.TITLES`), and `document_uid` the SOP Instance UID
    of the key object selection, which came at `rejected_at`.
    """

    __tablename__ = "rejections"
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    code: Mapped[str] = mapped_column(String(16))
    document_uid: Mapped[str] = mapped_column(String(64))
    rejected_at: Mapped[datetime] = mapped_column(UtcDateTime)
