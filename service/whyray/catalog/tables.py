"""The catalog's tables. The catalog is the truth: what is not in here did not happen.

It holds UIDs, states and figures. Who the patient is stands in `KeptHeader`, which routing reads and nobody shows, and
in the audit trail's Patient IDs.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column, relationship

from whyray.base.finding_record import FindingRecord, finding_records
from whyray.catalog.columns import UID_BYTEWISE, Base, EnumText, UtcDateTime
from whyray.catalog.partial_indexes import index_of_stuck, partial_index
from whyray.catalog.states import JobState, WorkitemStage, WorkitemState

if TYPE_CHECKING:
    from whyray.catalog.delivery_tables import Delivery


def _reversed_uid(context: DefaultExecutionContext) -> str:
    uid: str = context.get_current_parameters()["study_instance_uid"]  # type: ignore[no-untyped-call]
    return uid[::-1]


class Study(Base):
    """One study. `received_sequence` grows with every stored instance, `routed_sequence` follows with routing.

    `released_at` is the end of the last association that brought an instance of it. `opened_at` is when the first
    instance after the last settling came: the ceiling `at_most` counts from there.
    """

    __tablename__ = "studies"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(UID_BYTEWISE, unique=True)
    received_sequence: Mapped[int] = mapped_column(Integer, default=0)
    routed_sequence: Mapped[int] = mapped_column(Integer, default=0)
    first_received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    note: Mapped[str | None] = mapped_column(Text)
    """What routing last said of it, for people: 'waiting for quiet …', 'no route matched: kept 24 h'."""
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    has_jobs: Mapped[bool] = mapped_column(default=False, server_default=false())
    content_decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When somebody, or a sender, last decided which of several contents of its instances is in use."""
    reversed_uid: Mapped[str] = mapped_column(UID_BYTEWISE, default=_reversed_uid)
    """The Study Instance UID from its last character to its first, so that one is found by its end."""
    series: Mapped[list[Series]] = relationship(back_populates="study", cascade="all, delete-orphan")
    jobs: Mapped[list[Job]] = relationship(back_populates="study", cascade="all, delete-orphan")

    __table_args__ = (
        Index("ix_studies_received", "last_received_at", "id"),
        Index("ix_studies_reversed_uid", "reversed_uid"),
    )


def _index_of_studies(name: str, condition: ColumnElement[bool]) -> Index:
    order = (Study.last_received_at, Study.id)
    return partial_index(name, *order, where=condition)


_index_of_studies("ix_studies_receiving", Study.received_sequence > Study.routed_sequence)
_index_of_studies("ix_studies_unrouted", Study.has_jobs.is_(False))


class Series(Base):
    """One series of a study."""

    __tablename__ = "series"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    series_instance_uid: Mapped[str] = mapped_column(String(64), index=True)
    modality: Mapped[str | None] = mapped_column(String(16))
    study: Mapped[Study] = relationship(back_populates="series")
    instances: Mapped[list[Instance]] = relationship(back_populates="series", cascade="all, delete-orphan")

    __table_args__ = (UniqueConstraint("study_id", "series_instance_uid"),)


class Instance(Base):
    """One received object. The same SOP Instance UID with other bytes is another row, `variant` 1 and up.

    Of those of a study one is in use, the first until somebody decides otherwise (see `catalog.contents`), and the
    others are `set_aside`. An instance may come in a second study under the same UID, with another header.

    `own_result` marks what WhyRay made itself and got back: kept, never routed. `key` is where storage has the bytes.
    """

    __tablename__ = "instances"
    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64), index=True)
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    transfer_syntax_uid: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(String(255), unique=True)
    variant: Mapped[int] = mapped_column(Integer, default=0)
    calling_ae: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    own_result: Mapped[bool] = mapped_column(default=False)
    routed: Mapped[bool] = mapped_column(default=True)
    """False for what was fetched for a workitem alone: no route is asked about it, unless a PACS sends it too."""
    set_aside: Mapped[bool] = mapped_column(server_default=false())
    series: Mapped[Series] = relationship(back_populates="instances")
    header: Mapped[KeptHeader | None] = relationship(cascade="all, delete-orphan", passive_deletes=True)

    __table_args__ = (UniqueConstraint("sop_instance_uid", "sha256"), UniqueConstraint("sop_instance_uid", "variant"))


