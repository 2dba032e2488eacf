"""Tables of human evaluation and drift: what readers answered, what radiologists accepted, what was measured over time.

None of them names a patient. What they say of results outlives the results themselves, so no row refers to one by key.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from whyray.catalog.columns import Base, UtcDateTime


class Feedback(Base):
    """One person's verdict on one result, with a copy of what it was about: the result itself is kept for weeks only.

    `package` is NAME@VERSION; `verdict` 'accept' or 'reject'; `reason` one of `feedback.REASONS`.
    """

    __tablename__ = "feedback"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(100))
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
    verdict: Mapped[str] = mapped_column(String(8))
    reason: Mapped[str | None] = mapped_column(String(32))
    comment: Mapped[str | None] = mapped_column(Text)
    package: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))
    target: Mapped[str | None] = mapped_column(String(128))
    method: Mapped[str | None] = mapped_column(String(64))
    grade: Mapped[str | None] = mapped_column(String(8))

    __table_args__ = (
        UniqueConstraint("sop_instance_uid", "actor"),
        Index("ix_feedback_package_at", "package", "at"),
        Index("ix_feedback_at", "at", "id"),
    )


class DriftSeries(Base):
    """What is watched over time: one measure of one package version, for a target and a method where it has them."""

    __tablename__ = "drift_series"
    id: Mapped[int] = mapped_column(primary_key=True)
    package: Mapped[str] = mapped_column(String(128))
    measure: Mapped[str] = mapped_column(String(32))
    target: Mapped[str] = mapped_column(String(128), default="")
    method: Mapped[str] = mapped_column(String(64), default="")

    __table_args__ = (UniqueConstraint("package", "measure", "target", "method"),)


class DriftSample(Base):
    """One number of a series. `job_id` lets a job that runs again replace what it said; the job itself may be gone."""

    __tablename__ = "drift_samples"
    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("drift_series.id", ondelete="CASCADE"))
    job_id: Mapped[str] = mapped_column(String(36), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    number: Mapped[float]

    __table_args__ = (Index("ix_drift_samples_series_id_id", "series_id", "id"),)


class ReaderStudy(Base):
    """A reader study that was imported for the web form. The truth about its cases is not here."""

    __tablename__ = "reader_studies"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON)
    imported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    opened_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    readers: Mapped[list[StudyReader]] = relationship(back_populates="study", cascade="all, delete-orphan")
    pictures: Mapped[list[StudyPicture]] = relationship(cascade="all, delete-orphan")


class StudyPicture(Base):
    """A picture of a kit; `key` is where storage has it."""

    __tablename__ = "study_pictures"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("reader_studies.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(255))

    __table_args__ = (UniqueConstraint("study_id", "name"),)


class StudyReader(Base):
    """Who takes which place in a study: `reader` is the opaque name in the kit, `user` the log-in name."""

    __tablename__ = "study_readers"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("reader_studies.id", ondelete="CASCADE"))
    reader: Mapped[str] = mapped_column(String(16))
    user: Mapped[str] = mapped_column(String(100))
    consented_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    study: Mapped[ReaderStudy] = relationship(back_populates="readers")
    readings: Mapped[list[Reading]] = relationship(back_populates="reader", cascade="all, delete-orphan")

    __table_args__ = (UniqueConstraint("study_id", "reader"), UniqueConstraint("study_id", "user"))


class Reading(Base):
    """One case before one reader's eyes, and what the reader said.

    `shows` counts how often it was put before the reader: above 1 there was a break. Times are of the last showing, in
    ms: `server_ms` from showing to answer, `browser_ms` while the page was in sight.
    """

    __tablename__ = "readings"
    id: Mapped[int] = mapped_column(primary_key=True)
    reader_id: Mapped[int] = mapped_column(ForeignKey("study_readers.id", ondelete="CASCADE"))
    session: Mapped[int] = mapped_column(Integer)
    position: Mapped[int] = mapped_column(Integer)
    case: Mapped[str] = mapped_column(String(16))
    condition: Mapped[str] = mapped_column(String(16))
    first_shown_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_shown_at: Mapped[datetime] = mapped_column(UtcDateTime)
    shows: Mapped[int] = mapped_column(Integer, default=1)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answer: Mapped[str | None] = mapped_column(String(32))
    confidence: Mapped[int | None] = mapped_column(Integer)
    comment: Mapped[str | None] = mapped_column(Text)
    browser_ms: Mapped[int | None] = mapped_column(Integer)
    server_ms: Mapped[int | None] = mapped_column(Integer)
    revised: Mapped[bool] = mapped_column(default=False)
    reader: Mapped[StudyReader] = relationship(back_populates="readings")

    __table_args__ = (UniqueConstraint("reader_id", "session", "position"),)
