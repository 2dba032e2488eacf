"""From the catalog's rows to what the API answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydicom.uid import UID

from whyray.admin.explanation_schemas import AgreementOut, TrustOut
from whyray.admin.explanations import explanations_of, is_about, title_of, trust_out
from whyray.admin.schemas import (
    Action,
    DeliveryOut,
    ErrorOut,
    EventOut,
    FindingOut,
    JobDetail,
    JobOut,
    NoStatementOut,
    NoteOut,
    ResultDetail,
    ResultOut,
)
from whyray.base.errors import uncorrectable_codes
from whyray.base.finding_record import ExplanationRecord, FindingRecord
from whyray.catalog import Delivery, DeliveryState, Event, Job, JobState, ResultRow, delivery_sources, job_sources
from whyray.config import kind_title

_LEVELS = ("reliable", "caution", "not_shown")
_UNANSWERED = ("words", "reasons", "measurements", "images")
_PRIORITY: dict[int, Literal["stat", "urgent", "routine"]] = {0: "stat", 1: "urgent", 2: "routine"}

JOB_ACTIONS: dict[Action, frozenset[JobState]] = {
    "retry": frozenset((*job_sources("retry"), *job_sources("repeat"))),
    "cancel": frozenset(job_sources("cancel")),
}
DELIVERY_ACTIONS: dict[Action, frozenset[DeliveryState]] = {
    "retry": frozenset((*delivery_sources("retry"), *delivery_sources("repeat"))),
    "cancel": frozenset(delivery_sources("cancel")),
}


def job_actions(job: Job) -> list[Action]:
    """What an administrator may do with a job: its state allows it, and it can help."""
    possible = [action for action, sources in JOB_ACTIONS.items() if job.state in sources]
    return possible if job.state is not JobState.FAILED else _that_help(possible, job.error_code)


def delivery_actions(delivery: Delivery) -> list[Action]:
    """What an administrator may do with a delivery: its state allows it, and it can help."""
    possible = [action for action, sources in DELIVERY_ACTIONS.items() if delivery.state in sources]
    return possible if delivery.state is not DeliveryState.FAILED else _that_help(possible, delivery.error_code)


def _that_help(possible: list[Action], error_code: str | None) -> list[Action]:
    return [action for action in possible if action != "retry" or error_code not in uncorrectable_codes()]


def error_of(row: Job | Delivery) -> ErrorOut | None:
    """The error of the last attempt."""
    if row.error_code is None:
        return None
    return ErrorOut(code=row.error_code, message=row.error_message or "", advice=row.error_advice)


@dataclass(frozen=True)
class JobSummary:
    """What a list shows of a job's findings that are not absent; `no_statement` counts the images of which nothing is
    said."""

    present: tuple[FindingOut, ...]
    no_statement: int


@dataclass(frozen=True)
class ResultSummary:
    """What a list shows of the finding that a result is about."""

    probability: float | None
    value: float | None
    unit: str | None
    title: str | None
    trust: TrustOut | None
    reasons: tuple[str, ...]


def summary_of_job(records: Iterable[FindingRecord], no_statement: int) -> JobSummary:
    """Of all findings of a job."""
    return JobSummary(
        tuple(_once_each(finding for finding in _findings_out(records) if finding.present is not False)), no_statement
    )


def summary_of_result(row: ResultRow, records: Iterable[FindingRecord]) -> ResultSummary:
    """Of the findings of its job, what the result is about."""
    record = next((record for record in records if is_about(row, record)), None)
    explanations = [
        explanation
        for explanation in (() if record is None else record.all_explanations)
        if row.method in (None, explanation.method)
    ]
    reasons = _finding_out(record).reasons if record is not None and row.method is None else _reasons(explanations)
    return ResultSummary(
        probability=None if record is None else record.probability,
        value=None if record is None else record.value,
        unit=None if record is None else record.unit,
        title=next((explanation.title for explanation in explanations if row.method is not None), row.method),
        trust=_least_trust(explanations),
        reasons=tuple(reasons),
    )


def findings_of(job: Job) -> list[FindingOut]:
    """All findings, the present and most probable first."""
    return _findings_out(job.finding_records)


def _findings_out(records: Iterable[FindingRecord]) -> list[FindingOut]:
    findings = [_finding_out(finding) for finding in records]
    return sorted(findings, key=lambda finding: (finding.present is False, -(finding.probability or 0.0)))


def _once_each(findings: Iterable[FindingOut]) -> list[FindingOut]:
    """A finding on many frames once, where it is most probable; `findings` have the most probable first."""
    ranked = list(findings)
    named = [finding.name for finding in ranked]
    return [
        finding for index, finding in enumerate(ranked) if finding.frame is None or finding.name not in named[:index]
    ]


def _finding_out(finding: FindingRecord) -> FindingOut:
    """One finding, graded by its worst explanation, so that none hides."""
    grades = {explanation.quality.grade for explanation in finding.all_explanations}
    return FindingOut(
        name=finding.finding,
        frame=finding.frame,
        probability=finding.probability,
        value=finding.value,
        unit=finding.unit,
        present=finding.present,
        grade=next((grade for grade in ("red", "amber", "green") if grade in grades), None),
        trust=_least_trust(finding.all_explanations),
        agreement=None
        if finding.agreement is None
        else AgreementOut.model_validate(finding.agreement, from_attributes=True),
        reasons=[
            *_reasons(finding.all_explanations),
            *(f"{title_of(method)}: {why}" for method, why in finding.refused.items()),
        ],
    )


def _least_trust(explanations: Iterable[ExplanationRecord]) -> TrustOut | None:
    """The lowest level among them; None where an earlier version wrote none."""
    said = [trust for explanation in explanations if (trust := trust_out(explanation.quality)) is not None]
    return max(said, key=lambda trust: _LEVELS.index(trust.level), default=None)


def _reasons(explanations: Iterable[ExplanationRecord]) -> list[str]:
    """A sentence for each that has one; of what an earlier version explained, what was measured."""
    reasons: list[str] = []
    for explanation in explanations:
        card, name = explanation.quality, explanation.title or explanation.method
        sentences = card.reasons if card.trust is None else [card.trust.sentence] if card.trust.sentence else []
        reasons += [f"{name}: {sentence}" for sentence in sentences]
    return list(dict.fromkeys(reasons))


def notes_of(job: Job) -> list[NoteOut]:
    """What is noted of the job's images, each note of an image once; a job of an earlier version has none."""
    notes = {
        (note.kind, note.detail, finding.images): None for finding in job.finding_records for note in finding.notes
    }
    return [NoteOut(kind=kind, detail=detail, images=list(images)) for kind, detail, images in notes]