class RemovedSeries(Base):
    """What was here of a series when retention removed it, so that it is known whether all of it has come again.

    `instances` has four bytes of the SHA-256 of each SOP Instance UID.
    """

    __tablename__ = "removed_series"
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    series_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    instances: Mapped[bytes] = mapped_column(LargeBinary)


class KeptHeader(Base):
    """What precedes the pixel data of an instance, as its file has it, compressed by zlib; see `catalog.headers`."""

    __tablename__ = "kept_headers"
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class Job(Base):
    """One package applied to one study under one route. `input_digest` is over the digests of its instances."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    route: Mapped[str] = mapped_column(String(128))
    package: Mapped[str] = mapped_column(String(128))
    input_digest: Mapped[str] = mapped_column(String(64))
    series_uids: Mapped[list[str]] = mapped_column(JSON)
    through_instance: Mapped[int] = mapped_column(Integer)
    """The newest `Instance.id` that it takes: what came later belongs to the next revision."""
    priority: Mapped[int] = mapped_column(Integer, default=2)
    """0 stat, 1 urgent, 2 routine."""
    state: Mapped[JobState] = mapped_column(EnumText(JobState), default=JobState.QUEUED)
    revision: Mapped[int] = mapped_column(Integer, default=1)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    outages: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """How often in a row it has met an outage that is waited out: the wait grows by it, and no attempt was counted."""
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    dispatched_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_owner: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    progress: Mapped[float] = mapped_column(default=0.0)
    progress_text: Mapped[str | None] = mapped_column(String(255))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_advice: Mapped[str | None] = mapped_column(Text)
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    """One dict a finding, as `whyray.results.describe` writes it; read by `finding_records`."""
    no_statement: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list, server_default="[]")
    """One dict an image that the package says nothing of, as `whyray.results.describe_no_statement` gives it."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    study: Mapped[Study] = relationship(back_populates="jobs")
    results: Mapped[list[ResultRow]] = relationship(back_populates="job", cascade="all, delete-orphan")

    @cached_property  # findings are written once, as the job ends
    def finding_records(self) -> tuple[FindingRecord, ...]:
        """The findings by their types, also those of earlier versions. Raises DecodeError."""
        return finding_records(self.findings, of=f"job {self.id}")

    __table_args__ = (
        UniqueConstraint("study_id", "route", "package", "input_digest"),
        Index("ix_jobs_due", "state", "priority", "created_at"),
        Index("ix_jobs_created", "created_at", "id"),
        Index("ix_jobs_study_state", "study_id", "state"),
        Index("ix_jobs_state_study", "state", "study_id"),
        Index("ix_jobs_facets", "route", "package", "state", "created_at", "id"),
    )


class JobDestination(Base):
    """A destination that results of a job are for: what the list of a destination's jobs is read from."""

    __tablename__ = "job_destinations"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    destination: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """Of the job."""

    __table_args__ = (Index("ix_job_destinations_created", "destination", "created_at", "job_id"),)


