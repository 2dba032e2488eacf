"""The catalog's table of contents that came under UIDs which their study had already."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from whyray.catalog.columns import Base, EnumText, UtcDateTime
from whyray.catalog.partial_indexes import partial_index
from whyray.catalog.states import ConflictDecision, PixelComparison
from whyray.catalog.tables import Instance


class Conflict(Base):
    """A content of an instance that came when its study had another one in use, and how it differs from that.

    `came_at` is when it came last. `identification` and `others` are keywords of attributes ("PatientID, PatientName"),
    never their values.
    """

    __tablename__ = "conflicts"
    instance_id: Mapped[int] = mapped_column(
        ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    came_at: Mapped[datetime] = mapped_column(UtcDateTime)
    compared_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    identification: Mapped[str] = mapped_column(Text, default="")
    """Attributes that say whose it is, and for which order, in which the two differ."""
    others: Mapped[str] = mapped_column(Text, default="")
    """Some of the other attributes in which they differ."""
    pixels: Mapped[PixelComparison | None] = mapped_column(EnumText(PixelComparison))
    decision: Mapped[ConflictDecision | None] = mapped_column(EnumText(ConflictDecision))
    instance: Mapped[Instance] = relationship()


partial_index("ix_conflicts_undecided", Conflict.study_id, Conflict.instance_id, where=text("decision IS NULL"))
