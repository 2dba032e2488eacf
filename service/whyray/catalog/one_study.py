"""One study: where it stands and why, with its jobs, deliveries and events; by UIDs, without whose study it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from whyray.base.errors import NotFound
from whyray.catalog import events, processes, studies
from whyray.catalog.conflicts import undecided
from whyray.catalog.delivery_tables import Delivery
from whyray.catalog.overview import ErrorWords
from whyray.catalog.states import DeliveryState, JobState
from whyray.catalog.study_states import STUDY_STATE
from whyray.catalog.tables import Event, Instance, Job, ResultRow, Series, Study

_MOST_EVENTS = 100
_MOST_NAMED = 3


@dataclass(frozen=True)
class Senders:
    """What came of a study from one calling AE title."""

    calling_ae: str
    instances: int


@dataclass(frozen=True)
class JobOfStudy:
    """One job: `why` says what it waits for, or how far it is; None where its state says all."""

    job: Job
    why: str | None
    error: ErrorWords | None
    next_try_at: datetime | None


@dataclass(frozen=True)
class DeliveryOfStudy:
    """One result on its way to one destination; the rest as of `JobOfStudy`."""

    delivery: Delivery
    result: ResultRow
    why: str | None
    error: ErrorWords | None
    next_try_at: datetime | None


@dataclass(frozen=True)
class OneStudy:
    """All that is told of one study. `study` is None where it is not here, and `events` may tell of it all the same."""

    uid: str
    at: datetime
    study: Study | None
    state: str | None
    senders: tuple[Senders, ...]
    rejected: int
    """Instances that are here, that the PACS rejected (IHE IOCM) and no job takes."""
    undecided: int
    """Instances that came again with other content, about which nobody has decided."""
    jobs: tuple[JobOfStudy, ...]
    deliveries: tuple[DeliveryOfStudy, ...]
    events: tuple[Event, ...]
    """The newest first."""


def one_study(session: Session, part: str, now: datetime, *, destinations: Collection[str]) -> OneStudy:
    """What the catalog knows of a study.

    Parameters
    ----------
    part
        Its Study Instance UID, or how it begins or ends.
    destinations
        Those that the configuration names.

    Raises
    ------
    NotFound
        If several studies have that part, or it can be none of a UID.
    """
    study = _find(session, part)
    uid = part if study is None else study.study_instance_uid
    recent = events.recent(session, limit=_MOST_EVENTS, study=uid)
    if study is None:
        return OneStudy(uid, now, None, None, (), 0, 0, (), (), tuple(recent))
    alive = {row.role for row in processes.all_processes(session) if processes.is_alive(row, now)}
    jobs = list(session.scalars(select(Job).where(Job.study_id == study.id).order_by(Job.created_at, Job.id)))
    job_ids = [job.id for job in jobs]
    if job_ids:
        of_jobs = select(Event).where(Event.job_id.in_(job_ids), Event.study_instance_uid.is_(None))
        recent += session.scalars(of_jobs.order_by(Event.id.desc()).limit(_MOST_EVENTS))
        recent = sorted(recent, key=lambda event: -event.id)[:_MOST_EVENTS]
    return OneStudy(
        uid=uid,
        at=now,
        study=study,
        state=session.scalar(select(STUDY_STATE).select_from(Study).where(Study.id == study.id)),
        senders=tuple(_senders(session, study)),
        rejected=len(studies.rejected(session, study.id)),
        undecided=len(undecided(session, study.id)),
        jobs=tuple(_job(job, worker_runs="worker" in alive) for job in jobs),
        deliveries=tuple(
            _delivery(delivery, result, sender_runs="delivery" in alive, known=delivery.destination in destinations)
            for delivery, result in session.execute(
                select(Delivery, ResultRow)
                .join(ResultRow, Delivery.result_id == ResultRow.id)
                .join(Job, ResultRow.job_id == Job.id)
                .where(Job.study_id == study.id)
                .order_by(Delivery.created_at, Delivery.destination, Delivery.result_id)
            )
        ),
        events=tuple(recent),
    )


def _find(session: Session, part: str) -> Study | None:
    if not part or set(part) - set("0123456789."):
        raise NotFound(
            f"{part!r} is no Study Instance UID",
            advice="Give the UID as the PACS shows it (0020,000D), or how it begins or ends: WhyRay finds no study by "
            "a patient or an accession number.",
        )
    exact = session.scalar(select(Study).where(Study.study_instance_uid == part))
    if exact is not None:
        return exact
    begins = studies.uid_begins(Study.study_instance_uid, part)
    ends = studies.uid_begins(Study.reversed_uid, part[::-1])
    matching = select(Study).where(begins | ends).order_by(Study.id.desc()).limit(_MOST_NAMED + 1)
    of_part = list(session.scalars(matching))
    if len(of_part) > 1:
        named = ", ".join(study.study_instance_uid for study in of_part[:_MOST_NAMED])
        more = " and others" if len(of_part) > _MOST_NAMED else ""
        raise NotFound(
            f"the UIDs of several studies begin or end with {part}: {named}{more}", advice="Give the whole UID."
        )
    return of_part[0] if of_part else None


def _senders(session: Session, study: Study) -> Sequence[Senders]:
    rows = session.execute(
        select(Instance.calling_ae, func.count())
        .join(Series, Instance.series_id == Series.id)
        .where(Series.study_id == study.id, Instance.set_aside.is_(False), Instance.own_result.is_(False))
        .group_by(Instance.calling_ae)
        .order_by(Instance.calling_ae)
    )
    return [Senders(calling_ae, int(number)) for calling_ae, number in rows]


def _job(job: Job, *, worker_runs: bool) -> JobOfStudy:
    why = None
    if job.state is JobState.QUEUED:
        why = "its turn has not come yet" if worker_runs else "no worker runs"
    elif job.state is JobState.WAITING:
        why = "tried again after a pause"
    elif job.state is JobState.RUNNING:
        why = job.progress_text
    next_try_at = job.not_before if job.state is JobState.WAITING else None
    return JobOfStudy(job, why, _error(job), next_try_at)


def _delivery(delivery: Delivery, result: ResultRow, *, sender_runs: bool, known: bool) -> DeliveryOfStudy:
    why = None
    if delivery.state in (DeliveryState.QUEUED, DeliveryState.WAITING) and not known:
        why = "the configuration does not name this destination"
    elif delivery.state is DeliveryState.QUEUED:
        why = "its turn has not come yet" if sender_runs else "no delivery role runs"
    elif delivery.state is DeliveryState.WAITING:
        why = "tried again after a pause"
    elif delivery.state is DeliveryState.SENT and delivery.commitment_asked_at is not None:
        why = "the destination has not said yet whether it keeps it"
    next_try_at = delivery.not_before if delivery.state is DeliveryState.WAITING else None
    return DeliveryOfStudy(delivery, result, why, _error(delivery), next_try_at)


def _error(row: Job | Delivery) -> ErrorWords | None:
    if row.error_code is None:
        return None
    return ErrorWords(row.error_code, row.error_message or "", row.error_advice)
