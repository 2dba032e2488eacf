"""Jobs in the catalog: created once, claimed by lease, moved only along `states.JOB_TRANSITIONS`.

A message of the queue says 'look at this job' and nothing else. `claim` decides: a doubled, late or lost message
changes nothing. Which jobs need a message is `job_queue`'s, what a job takes is `job_inputs`'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.orm import Session

from whyray.base.errors import Cancelled, LeaseLost, WhyRayError, WorkerLost
from whyray.catalog import attempts, events, replacement, revisions, studies, tallies
from whyray.catalog.columns import UtcDateTime
from whyray.catalog.database import new_id
from whyray.catalog.delivery_tables import Delivery
from whyray.catalog.states import JobState, job_after
from whyray.catalog.tables import Instance, Job, ResultRow, Study

PRIORITIES = {"stat": 0, "urgent": 1, "routine": 2}
LEASE = timedelta(seconds=30)
"""How long a worker may be silent before another takes its job over; it renews at each step of progress."""
_FOR_DESTINATION = text(
    "INSERT INTO job_destinations (job_id, destination, created_at) VALUES (:job, :destination, :created_at) "
    "ON CONFLICT (job_id, destination) DO NOTHING"
).bindparams(bindparam("created_at", type_=UtcDateTime()))
"""A job that runs again may have results for it already."""


@dataclass(frozen=True)
class NewResult:
    """A result whose bytes are durable in storage, and where it shall go."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    kind: str
    finding: str | None
    method: str | None
    description: str
    grade: str | None
    key: str
    picture_key: str | None
    sha256: str
    destinations: tuple[str, ...]
    preview_key: str | None = None


def create(
    session: Session,
    *,
    study: Study,
    route: str,
    package: str,
    instances: Mapping[str, Sequence[Instance]],
    priority: int,
    now: datetime,
    beside: Collection[str] = (),
) -> Job | None:
    """Create the job, superseding what the same route and package made of fewer instances; None if it exists.

    It exists, too, where all that came since holds no image: a report that somebody adds changes no answer. None, too,
    where one of the instances is rejected by now: the study is looked at again.

    Cancelled jobs too: what they had made before is in force no more, and no retry makes it so beside the new one.
    Other versions of the package too, unless the route runs them `beside` this one. A job of other series altogether
    stays: nothing in the new one stands for it.

    Parameters
    ----------
    instances
        What the job takes, by Series Instance UID; as `studies.routable` gives it.
    """
    taken = [instance for group in instances.values() for instance in group]
    input_digest = studies.input_digest(taken)
    # two routers at once: the rows below may not exist yet, so that only the study's lock keeps them apart
    session.execute(select(Study.id).where(Study.id == study.id).with_for_update())
    if not studies.rejected(session, study.id).isdisjoint(instance.id for instance in taken):
        return None  # since whoever asks has read what there is
    # by id: whoever locks several jobs does so in this order, so that no two wait for each other
    locked = session.scalars(
        select(Job).where(Job.study_id == study.id, Job.route == route).order_by(Job.id).with_for_update()
    )
    known = sorted(locked, key=lambda old: old.revision, reverse=True)
    others = {other for other in beside if other != package}
    earlier = [old for old in known if revisions.of_one_package(old.package, package) and old.package not in others]
    if revisions.existing_job(taken, [old for old in earlier if old.package == package]) is not None:
        return None
    for old in earlier:
        if old.state is JobState.SUPERSEDED or not revisions.share_series(instances, old.series_uids):
            continue
        old.state = job_after("supersede", old.state)
        uid = study.study_instance_uid
        if old.package == package:
            words = f"{route}: {package} ran on fewer instances of {uid}; a new revision replaces it"
        else:
            words = f"{route}: another version, {old.package}, ran on {uid}; a new revision by {package} replaces it"
        session.execute(update(ResultRow).where(ResultRow.job_id == old.id).values(superseded=True))
        events.record(
            session,
            now,
            "info",
            "job.superseded",
            words,
            study=uid,
            job=old.id,
        )
    job = Job(
        id=new_id(session),
        study_id=study.id,
        route=route,
        package=package,
        input_digest=input_digest,
        series_uids=list(instances),
        through_instance=max(instance.id for instance in taken),
        priority=priority,
        state=JobState.QUEUED,
        revision=1 + max((old.revision for old in earlier), default=0),
        created_at=now,
    )
    session.add(job)
    session.flush()
    session.execute(update(Study).where(Study.id == study.id, Study.has_jobs.is_(False)).values(has_jobs=True))
    return job


