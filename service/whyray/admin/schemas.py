"""What the HTTP API says of studies and of what came of them: jobs, findings, results, deliveries, events.

No field carries a patient's name or identifier: kept headers are for routing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, TypeVar

from pydantic import ConfigDict, Field

from whyray.admin.answer import Answer
from whyray.admin.content_schemas import NewerContentOut, RejectionOut
from whyray.admin.explanation_schemas import AgreementOut, ExplanationOut, MeasurementOut, TrustOut
from whyray.catalog import DeliveryState, JobState, StudyState

Item = TypeVar("Item")
Action = Literal["retry", "cancel"]

UID_EXAMPLE = "1.2.826.0.1.3680043.8.498.1"


class Page(Answer, Generic[Item]):
    """One page of a list."""

    total: int = Field(description="How many there are in all, with the filters applied.", examples=[1])
    at_least: bool = Field(False, description="Whether `total` is where counting stopped: there are more.")
    limit: int = Field(examples=[50])
    offset: int = Field(
        description="Where it begins; with `after`, where it began when it was asked for.", examples=[0]
    )
    next: str | None = Field(None, description="What to give as `after` for the page beyond this one, if there is one.")
    previous: str | None = Field(
        None, description="What to give as `after` for the page before this one, if there is one."
    )
    items: list[Item]


class ErrorOut(Answer):
    """Why the last attempt did not succeed, and what to do."""

    model_config = ConfigDict(from_attributes=True)
    code: str = Field(examples=["PeerUnreachable"])
    message: str
    advice: str | None


class FindingOut(Answer):
    """What the model says about one target, and how far its explanation can be trusted."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str = Field(examples=["Cardiomegaly"])
    frame: int | None = Field(None, ge=1, description="Of a multi-frame image: which of its frames it is about.")
    probability: float | None = Field(None, ge=0, le=1, examples=[0.82])
    value: float | None = Field(None, description="The regression value, or a segment's size (ml; mm² if planar).")
    unit: str | None = Field(None, description="Of `value`, in UCUM; null where it has none.", examples=["ml"])
    present: bool | None = Field(None, description="None of a number that no threshold calls present or absent.")
    grade: str | None = Field(None, description="Quality grade: green, amber or red.", examples=["green"])
    trust: TrustOut | None = Field(None, description="Of the explanation that can be trusted least, in words.")
    agreement: AgreementOut | None = Field(None, description="Of its maps, where two could be compared.")
    reasons: list[str] = Field(
        default_factory=list, description="A sentence for each explanation of which there is something to say."
    )


class DeliveryOut(Answer):
    """One result on its way to one destination. `status` is what the PACS itself answered."""

    id: str
    job_id: str
    study_instance_uid: str = Field(examples=[UID_EXAMPLE])
    sop_instance_uid: str = Field(examples=["2.25.1"])
    kind: str = Field(examples=["sc"])
    kind_title: str = Field(description="What the kind is called for people.", examples=["Page"])
    description: str
    destination: str = Field(examples=["pacs"])
    state: DeliveryState
    attempt: int
    status: int | None = Field(description="The peer's DICOM or HTTP status.", examples=[0xB000])
    status_text: str | None = Field(examples=["0xB000 warning: coercion of data elements"])
    transfer_syntax: str | None = Field(
        description="In which transfer syntax the peer took it.", examples=["Explicit VR Little Endian"]
    )
    error: ErrorOut | None
    created_at: datetime
    sent_at: datetime | None
    next_try_at: datetime | None
    commitment: Literal["asked", "committed"] | None = Field(description="Storage commitment, where it was asked for.")
    actions: list[Action] = Field(description="What may be done from this state, and can help.")


class ResultOut(Answer):
    """One DICOM object that a job made."""

    sop_instance_uid: str = Field(examples=["2.25.1"])
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str = Field(examples=[UID_EXAMPLE])
    job_id: str
    package: str = Field(examples=["cxr-findings@1.0.0"])
    kind: str = Field(examples=["sc"])
    kind_title: str = Field(description="What the kind is called for people.", examples=["Page"])
    finding: str | None
    probability: float | None
    value: float | None = Field(None, description="Of a finding without a probability: its value, or its size.")
    unit: str | None = Field(None, description="Of `value`, in UCUM; null where it has none.", examples=["ml"])
    method: str | None = Field(examples=["grad-cam"])
    title: str | None = Field(description="What the method is called for people.", examples=["Grad-CAM"])
    description: str
    grade: str | None = Field(examples=["green"])
    trust: TrustOut | None = Field(description="Of what it shows that can be trusted least, in words.")
    reasons: list[str]
    superseded: bool = Field(description="Replaced: by a newer revision, or by a later run of its job.")
    created_at: datetime
    picture: str | None = Field(description="Path of its PNG, where it has a picture.")
    dicom: str = Field(description="Path of the DICOM file.")


