"""Which content of a study's instances is in use, where newer ones came under the same UIDs: decided here, once.

A PACS that corrects the patient or the order of a study sends the same SOP Instance UIDs with other headers. To take
these into use withdraws what was made of the former ones: jobs that wait or run, results that were not sent. What an
archive has is the archive's to correct or to reject; the next revision of the results says what it replaces.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.base.errors import NotFound, TransitionError
from whyray.catalog import conflicts, events, job_inputs, replacement, studies
from whyray.catalog.conflict_tables import Conflict
from whyray.catalog.states import ConflictDecision, JobState, job_after
from whyray.catalog.tables import Instance, Job, Study


@dataclass(frozen=True)
class Used:
    """What was taken into use, and what was withdrawn for it."""

    instances: int = 0
    jobs: int = 0
    results: int = 0
    deliveries: replacement.StoppedDeliveries = field(default_factory=replacement.StoppedDeliveries)


def use_newest(
    session: Session,
    study_uid: str,
    now: datetime,
    *,
    actor: str,
    anyway: bool = False,
    shown: str | None = None,
    why: str = "",
) -> Used:
    """Take the newest content of each instance of a study into use, and have the study routed anew.

    Where there is nothing newer that waits, nothing is done.

    Parameters
    ----------
    anyway
        Also where not all of the study came again, so that it would name two patients, and without comparing.
    shown
        The `conflicts.version` of what the actor saw; None where nobody was shown anything.
    why
        What is said of it in the event.

    Raises
    ------
    NotFound
        If there is no such study.
    TransitionError
        If contents are not compared yet, or name another patient or order and not all instances came again; or if
        another came since what was `shown`.
    """
    study = _locked(session, study_uid)
    waiting = conflicts.undecided(session, study.id)
    if not waiting:
        return Used()
    conflicting = [conflict for conflict, _ in waiting]
    if not anyway:
        _check_compared(study, conflicting)
        _check_whole(session, study, conflicting)
    _check_shown(study, conflicting, shown)
    formers: list[Instance] = []
    is_routed = False
    for conflict, pair in waiting:
        former = session.scalars(select(Instance).where(Instance.key == pair.key_in_use).with_for_update()).one()
        newest = conflict.instance
        former.set_aside, newest.set_aside = True, False
        newest.routed = newest.routed or former.routed
        is_routed = is_routed or newest.routed
        conflict.decision = ConflictDecision.USED
        formers.append(former)
    study.content_decided_at = now
    session.flush()
    used = withdraw(session, study, formers, now, actor, "that is in use no more")
    if is_routed:
        studies.open_again(session, study.id, now)
    keywords = sorted({word for conflict, _ in waiting for word in conflict.identification.split(", ") if word})
    words = f"the newest content of {conflicts.instances_in_words(used.instances)} is in use{why}"
    if keywords:
        words += f", which differs in {', '.join(keywords)}"
    words += f"; {used.jobs} jobs and {used.results} results of the former content were withdrawn"
    if used.results:
        words += f", {used.deliveries.words}"
    if used.deliveries.gone:
        words += ": an archive may have them under the former identification"
    events.record(session, now, "warning", "content.used", words, study=study_uid, actor=actor)
    return used


def keep(session: Session, study_uid: str, now: datetime, *, actor: str, shown: str | None = None) -> int:
    """Let what is in use of a study stay so, and stop asking; says of how many instances newer contents waited.

    Raises
    ------
    NotFound
        If there is no such study.
    TransitionError
        If contents are not compared yet, or another came since what was `shown` (see `use_newest`).
    """
    study = _locked(session, study_uid)
    waiting = [conflict for conflict, _ in conflicts.undecided(session, study.id)]
    if waiting:
        _check_compared(study, waiting)
        _check_shown(study, waiting, shown)
    for conflict in waiting:
        conflict.decision = ConflictDecision.KEPT_APART
    if waiting:
        study.content_decided_at = now
        which = conflicts.instances_in_words(len(waiting))
        words = f"{which} came again with other content, kept apart: what is in use stays so"
        events.record(session, now, "info", "content.kept", words, study=study_uid, actor=actor)
    return len(waiting)


def _locked(session: Session, study_uid: str) -> Study:
    study = session.scalar(select(Study).where(Study.study_instance_uid == study_uid).with_for_update())
    if study is None:
        raise NotFound(f"no study {study_uid}")
    return study


def _check_compared(study: Study, waiting: list[Conflict]) -> None:
    if any(conflict.compared_at is None for conflict in waiting):
        raise TransitionError(
            f"contents of study {study.study_instance_uid} are still being compared",
            advice="Wait some seconds and try again. If it stays so, see whether all roles run (`whyray status`).",
        )


def _check_shown(study: Study, waiting: list[Conflict], shown: str | None) -> None:
    if shown is not None and shown != conflicts.version(waiting):
        raise TransitionError(
            f"something of study {study.study_instance_uid} came or was decided since it was shown",
            advice="Load the study's page anew and look at what differs now.",
        )


def _check_whole(session: Session, study: Study, waiting: list[Conflict]) -> None:
    alone = conflicts.in_use_alone(session, study.id)
    if alone and any(conflict.identification for conflict in waiting):
        raise TransitionError(
            f"{conflicts.instances_in_words(len(waiting))} came again with another identification and {alone} of the "
            "study did not: it would name two patients or orders",
            advice="Have the PACS send the whole study again. Where the others are right as they are, use the newest "
            "content anyway.",
        )


def withdraw(session: Session, study: Study, formers: list[Instance], now: datetime, actor: str, why: str) -> Used:
    """Supersede the jobs that took these instances' series, or one as a segmentation; take back their results.

    `why` says of the instances why they are not to be used, for the events.
    """
    series_uids = {former.series.series_instance_uid for former in formers}
    # by id: whoever locks several jobs does so in this order, so that no two wait for each other
    locked = session.scalars(select(Job).where(Job.study_id == study.id).order_by(Job.id).with_for_update())
    affected = [
        job
        for job in sorted(locked, key=lambda job: (job.created_at, job.id))
        if series_uids.intersection(job.series_uids)
        or any(job_inputs.is_segmentation_for(job, former) for former in formers)
    ]
    stopped = 0
    for job in affected:
        # the same content may be taken into use once more: then a new job is made for it
        job.input_digest = hashlib.sha256(f"{job.input_digest} withdrawn {job.id}".encode()).hexdigest()
        if job.state is JobState.SUPERSEDED:
            continue
        job.state = job_after("supersede", job.state)
        stopped += 1
        words = f"{job.route}: {job.package} ran on content of {study.study_instance_uid} {why}"
        events.record(
            session, now, "info", "job.superseded", words, study=study.study_instance_uid, job=job.id, actor=actor
        )
    results, deliveries = replacement.withdraw(session, [job.id for job in affected], now)
    return Used(len(formers), stopped, results, deliveries)