def get(session: Session, job_id: str, *, lock: bool = False) -> Job:
    """The job.

    Raises
    ------
    NotFound
        If there is none.
    """
    return attempts.find(session, Job, job_id, lock=lock)


def claim(session: Session, job_id: str, owner: str, now: datetime, *, most_attempts: int = 5) -> Job | None:
    """Take the lease, if the job is queued, or running under a lease that ran out; else None: nothing to do.

    A job whose workers died `most_attempts` times is failed instead: it would take every worker down in turn.
    """
    job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
    if job is None:
        return None
    abandoned = job.state is JobState.RUNNING and (job.lease_until is None or job.lease_until <= now)
    if job.state is not JobState.QUEUED and not abandoned:
        return None
    if abandoned and job.attempt >= most_attempts:
        _fail(session, job, WorkerLost(f"the worker died {job.attempt} times in job {job.id}"), now)
        return None
    job.state = job_after("claim", job.state)
    job.attempt += 1
    job.lease_owner, job.lease_until = owner, now + LEASE
    job.started_at, job.finished_at = now, None
    job.progress, job.progress_text = 0.0, "starting"
    attempts.clear_error(job)
    return job


def renew(session: Session, job_id: str, owner: str, progress: float, words: str, now: datetime) -> None:
    """Renew the lease and say how far the work is.

    Raises
    ------
    Cancelled
        If an administrator cancelled the job or a newer revision superseded it.
    LeaseLost
        If another worker holds the job.
    """
    job = get(session, job_id, lock=True)
    _check_owner(job, owner)
    job.lease_until, job.progress, job.progress_text = now + LEASE, progress, words[:255]


def _check_owner(job: Job, owner: str) -> None:
    if job.state in (JobState.CANCELLING, JobState.CANCELLED):
        raise Cancelled(f"job {job.id} was cancelled")
    if job.state is JobState.SUPERSEDED:
        raise Cancelled(f"job {job.id} was superseded by a newer revision")
    if job.state is not JobState.RUNNING or job.lease_owner != owner:
        raise LeaseLost(f"job {job.id} is {job.state.value} under another lease")


def finish(
    session: Session,
    job_id: str,
    owner: str,
    results: Sequence[NewResult],
    findings: list[dict[str, Any]],
    now: datetime,
    *,
    no_statement: Sequence[dict[str, Any]] = (),
    replaced: Sequence[str] = (),
) -> None:
    """Enter the results and their deliveries, and close the job, in the running transaction.

    `no_statement` are the images that the package says nothing of: the job ends as well as any other.

    Equal work makes equal UIDs, so a result that is already there is left alone, and so are its deliveries. Where the
    job ran before and made other results than now, `replaced` are the SOP Instance UIDs of those: they are marked
    superseded, and what was not sent of them is cancelled.

    Raises
    ------
    Cancelled, LeaseLost
        As `renew`; then nothing is entered.
    """
    job = get(session, job_id, lock=True)
    _check_owner(job, owner)
    known = set(
        session.scalars(
            select(ResultRow.sop_instance_uid).where(
                ResultRow.sop_instance_uid.in_([result.sop_instance_uid for result in results])
            )
        )
    )
    new = [result for result in results if result.sop_instance_uid not in known]
    for result in new:
        row = ResultRow(
            job_id=job.id,
            sop_instance_uid=result.sop_instance_uid,
            sop_class_uid=result.sop_class_uid,
            series_instance_uid=result.series_instance_uid,
            kind=result.kind,
            finding=result.finding,
            method=result.method,
            description=result.description[:255],
            grade=result.grade,
            key=result.key,
            picture_key=result.picture_key,
            preview_key=result.preview_key,
            sha256=result.sha256,
            created_at=now,
        )
        session.add(row)
        row.deliveries = [
            Delivery(id=new_id(session), destination=name, route=job.route, priority=job.priority, created_at=now)
            for name in result.destinations
        ]
    if names := sorted({name for result in new for name in result.destinations}):
        about = {"job": job.id, "created_at": job.created_at}
        session.execute(_FOR_DESTINATION, [about | {"destination": name} for name in names])
    if replaced:
        words = replacement.replace(session, job.id, replaced, now)
        study = job.study.study_instance_uid
        events.record(session, now, "warning", "job.results-replaced", words, study=study, job=job.id)
    job.state = job_after("finish", job.state)
    job.findings = findings
    job.no_statement = list(no_statement)
    job.finished_at = now
    attempts.release_lease(job)
    job.progress, job.progress_text = 1.0, None


