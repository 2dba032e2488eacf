"""Revisions of a route's answer about a study: which job stands for which, and whose results it replaces.

A job of a later revision stands for those before it of the same route and package, or of other versions of that
package which the route runs no more, as far as it takes one of their series: of others it says nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.base.sop_classes import holds_no_image
from whyray.catalog import studies
from whyray.catalog.states import JobState
from whyray.catalog.tables import Instance, Job, ResultRow


def of_one_package(one: str, other: str) -> bool:
    """Whether two of the form NAME@VERSION are versions of one package."""
    return one.partition("@")[0] == other.partition("@")[0]


def share_series(one: Collection[str], other: Collection[str]) -> bool:
    """Whether two jobs take a series in common."""
    return not set(one).isdisjoint(other)


def existing_job(instances: Collection[Instance], jobs: Iterable[Job]) -> Job | None:
    """Which of these jobs takes these instances; one in force, also where what it does not take holds no image."""
    digest = studies.input_digest(instances)
    for job in jobs:
        if job.input_digest == digest:
            return job
        before = [instance for instance in instances if instance.id <= job.through_instance]
        since = [instance for instance in instances if instance.id > job.through_instance]
        same_images = _are_documents(since) and studies.input_digest(before) == job.input_digest
        # of a study whose instances retention has removed, a document may be all that is here
        if job.state is not JobState.SUPERSEDED and (same_images or _are_documents(instances)):
            return job
    return None


def _are_documents(instances: Collection[Instance]) -> bool:
    return all(holds_no_image(instance.sop_class_uid) for instance in instances)


def successor(session: Session, job: Job) -> Job | None:
    """The next revision that a superseded job gave way to: of its own package, else of another version of it."""
    later = [other for other in _others(session, job) if other.revision > job.revision]
    later.sort(key=lambda other: (other.package != job.package, other.revision))
    return later[0] if later else None


def series_in_force(session: Session, study_id: int, route: str) -> list[list[str]]:
    """The Series Instance UIDs of each job of a study under a route that is not superseded."""
    of_route = select(Job.series_uids).where(Job.study_id == study_id, Job.route == route)
    return list(session.scalars(of_route.where(Job.state != JobState.SUPERSEDED)))


def earlier_results(session: Session, job: Job) -> list[ResultRow]:
    """The results of earlier revisions that this job's results replace, the oldest first."""
    others = _others(session, job)
    in_force = {other.package for other in others if other.state is not JobState.SUPERSEDED}
    replaced = [
        other.id
        for other in others
        if other.revision < job.revision and (other.package == job.package or other.package not in in_force)
    ]
    return list(session.scalars(select(ResultRow).where(ResultRow.job_id.in_(replaced)).order_by(ResultRow.id)))


def own_results(session: Session, job: Job) -> list[ResultRow]:
    """What the job itself made when it ran before, the oldest first."""
    return list(session.scalars(select(ResultRow).where(ResultRow.job_id == job.id).order_by(ResultRow.id)))


def _others(session: Session, job: Job) -> list[Job]:
    """The other jobs of its study and route, of any version of its package, that take a series of it."""
    of_route = select(Job).where(Job.study_id == job.study_id, Job.route == job.route, Job.id != job.id)
    return [
        other
        for other in session.scalars(of_route)
        if of_one_package(other.package, job.package) and share_series(other.series_uids, job.series_uids)
    ]
