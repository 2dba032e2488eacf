"""The catalog's table of instances that a key object selection rejected."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from whyray.catalog.columns import UID_BYTEWISE, Base, UtcDateTime

RETENTION_EXPIRED = "113039"
"""The `code` of instances that a retention policy has removed."""


class Rejection(Base):
    """An instance of a study that is rejected, whether it is here already, comes later, or was here once.

    Kept by UIDs and without a foreign key: what was rejected stays so where the study is removed and comes again.
    `code` is the document title, a DCM code (see `catalog.rejections.TITLES`), and `document_uid` the SOP Instance UID
    of the key object selection, which came at `rejected_at`. An administrator may have lifted that, at `lifted_at`:
    what had rejected the instance by then does so no more.
    """

    __tablename__ = "rejections"
    study_instance_uid: Mapped[str] = mapped_column(UID_BYTEWISE, primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    code: Mapped[str] = mapped_column(String(16))
    document_uid: Mapped[str] = mapped_column(String(64))
    rejected_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lifted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class HeededNote(Base):
    """A key object selection that rejects instances of a study, and when it first came.

    Of an instance that several notes reject, `Rejection` names one. Where its rejection was lifted, none of those that
    had come by then rejects it anew, also where they come again with a study that was removed.
    """

    __tablename__ = "heeded_notes"
    study_instance_uid: Mapped[str] = mapped_column(UID_BYTEWISE, primary_key=True)
    document_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    code: Mapped[str] = mapped_column(String(16))
    first_came_at: Mapped[datetime] = mapped_column(UtcDateTime)
