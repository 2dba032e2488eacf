"""From a workitem to jobs: the packages of its route, on those of its series that the route is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from pydicom import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.app.rejection_notes import RejectionNotes
from whyray.base.errors import ImageError, InputChanged, NotFound
from whyray.catalog import Catalog, Instance, Job, JobState, Study, events, jobs, revisions, studies
from whyray.config import Config, Route
from whyray.routing import match_series
from whyray.worklist import OWN, Order, OwnWorklist, RemoteWorklist, Source

_PRIORITIES = {0: jobs.PRIORITIES["stat"], 2: jobs.PRIORITIES["routine"]}
"""Of HIGH and LOW workitems; MEDIUM ones have their route's own."""
_OWN_POLL = timedelta(0)


@dataclass(frozen=True)
class OrderedJobs:
    """Makes jobs, as the study router does, without asking whether the study is complete: who orders says READY."""

    catalog: Catalog
    config: Callable[[], Config]
    read_header: Callable[[str], Dataset]
    resolve_package: Callable[[str], str]

    def __call__(self, route_name: str, order: Order) -> list[str]:
        """The ids of the jobs that do what is ordered; those that there are already are taken, failed ones retried.

        Raises
        ------
        NotFound
            If there is no such route or package.
        InputChanged
            If the images are not here.
        ImageError
            If none of the series meets the route's `when`, or all of its images are rejected.
        WhyRayError
            If a key object selection of the study, which may reject some, can't be read now.
        """
        route = self._route(route_name)
        packages = [self.resolve_package(str(package)) for package in route.run]
        with self.catalog.read() as session:
            ordered = _study(session, order)
            here = studies.routable(session, ordered.id)
        # of what was fetched for a workitem routing looks at nothing, a rejection note neither
        notes = RejectionNotes(self.catalog, self.read_header, self._tell, reopens=True)
        if notes.heed(ordered, here):
            with self.catalog.read() as session:
                here = studies.routable(session, ordered.id)
        # outside of the transaction that writes: a header that is not kept yet is kept by one of its own
        taken = self._taken(route, order, here)
        with self.catalog.begin() as session:
            study = _study(session, order, lock=True)
            grouped = studies.routable(session, study.id)
            now_here = {uid: grouped[uid] for uid in taken if uid in grouped}
            if len(now_here) < len(taken):
                raise InputChanged(f"series of the study {order.study_uid} went while jobs were made of them")
            study.expires_at = None  # no route may have taken it, and yet there are jobs now
            return [self._job(session, study, route, package, now_here, order, packages) for package in packages]

    def _route(self, name: str) -> Route:
        for route in self.config().routes:
            if route.name == name and route.enabled:
                return route
        raise NotFound(f"the configuration has no enabled route {name!r}", advice="Put the route back.")

    def _tell(self, study: Study, _key: str, severity: events.Severity, kind: events.EventKind, words: str) -> None:
        with self.catalog.begin() as session:
            events.record_once(session, study, self.catalog.clock(), severity, kind, words)

    def _taken(self, route: Route, order: Order, grouped: dict[str, list[Instance]]) -> dict[str, list[Instance]]:
        wanted = [order_input.series_uid for order_input in order.inputs if grouped.get(order_input.series_uid)]
        refusals: list[str] = []
        taken = {}
        for uid in dict.fromkeys(wanted):
            match = match_series(route, self.read_header(grouped[uid][0].key), instances=len(grouped[uid]))
            if match.matched:
                taken[uid] = grouped[uid]
            refusals += [f"{refusal.text} (found: {refusal.value})" for refusal in match.refusals]
        if not taken:
            why = "; ".join(dict.fromkeys(refusals)) or "none of them is here, or all of them are rejected"
            raise ImageError(
                f"no series of the workitem {order.uid} is one for the route {route.name!r}: {why}",
                advice="Order another workitem code, or widen the route's `when`.",
            )
        return taken

    def _job(
        self,
        session: Session,
        study: Study,
        route: Route,
        package: str,
        taken: dict[str, list[Instance]],
        order: Order,
        beside: list[str],
    ) -> str:
        now = self.catalog.clock()
        priority = _PRIORITIES.get(order.priority, jobs.PRIORITIES[route.priority])
        made = jobs.create(
            session,
            study=study,
            route=route.name,
            package=package,
            instances=taken,
            priority=priority,
            now=now,
            beside=beside,
        )
        if made is not None:
            words = f"{route.name}: {package} on {sum(map(len, taken.values()))} instances, as ordered"
            events.record(session, now, "info", "job.created", words, study=study.study_instance_uid, job=made.id)
            return made.id
        same = select(Job).where(Job.study_id == study.id, Job.route == route.name, Job.package == package)
        instances = [instance for group in taken.values() for instance in group]
        job = revisions.existing_job(instances, session.scalars(same.order_by(Job.revision.desc())))
        if job is None:
            raise InputChanged(f"the job of the study {order.study_uid} went while it was looked for")
        if job.state in (JobState.FAILED, JobState.CANCELLED):
            jobs.retry(session, job.id, now, actor="worklist")
        return job.id


def _study(session: Session, order: Order, *, lock: bool = False) -> Study:
    """The study of an order. Raises InputChanged if it is not here."""
    statement = select(Study).where(Study.study_instance_uid == order.study_uid)
    study = session.scalar(statement.with_for_update() if lock else statement)
    if study is None:
        raise InputChanged(f"the study {order.study_uid} is not here")
    return study


def sources_of(config: Config, own: OwnWorklist) -> dict[str, Source]:
    """The worklists in force, by name."""
    sources = {
        name: Source(RemoteWorklist(name, settings), settings, settings.poll)
        for name, settings in config.worklists.items()
    }
    dicomweb = config.listener.dicomweb
    if dicomweb is not None and dicomweb.worklist is not None:
        sources[OWN] = Source(own, dicomweb.worklist, _OWN_POLL)
    return sources
