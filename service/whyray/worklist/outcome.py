"""What became of the work that a workitem asked for, by the catalog: how far it is, and where the results are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from whyray.catalog import (
    Delivery,
    DeliveryState,
    Instance,
    Job,
    JobState,
    ResultRow,
    Series,
    Study,
    Workitem,
    events,
    job_sources,
    jobs,
    revisions,
)
from whyray.config import Config, DicomWebDestination
from whyray.worklist.datasets import Output
from whyray.worklist.workitem import Input

_ARRIVED = (DeliveryState.SENT, DeliveryState.COMMITTED)
_GIVEN_UP = (DeliveryState.FAILED, DeliveryState.CANCELLED)
_WORK_SHARE = 0.9
"""Of the progress: the rest is delivery."""


@dataclass(frozen=True)
class Standing:
    """`job_ids` are those in force: a job that late instances superseded has its successor in its place."""

    job_ids: tuple[str, ...]
    share: float
    words: str
    finished: bool = False
    failure: str | None = None
    """'CLASS: words', why it can't be finished."""
    withdrawn: bool = False
    """Whether it can't be finished because images were corrected and no job took the place of one on the former."""


def here(session: Session, wanted: Input) -> bool:
    """Whether all instances that an input names are here; any of the series, where it names none.

    What was fetched of such a series does not tell: the fetching may have ended before its time.
    """
    stored = {
        row.sop_instance_uid: row.routed
        for row in session.execute(
            select(Instance.sop_instance_uid, Instance.routed)
            .join(Series)
            .join(Study)
            .where(
                Study.study_instance_uid == wanted.study_uid,
                Series.series_instance_uid == wanted.series_uid,
                Instance.own_result.is_(False),
            )
        )
    }
    if wanted.instance_uids:
        return stored.keys() >= set(wanted.instance_uids)
    return bool(stored) and all(stored.values())


def standing(session: Session, job_ids: Sequence[str]) -> Standing:
    """How far these jobs and the deliveries of their results are."""
    current = [_in_force(session, job_id) for job_id in job_ids]
    ids = tuple(job.id for job in current if job is not None)
    if len(ids) < len(job_ids):
        return Standing(ids, 0.0, "", failure="NotFound: a job was removed before it was done")
    remaining = [job for job in current if job is not None]
    for job in remaining:
        if job.state is JobState.FAILED:
            return Standing(ids, 0.0, "", failure=f"{job.error_code}: {job.error_message}")
        if job.state in (JobState.CANCELLED, JobState.CANCELLING):
            return Standing(ids, 0.0, "", failure="Cancelled: an administrator cancelled the job")
    if any(job.state is JobState.SUPERSEDED and _is_settled(job) for job in remaining):
        why = "InputChanged: the images were corrected, and no job took the place of the former one; order again"
        return Standing(ids, 0.0, "", failure=why, withdrawn=True)
    share = _WORK_SHARE * sum(1.0 if job.state is JobState.DONE else job.progress for job in remaining) / len(remaining)
    working = [job for job in remaining if job.state is not JobState.DONE]
    if working:
        words = working[0].progress_text if working[0].state is JobState.RUNNING else working[0].state.value
        return Standing(ids, share, words or working[0].state.value)
    deliveries = list(
        session.scalars(select(Delivery).join(ResultRow).where(ResultRow.job_id.in_(ids), ~ResultRow.superseded))
    )
    for delivery in deliveries:
        if delivery.state in _GIVEN_UP:
            why = f"{delivery.error_code}: {delivery.error_message}" if delivery.error_code else "Cancelled: not sent"
            return Standing(ids, share, "", failure=f"{why} (results for {delivery.destination})")
    arrived = sum(delivery.state in _ARRIVED for delivery in deliveries)
    if arrived == len(deliveries):
        return Standing(ids, 1.0, "done", finished=True)
    return Standing(ids, share, f"results are being sent: {arrived} of {len(deliveries)}")


def _in_force(session: Session, job_id: str) -> Job | None:
    """The job, or the last of those that took its place: superseded itself, where its images were corrected."""
    job = session.get(Job, job_id)
    while job is not None and job.state is JobState.SUPERSEDED:
        following = revisions.successor(session, job)
        if following is None:
            return job
        job = following
    return job


def _is_settled(job: Job) -> bool:
    """Whether routing has looked at its study since: until then it may make the successor of a superseded job."""
    return job.study.received_sequence <= job.study.routed_sequence


def stop_jobs(session: Session, workitem: Workitem, now: datetime) -> None:
    """Cancel those of a workitem's jobs that are not done; one that there was before was not made for it: it stays."""
    for job_id in workitem.job_ids:
        job = session.get(Job, job_id)
        if job is not None and job.state in job_sources("cancel") and _is_made_since(session, job, workitem):
            jobs.cancel(session, job.id, now, actor="worklist")


def _is_made_since(session: Session, job: Job, workitem: Workitem) -> bool:
    """By the order of events, since the clock may have been set in between."""
    made = events.first_of_job(session, job.id, "job.created")
    if workitem.taken_after is None or made is None:  # taken before revision 0027, or removed by retention
        return job.created_at >= (workitem.started_at or workitem.created_at)
    return made > workitem.taken_after


def outputs_of(session: Session, job_ids: Sequence[str], config: Config) -> list[Output]:
    """The delivered results of these jobs by series, each with the first destination that took it."""
    rows = session.scalars(
        select(ResultRow)
        .where(ResultRow.job_id.in_(job_ids), ~ResultRow.superseded)
        .options(joinedload(ResultRow.deliveries), joinedload(ResultRow.job).joinedload(Job.study))
        .order_by(ResultRow.id)
    ).unique()
    series: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for row in rows:
        study = row.job.study.study_instance_uid
        taken = [delivery.destination for delivery in row.deliveries if delivery.state in _ARRIVED]
        where = next(
            (address for name in taken if (address := _place(config, name, study, row.series_instance_uid))), None
        )
        if where is not None:
            place = (study, row.series_instance_uid, where)
            series.setdefault(place, []).append((row.sop_class_uid, row.sop_instance_uid))
    return [Output(study, uid, tuple(instances), where) for (study, uid, where), instances in series.items()]


def _place(config: Config, destination: str, study_uid: str, series_uid: str) -> str | None:
    settings = config.destinations.get(destination)
    if settings is None:
        return None
    if isinstance(settings, DicomWebDestination):
        return f"{settings.url}/studies/{study_uid}/series/{series_uid}"
    return settings.ae_title