class ResultRow(Base):
    """One DICOM object that a job made. `picture_key` is its PNG in storage, where it has a picture."""

    __tablename__ = "results"
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64), unique=True)
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    series_instance_uid: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    finding: Mapped[str | None] = mapped_column(String(128))
    method: Mapped[str | None] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(String(255))
    grade: Mapped[str | None] = mapped_column(String(8))
    key: Mapped[str] = mapped_column(String(255))
    picture_key: Mapped[str | None] = mapped_column(String(255))
    preview_key: Mapped[str | None] = mapped_column(String(255))
    """The picture in small, as lists show it; None of results of earlier versions."""
    sha256: Mapped[str] = mapped_column(String(64))
    superseded: Mapped[bool] = mapped_column(default=False)
    """By a later revision or a later run: not in force any more."""
    replaced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a later run of the same job replaced it; those that one run replaced have the same time."""
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When other content of its instances was taken into use than that which it was made from."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    job: Mapped[Job] = relationship(back_populates="results")
    deliveries: Mapped[list[Delivery]] = relationship(back_populates="result", cascade="all, delete-orphan")

    __table_args__ = (Index("ix_results_facets", "kind", "finding", "grade", "superseded", "id"),)


index_of_stuck("ix_jobs_stuck", Job.state, Job.route, Job.error_code, Job.created_at, Job.id, Job.finished_at)


class Workitem(Base):
    """One Unified Procedure Step: of WhyRay's own worklist, or of another one from which WhyRay has taken it.

    Its data set names the patient, and so lies in storage under `key`, never in here. `stage` is what WhyRay is doing
    about it; None for what WhyRay does not perform.
    """

    __tablename__ = "workitems"
    id: Mapped[int] = mapped_column(primary_key=True)
    worklist: Mapped[str] = mapped_column(String(64))
    """Name of the worklist in the configuration; empty for WhyRay's own."""
    uid: Mapped[str] = mapped_column(String(64))
    state: Mapped[WorkitemState] = mapped_column(EnumText(WorkitemState), default=WorkitemState.SCHEDULED, index=True)
    stage: Mapped[WorkitemStage | None] = mapped_column(EnumText(WorkitemStage), index=True)
    key: Mapped[str | None] = mapped_column(String(255), unique=True)
    transaction_uid: Mapped[str | None] = mapped_column(String(64))
    """Of the performer that has claimed it, as WhyRay's own worklist enforces it."""
    claim_uid: Mapped[str | None] = mapped_column(String(64))
    """The Transaction UID with which WhyRay claims it; here before the claim leaves, so that no crash loses it."""
    code: Mapped[str] = mapped_column(String(128))
    """Scheduled Workitem Code as VALUE^SCHEME; empty where there is none."""
    ready: Mapped[bool] = mapped_column(default=False)
    """Whether Input Readiness State is READY."""
    priority: Mapped[int] = mapped_column(Integer, default=2)
    """0 stat, 1 urgent, 2 routine."""
    study_instance_uid: Mapped[str | None] = mapped_column(String(64), index=True)
    route: Mapped[str | None] = mapped_column(String(128))
    job_ids: Mapped[list[str]] = mapped_column(JSON, default=list)
    progress: Mapped[float] = mapped_column(default=0.0)
    """0 to 1, as last told to the worklist."""
    reason: Mapped[str | None] = mapped_column(Text)
    """Why it was cancelled, or what it waits for."""
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    outages: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """As of `Job`."""
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_owner: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    taken_after: Mapped[int | None] = mapped_column(Integer)
    """The last event before WhyRay took it: jobs made for it are entered after that, whatever a clock says."""

    __table_args__ = (UniqueConstraint("worklist", "uid"),)


class Installation(Base):
    """Who this installation is: one row, made by the migration that made the table."""

    __tablename__ = "installation"
    id: Mapped[int] = mapped_column(primary_key=True)
    device_uid: Mapped[str] = mapped_column(String(64))


class ClockReading(Base):
    """What the clock of one machine said when the schedule that runs there last looked."""

    __tablename__ = "clock_readings"
    boot: Mapped[str] = mapped_column(String(96), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    seconds: Mapped[float]
    """What its monotonic clock said at that moment."""
    sweep_after: Mapped[float | None]
    """What that clock says before which no orphan is swept there, for the machine's clock was set forward."""


class Event(Base):
    """Something that an operator may want to know later. Append-only; `message` names UIDs, never a person."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    severity: Mapped[str] = mapped_column(String(8))
    kind: Mapped[str] = mapped_column(String(48))
    actor: Mapped[str] = mapped_column(String(64))
    study_instance_uid: Mapped[str | None] = mapped_column(String(64), index=True)
    job_id: Mapped[str | None] = mapped_column(String(36), index=True)
    message: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        Index("ix_events_facets", "kind", "severity", "actor", "id"),
        Index("ix_events_kind_at", "kind", "at"),
    )


class Process(Base):
    """A running role, by its last sign of life."""

    __tablename__ = "processes"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