def event_out(event: Event) -> EventOut:
    """One event."""
    return EventOut(
        id=event.id,
        at=event.at,
        severity=event.severity,
        kind=event.kind,
        actor=event.actor,
        study_instance_uid=event.study_instance_uid,
        job_id=event.job_id,
        message=event.message,
    )


def job_out(job: Job, summary: JobSummary | None = None) -> JobOut:
    """One line of the list of jobs; needs `job.study`, and its findings where no summary of them is given."""
    summary = summary or summary_of_job(job.finding_records, len(job.no_statement or ()))
    return JobOut(
        id=job.id,
        study_instance_uid=job.study.study_instance_uid,
        route=job.route,
        package=job.package,
        priority=_PRIORITY.get(job.priority, "routine"),
        state=job.state,
        revision=job.revision,
        attempt=job.attempt,
        progress=job.progress,
        progress_text=job.progress_text,
        error=error_of(job),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        next_try_at=job.not_before if job.state is JobState.WAITING else None,
        present=list(summary.present),
        no_statement=summary.no_statement,
        actions=job_actions(job),
    )


def job_detail(job: Job, found_events: list[Event], kinds: Mapping[str, str]) -> JobDetail:
    """A job with its explanations, results and deliveries; `kinds` gives the type of each method."""
    return JobDetail(
        **dict(job_out(job)),
        series_instance_uids=list(job.series_uids),
        input_digest=job.input_digest,
        worker=job.lease_owner,
        lease_until=job.lease_until,
        notes=notes_of(job),
        unanswered=[
            NoStatementOut(**{name: unanswered[name] for name in _UNANSWERED}) for unanswered in job.no_statement or ()
        ],
        findings=findings_of(job),
        explanations=explanations_of(job, kinds),
        results=[result_detail(result) for result in sorted(job.results, key=lambda row: row.id)],
        events=[event_out(event) for event in found_events],
    )


def result_out(row: ResultRow, summary: ResultSummary | None = None) -> ResultOut:
    """One result; needs `row.job.study`, and the job's findings where no summary of them is given."""
    summary = summary or summary_of_result(row, row.job.finding_records)
    path = f"/api/v1/results/{row.sop_instance_uid}"
    return ResultOut(
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        series_instance_uid=row.series_instance_uid,
        study_instance_uid=row.job.study.study_instance_uid,
        job_id=row.job_id,
        package=row.job.package,
        kind=row.kind,
        kind_title=kind_title(row.kind),
        finding=row.finding,
        probability=summary.probability,
        value=summary.value,
        unit=summary.unit,
        method=row.method,
        title=summary.title,
        description=row.description,
        grade=row.grade,
        trust=summary.trust,
        reasons=list(summary.reasons),
        superseded=row.superseded,
        created_at=row.created_at,
        picture=None if row.picture_key is None else f"{path}/picture",
        dicom=f"{path}/dicom",
    )


def result_detail(row: ResultRow) -> ResultDetail:
    """A result with its deliveries."""
    deliveries = sorted(row.deliveries, key=lambda delivery: delivery.destination)
    return ResultDetail(**dict(result_out(row)), deliveries=[delivery_out(delivery) for delivery in deliveries])


def delivery_out(row: Delivery) -> DeliveryOut:
    """One delivery; needs `row.result.job.study`."""
    commitment: Literal["asked", "committed"] | None = None
    if row.state is DeliveryState.COMMITTED:
        commitment = "committed"
    elif row.commitment_asked_at is not None and row.state is DeliveryState.SENT:
        commitment = "asked"
    return DeliveryOut(
        id=row.id,
        job_id=row.result.job_id,
        study_instance_uid=row.result.job.study.study_instance_uid,
        sop_instance_uid=row.result.sop_instance_uid,
        kind=row.result.kind,
        kind_title=kind_title(row.result.kind),
        description=row.result.description,
        destination=row.destination,
        state=row.state,
        attempt=row.attempt,
        status=row.status,
        status_text=row.status_text,
        transfer_syntax=None if row.transfer_syntax_uid is None else UID(row.transfer_syntax_uid).name,
        error=error_of(row),
        created_at=row.created_at,
        sent_at=row.sent_at,
        next_try_at=row.not_before if row.state is DeliveryState.WAITING else None,
        commitment=commitment,
        actions=delivery_actions(row),
    )
