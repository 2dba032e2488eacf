"""Queries of the admin endpoint that only read: one thing with all that is its own, and what many are chosen by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, exists, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from whyray.base.errors import NotFound
from whyray.catalog import (
    STUDY_STATE,
    Announcement,
    Delivery,
    DeliveryState,
    Instance,
    Job,
    JobDestination,
    JobState,
    ResultRow,
    Series,
    Study,
    is_one_of,
)


def study(session: Session, uid: str) -> Study:
    """The study of this UID, with its jobs. Raises NotFound."""
    row = session.scalar(
        select(Study)
        .where(Study.study_instance_uid == uid)
        .options(selectinload(Study.jobs).selectinload(Job.results), selectinload(Study.jobs).joinedload(Job.study))
    )
    if row is None:
        raise NotFound(f"no study {uid}")
    return row


@dataclass(frozen=True)
class SeriesFigures:
    """One series in figures; `instances` and `bytes` count neither conflicting variants nor own results."""

    study_id: int
    series_instance_uid: str
    modality: str | None
    instances: int
    bytes: int
    conflicts: int
    own_results: int


def series_figures(session: Session, study_ids: Sequence[int]) -> list[SeriesFigures]:
    """The series of these studies, in figures."""
    used = Instance.set_aside.is_(False) & Instance.own_result.is_(False)
    rows = session.execute(
        select(
            Series.study_id,
            Series.series_instance_uid,
            Series.modality,
            func.sum(case((used, 1), else_=0)),
            func.sum(case((used, Instance.size), else_=0)),
            func.sum(case((Instance.set_aside.is_(True), 1), else_=0)),
            func.sum(case((Instance.own_result.is_(True), 1), else_=0)),
        )
        .join(Instance, Instance.series_id == Series.id)
        .where(is_one_of(session, Series.study_id, study_ids))
        .group_by(Series.id, Series.study_id, Series.series_instance_uid, Series.modality)
        .order_by(Series.id)
    )
    return [
        SeriesFigures(study_id, uid, modality, int(instances or 0), int(size or 0), int(conflicts or 0), int(own or 0))
        for study_id, uid, modality, instances, size, conflicts, own in rows
    ]


def calling_aes(session: Session, study_id: int) -> dict[str, list[str]]:
    """By Series Instance UID, which application entities sent it."""
    senders: dict[str, list[str]] = {}
    rows = session.execute(
        select(Series.series_instance_uid, Instance.calling_ae)
        .join(Instance, Instance.series_id == Series.id)
        .where(Series.study_id == study_id)
        .distinct()
        .order_by(Instance.calling_ae)
    )
    for uid, calling in rows:
        senders.setdefault(uid, []).append(calling)
    return senders


def job_numbers(session: Session, study_ids: Sequence[int]) -> dict[int, int]:
    """How many jobs each study has."""
    of_these = is_one_of(session, Job.study_id, study_ids)
    rows = session.execute(select(Job.study_id, func.count()).where(of_these).group_by(Job.study_id))
    return {study_id: int(number) for study_id, number in rows}


def study_states(session: Session, study_ids: Sequence[int]) -> dict[int, str]:
    """The state of each study."""
    rows = session.execute(select(Study.id, STUDY_STATE).where(is_one_of(session, Study.id, study_ids)))
    return {row[0]: row[1] for row in rows}


def job_filters(
    *,
    state: Sequence[JobState] = (),
    route: str | None = None,
    package: str | None = None,
    destination: str | None = None,
    error_code: str | None = None,
) -> list[ColumnElement[bool]]:
    """The conditions that jobs are chosen by."""
    conditions: list[ColumnElement[bool]] = []
    if state:
        conditions.append(Job.state.in_(state))
    if route is not None:
        conditions.append(Job.route == route)
    if package is not None:
        # 'cxr-findings' means every version, 'cxr-findings@1.0.0' that one
        conditions.append((Job.package == package) | Job.package.startswith(f"{package}@", autoescape=True))
    if destination is not None:
        sent_to = exists().where(JobDestination.job_id == Job.id, JobDestination.destination == destination)
        conditions.append(sent_to.correlate(Job))
    if error_code is not None:
        conditions.append(Job.error_code == error_code)
    return conditions


def job(session: Session, job_id: str) -> Job:
    """The job with its study, results and deliveries. Raises NotFound."""
    row = session.scalar(
        select(Job)
        .where(Job.id == job_id)
        .options(joinedload(Job.study), selectinload(Job.results).selectinload(ResultRow.deliveries))
    )
    if row is None:
        raise NotFound(f"no job {job_id}")
    return row


def delivery_filters(
    *,
    state: Sequence[DeliveryState] = (),
    destination: str | None = None,
    route: str | None = None,
    package: str | None = None,
    error_code: str | None = None,
) -> list[ColumnElement[bool]]:
    """The conditions that deliveries are chosen by."""
    conditions: list[ColumnElement[bool]] = []
    if state:
        conditions.append(Delivery.state.in_(state))
    if destination is not None:
        conditions.append(Delivery.destination == destination)
    if error_code is not None:
        conditions.append(Delivery.error_code == error_code)
    if route is not None:
        conditions.append(Delivery.route == route)
    of_job = job_filters(package=package)
    if of_job:
        conditions.append(Delivery.result.has(ResultRow.job.has(Job.id.in_(select(Job.id).where(*of_job)))))
    return conditions


def announcement_filters(
    *,
    state: Sequence[DeliveryState],
    destination: str | None = None,
    route: str | None = None,
    package: str | None = None,
    error_code: str | None = None,
) -> list[ColumnElement[bool]]:
    """The conditions on announcements in one of these states."""
    conditions: list[ColumnElement[bool]] = [Announcement.state.in_(state)]
    if destination is not None:
        conditions.append(Announcement.destination == destination)
    if error_code is not None:
        conditions.append(Announcement.error_code == error_code)
    of_job = job_filters(route=route, package=package)
    if of_job:
        conditions.append(Announcement.job_id.in_(select(Job.id).where(*of_job)))
    return conditions


def delivery(session: Session, delivery_id: str) -> Delivery:
    """The delivery with its result. Raises NotFound."""
    row = session.scalar(
        select(Delivery)
        .where(Delivery.id == delivery_id)
        .options(joinedload(Delivery.result).joinedload(ResultRow.job).joinedload(Job.study))
    )
    if row is None:
        raise NotFound(f"no delivery {delivery_id}")
    return row


def result(session: Session, sop_instance_uid: str) -> ResultRow:
    """The result with its job and deliveries. Raises NotFound."""
    row = session.scalar(
        select(ResultRow)
        .where(ResultRow.sop_instance_uid == sop_instance_uid)
        .options(joinedload(ResultRow.job).joinedload(Job.study), selectinload(ResultRow.deliveries))
    )
    if row is None:
        raise NotFound(f"no result {sop_instance_uid}")
    return row