def stop(
    session: Session,
    job_id: str,
    owner: str,
    error: WhyRayError,
    now: datetime,
    *,
    retry_after: timedelta | None,
) -> JobState:
    """Close a failed attempt: wait for `retry_after`, or fail for good where it is None. Says the state reached.

    One that met an outage that all work meets is not counted.
    """
    job = get(session, job_id, lock=True)
    if job.lease_owner != owner:
        return job.state
    attempts.release_lease(job)
    job.progress_text = None
    if job.state is JobState.CANCELLING:
        job.state, job.finished_at = job_after("stopped", job.state), now
        return job.state
    if job.state is not JobState.RUNNING:
        return job.state
    if retry_after is None:
        _fail(session, job, error, now)
    else:
        job.state, job.not_before = job_after("defer", job.state), now + retry_after
        attempts.set_error(job, error, again=True)
        attempts.count(job, error)
    return job.state


def hand_back(session: Session, job_id: str, owner: str, now: datetime) -> JobState:
    """Queue again what was claimed and only read ahead; the attempt is not counted. Says the state reached.

    One that was cancelled meanwhile is closed; one that was superseded loses its lease, and one that another worker
    holds is left alone.
    """
    job = get(session, job_id, lock=True)
    if job.lease_owner != owner:
        return job.state
    attempts.release_lease(job)
    job.progress, job.progress_text = 0.0, None
    if job.state is JobState.CANCELLING:
        job.state, job.finished_at = job_after("stopped", job.state), now
        return job.state
    if job.state is not JobState.RUNNING:
        return job.state
    job.state = job_after("hand-back", job.state)
    job.attempt -= 1
    job.started_at = job.dispatched_at = None  # its message is spent: another one is sent
    return job.state


def _fail(session: Session, job: Job, error: WhyRayError, now: datetime) -> None:
    job.state, job.finished_at, job.progress_text = job_after("fail", job.state), now, None
    attempts.release_lease(job)
    attempts.set_error(job, error, again=False)
    events.record(session, now, "error", "job.failed", f"{error.code}: {error.message}", job=job.id)


def cancel(session: Session, job_id: str, now: datetime, *, actor: str) -> JobState:
    """Cancel at once, or ask the worker to stop at its next batch.

    Raises
    ------
    NotFound, TransitionError
        If there is no such job, or it is past cancelling.
    """
    job = get(session, job_id, lock=True)
    job.state = job_after("cancel", job.state)
    if job.state is JobState.CANCELLED:
        job.finished_at = now
    events.record(session, now, "info", "admin.cancel", f"job {job_id}: {job.state.value}", actor=actor, job=job_id)
    return job.state


def retry(session: Session, job_id: str, now: datetime, *, actor: str, anyway: bool = False) -> JobState:
    """Queue a failed, cancelled, waiting or finished job again, from attempt 0.

    Raises
    ------
    NotFound, TransitionError
        If there is no such job, or it is queued, running or superseded; or, unless it is to be tried `anyway`, if it
        failed for a reason that nobody can correct.
    """
    job = get(session, job_id, lock=True)
    attempts.check_retry(job, anyway=anyway)
    job.state = job_after("repeat" if job.state is JobState.DONE else "retry", job.state)
    attempts.begin_anew(job)
    job.dispatched_at = job.finished_at = None
    job.progress, job.progress_text = 0.0, None
    events.record(session, now, "info", "admin.retry", f"job {job_id} is queued again", actor=actor, job=job_id)
    return job.state


def wake(session: Session, now: datetime) -> int:
    """Queue the waiting jobs whose back-off is over, and close cancelled ones whose worker died; says how many."""
    due = attempts.waiting_until(session, Job, now)
    for job in due:
        job.state, job.dispatched_at = job_after("due", job.state), None
    orphans = list(
        session.scalars(
            select(Job)
            .where(Job.state == JobState.CANCELLING, Job.lease_until <= now)
            .with_for_update(skip_locked=True)
        )
    )
    for job in orphans:
        job.state, job.finished_at, job.lease_owner = job_after("stopped", job.state), now, None
    return len(due) + len(orphans)


def tally(session: Session) -> dict[JobState, int]:
    """How many jobs are in each state."""
    counts: Counter[JobState] = Counter()
    for row in tallies.counted(session, "jobs"):
        counts[JobState(row.facets[2])] += row.number
    return dict(counts)
