"""What the HTTP API says of the running service: flow, processes, settings, and what bulk actions take and did."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from whyray.admin.answer import Answer
from whyray.admin.schemas import Action, ErrorOut
from whyray.base.finding_record import GradeName
from whyray.catalog import DeliveryState, JobState, Severity, StudyState
from whyray.config import ResultKind


class ProcessOut(Answer):
    """A running role."""

    model_config = ConfigDict(from_attributes=True)
    name: str
    role: str = Field(examples=["worker"])
    alive: bool
    started_at: datetime
    seen_at: datetime
    error: ErrorOut | None = Field(description="Why it could not start, or ended, or what hinders it.")
    detail: dict[str, Any]


class QueueOut(Answer):
    """What waits for a worker."""

    model_config = ConfigDict(from_attributes=True)
    queued: dict[str, int] = Field(description="Queued jobs by priority.", examples=[{"urgent": 2, "routine": 0}])
    oldest_queued_at: datetime | None
    next_retry_at: datetime | None


class DestinationTally(Answer):
    """How one destination fares."""

    model_config = ConfigDict(from_attributes=True)
    destination: str
    configured: bool
    states: dict[DeliveryState, int]
    oldest_queued_at: datetime | None
    last_sent_at: datetime | None
    last_error: ErrorOut | None


class BulkIn(BaseModel):
    """Which jobs, deliveries or announcements to act on.

    All filters must match; the state is required, so that nobody means 'all'.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    of: Literal["jobs", "deliveries", "announcements"]
    action: Action
    state: JobState | DeliveryState = Field(examples=["failed"])
    route: str | None = None
    package: str | None = None
    destination: str | None = None
    error_code: str | None = None
    dry_run: Annotated[bool, Field(description="Only say how many match.")] = False
    anyway: Annotated[
        bool, Field(description="Retry also what failed for a reason that a retry can't help, e.g. after an update.")
    ] = False


class Remedy(Answer):
    """A bulk action that may help."""

    label: str = Field(examples=["Retry all 4"])
    body: BulkIn


class AttentionOut(Answer):
    """One thing that is stuck, and what to do."""

    severity: Literal["error", "warning"]
    kind: str = Field(examples=["jobs.failed"])
    title: str
    message: str
    advice: str
    count: int
    since: datetime | None
    view: str = Field(
        description="Fragment of the page that shows the things concerned.", examples=["jobs?state=failed"]
    )
    remedies: list[Remedy]


class Overview(Answer):
    """Flow, failures and what to do, at a glance."""

    version: str
    notice: str = "Not for diagnostic use"
    actor: str
    jobs: dict[JobState, int]
    studies: dict[StudyState, int]
    deliveries: list[DestinationTally]
    queue: QueueOut
    processes: list[ProcessOut]
    storage_free_bytes: int
    attention: list[AttentionOut]


class BulkOut(Answer):
    """What a bulk action did."""

    matched: int
    moved: int
    refused: int = Field(description="Those whose state had changed in the meantime.")


class Choices(Answer):
    """The values that lists can be filtered by."""

    job_states: list[JobState]
    delivery_states: list[DeliveryState]
    study_states: list[StudyState]
    result_kinds: list[ResultKind]
    kind_titles: dict[ResultKind, str] = Field(description="What the kinds of results are called for people.")
    grades: list[GradeName]
    severities: list[Severity]


class RouteOut(Answer):
    """One route of the configuration in force."""

    name: str = Field(examples=["chest radiographs"])
    when: str = Field(description="Its condition on each series, in words.", examples=["Modality in [CR, DX]"])
    complete: str = Field(description="When a study is complete enough, in words.")
    packages: list[str] = Field(examples=[["cxr-findings@1"]])
    priority: str
    explain: list[str]
    send_to: list[str]
    send_as: list[str]
    dry_run: bool
    enabled: bool


class ClauseOut(Answer):
    """One clause that must hold for a route to match."""

    clause: str = Field(examples=["Modality in [CR, DX]"])
    held: bool
    value: str = Field(examples=["CT"])


class VerdictOut(Answer):
    """What one route says about one series of the files that were tried."""

    route: str
    series_instance_uid: str
    matches: bool
    clauses: list[ClauseOut]


class RouteTestOut(Answer):
    """The verdicts of all routes. The files were not kept."""

    files: int
    verdicts: list[VerdictOut]


class PackageOut(Answer):
    """One installed model package."""

    name: str
    version: str
    title: str
    task: str
    tier: str
    targets: list[str]
    digest: str
    licence: str
    intended_use: str
    problem: str | None = Field(description="Why it can't be used.")


class PackageDetail(PackageOut):
    """A package with its model card."""

    card: str = Field(description="Markdown.")


class DestinationOut(DestinationTally):
    """A destination with its address."""

    kind: Literal["dicom", "dicomweb"]
    address: str = Field(examples=["PACS_MAIN@10.0.0.5:104"])
    storage_commitment: bool


class EchoOut(Answer):
    """Whether the destination answered."""

    ok: bool
    milliseconds: float
    message: str
    advice: str | None


class Health(Answer):
    """Whether this process can do its work."""

    ready: bool
    catalog: bool
    storage: bool
    queue: bool
    """No role that runs says that the queue does not answer."""
    configuration: bool
    """No role that runs has refused the file as it is now; what was in force before stays so."""