class ResultDetail(ResultOut):
    """A result with its deliveries."""

    deliveries: list[DeliveryOut]


class JobOut(Answer):
    """One package applied to one study under one route."""

    id: str
    study_instance_uid: str = Field(examples=[UID_EXAMPLE])
    route: str = Field(examples=["chest radiographs"])
    package: str = Field(examples=["cxr-findings@1.0.0"])
    priority: Literal["stat", "urgent", "routine"]
    state: JobState
    revision: int
    attempt: int
    progress: float = Field(ge=0, le=1)
    progress_text: str | None = Field(examples=["grad-cam 4 of 14"])
    error: ErrorOut | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    next_try_at: datetime | None
    present: list[FindingOut] = Field(
        description="Findings that are present, and numbers without a threshold; on many frames, the clearest."
    )
    no_statement: int = Field(description="Images of which nothing is said: unlike those the package was made for.")
    actions: list[Action] = Field(description="What may be done from this state, and can help.")


class EventOut(Answer):
    """Something that happened."""

    id: int
    at: datetime
    severity: str = Field(examples=["warning"])
    kind: str = Field(examples=["instance.conflict"])
    actor: str = Field(examples=["whyray"])
    study_instance_uid: str | None
    job_id: str | None
    message: str


class NoteOut(Answer):
    """What a reader of the results must know of how the images were read."""

    kind: str = Field(examples=["gap"])
    detail: str = Field(examples=["gap of 25.00 mm after instance 1.2.3, 5.0 times its neighbours"])
    images: list[str] = Field(description="SOP Instance UIDs of the image that it is about.")


class NoStatementOut(Answer):
    """An image that the package says nothing of, since it is unlike those that it was made for."""

    words: str = Field(examples=["This image is unlike those the model was made for: no statement."])
    reasons: list[str] = Field(examples=[["mirrored", "far"]])
    measurements: list[MeasurementOut] = Field(description="What was measured of the image; red: why nothing is said.")
    images: list[str] = Field(description="SOP Instance UIDs of the image.")


class JobDetail(JobOut):
    """A job with all that came of it."""

    series_instance_uids: list[str]
    input_digest: str
    worker: str | None = Field(description="Which worker holds it.")
    lease_until: datetime | None
    notes: list[NoteOut]
    unanswered: list[NoStatementOut] = Field(description="The images of which nothing is said, and why.")
    findings: list[FindingOut]
    explanations: list[ExplanationOut] = Field(description="In the order of the nine types.")
    results: list[ResultDetail]
    events: list[EventOut]


class StudyOut(Answer):
    """One study, as received."""

    study_instance_uid: str = Field(examples=[UID_EXAMPLE])
    state: StudyState
    note: str | None = Field(description="What routing last said of it.")
    modalities: list[str] = Field(examples=[["DX"]])
    series: int
    instances: int
    conflicts: int = Field(description="Instances whose UID came again with other content; kept apart, not used.")
    jobs: int
    first_received_at: datetime
    last_received_at: datetime
    expires_at: datetime | None


class SeriesOut(Answer):
    """One series of a study."""

    series_instance_uid: str
    modality: str | None
    instances: int
    bytes: int
    conflicts: int
    own_results: int = Field(description="Objects of WhyRay that came back; kept, never routed.")
    calling_aes: list[str]


class StudyDetail(StudyOut):
    """A study with all that came of it."""

    newer: NewerContentOut | None = Field(description="What came again with other content and waits for a decision.")
    rejections: list[RejectionOut] = Field(description="What key object selections reject of it, by note.")
    withdrawn: dict[str, int] = Field(
        description="By destination, how many results of content that is in use no more it has, or may be getting."
    )
    detail: list[SeriesOut]
    job_list: list[JobOut]
    results: list[ResultOut]
    events: list[EventOut]


class JobMoved(Answer):
    """The state that an action led to."""

    id: str
    state: JobState


class DeliveryMoved(Answer):
    """The state that an action led to."""

    id: str
    state: DeliveryState
