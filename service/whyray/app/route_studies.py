"""From received studies to jobs: which routes match, whether the study is complete for them, what supersedes what."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydicom import Dataset
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from whyray.app.completion import Arrivals, Decision, decide
from whyray.app.expected_counts import ExpectedCounts
from whyray.app.rejection_notes import RejectionNotes
from whyray.base.errors import DecodeError, WhyRayError
from whyray.base.failures import logged, typed_error
from whyray.catalog import Catalog, Instance, Study, events, jobs, removal, revisions, studies
from whyray.config import Config, Route
from whyray.routing import RouteMatch, Series, routes_for

_log = logging.getLogger("whyray.routing")
_MOST_FAILURES = 3
"""Looks at a study that fail for no known reason, before it is set aside."""

ReadHeader = Callable[[str], Dataset]
"""Storage key → data set without pixel data."""
ResolvePackage = Callable[[str], str]
"""A route's `NAME@PREFIX` → 'NAME@VERSION'. Raises NotFound."""


@dataclass
class StudyRouter:
    """Looks at unsettled studies again and again; every step may be done twice, by several of these, without harm."""

    catalog: Catalog
    config: Callable[[], Config]
    read_header: ReadHeader
    resolve_package: ResolvePackage
    expected: ExpectedCounts
    _notes: RejectionNotes = field(init=False)
    _headers: dict[str, Dataset] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)
    _failures: dict[int, int] = field(default_factory=dict)
    _delayed_by: dict[int, str] = field(default_factory=dict)
    """Why a study could not be looked at, as it was told last."""

    def __post_init__(self) -> None:
        self._notes = RejectionNotes(
            self.catalog,
            lambda key: self.read_header(key),
            lambda study, key, severity, kind, words: self._tell_once(study, key, kind, words, severity),
        )

    def step(self) -> int:
        """Route what can be routed now; says how many jobs were created."""
        with self.catalog.read() as session:
            waiting = [study.id for study in studies.unsettled(session)]
        created = 0
        for study_id in waiting:
            try:
                created += self._study(study_id)
                self._failures.pop(study_id, None)
                self._delayed_by.pop(study_id, None)
            except Exception as error:  # whatever it was, the other studies go on
                if isinstance(error, SQLAlchemyError) and typed_error(error).retriable:
                    raise  # the catalog is away, for all of them
                self._refuse(study_id, error)
        if not waiting:
            self._headers.clear()
            self._notes.forget()
            self.expected.forget()
            self._told.clear()
            self._failures.clear()
            self._delayed_by.clear()
        return created

    def _again(self, study_id: int, error: Exception) -> bool:
        """Whether a study that could not be routed is looked at again: as long as that may pass, and twice where nobody
        knows why."""
        # not a want of memory, of which nobody knows whether it is the study's own
        if isinstance(error, WhyRayError):
            return error.retriable
        if isinstance(error, OSError) and typed_error(error).retriable:
            return True
        self._failures[study_id] = self._failures.get(study_id, 0) + 1
        return self._failures[study_id] < _MOST_FAILURES

    def _refuse(self, study_id: int, error: Exception) -> None:
        again, typed = self._again(study_id, error), typed_error(error)
        words = f"{typed.code}: {typed.message}"
        if again and self._delayed_by.get(study_id) == words:
            return  # once for each study and reason, and not twice a second
        logged(_log, error, "routing a study")
        with self.catalog.begin() as session:
            study = session.get(Study, study_id)
            if study is None:
                return
            if again:
                studies.describe(session, study_id, words)
            else:
                studies.settle(session, study_id, study.received_sequence, words)
                self._event(session, study, "error", "study.refused", words)
        if again:
            self._delayed_by[study_id] = words

    def _study(self, study_id: int) -> int:
        config, now = self.config(), self.catalog.clock()
        with self.catalog.read() as session:
            study = session.get(Study, study_id)
            if study is None:
                return 0
            received_sequence, uid = study.received_sequence, study.study_instance_uid
            grouped, rejected = studies.routable(session, study_id), studies.rejected(session, study_id)
        if self._notes.heed(study, grouped):
            with self.catalog.read() as session:
                grouped, rejected = studies.routable(session, study_id), studies.rejected(session, study_id)
        left_out = f"; rejected: {len(rejected)}" if rejected else ""
        series = self._series(study, grouped)
        routing = routes_for(config, series)
        self._tell_undecided(study, routing.undecided)
        if routing.otherwise:
            return self._unmatched(study_id, received_sequence, config, now, left_out)
        waits, skipped, created = [], [], 0
        for match in routing.matches:
            taken = {series_uid: grouped[series_uid] for series_uid in match.series}
            answered, expected = self.expected.of(config, match.route, uid, match.series, received_sequence)
            if not answered and now - study.opened_at < match.route.complete.at_most:
                waits.append(f"{match.route.name}: waiting for the PACS to say how much there is")
                continue
            decision, words = decide(match.route.complete, _arrivals(study, match.route, grouped, taken, expected), now)
            if decision is Decision.PROCESS and (removed := self._removed(study, match, grouped)):
                decision, words = Decision.SKIP, removed
            if decision is Decision.WAIT:
                waits.append(f"{match.route.name}: {words}")
            elif decision is Decision.SKIP:
                skipped.append(match.route.name)
                self._skipped(study, match.route, words)
            else:
                created += self._create(study_id, match, taken, words)
        with self.catalog.begin() as session:
            if waits:
                studies.describe(session, study_id, "; ".join(waits) + left_out)
            else:
                names = [match.route.name for match in routing.matches if match.route.name not in skipped]
                words = "; ".join(
                    f"{what}: {', '.join(which)}"
                    for what, which in (("routed", names), ("incomplete, not processed", skipped))
                    if which
                )
                studies.settle(session, study_id, received_sequence, words + left_out)
        return created

    def _series(self, study: Study, grouped: Mapping[str, Sequence[Instance]]) -> list[Series]:
        """Each series with the header of the first of its instances that can be read; one that has none is left out."""
        series = []
        for uid, group in grouped.items():
            for instance in group:
                try:
                    series.append(Series(uid, self._header(instance), len(group)))
                    break
                except DecodeError as error:
                    self._tell_once(study, instance.key, "study.unread", error.message)
        return series

    def _tell_undecided(self, study: Study, undecided: Sequence[tuple[str, Sequence[str]]]) -> None:
        for route, attributes in undecided:
            words = (
                f"{route}: does not take a series, since {', '.join(attributes)} can't be read: not in the character "
                "set that the data set declares, or not of the attribute's value representation"
            )
            self._tell_once(study, f"{route}: {attributes}", "study.undecided", words)

    def _tell_once(
        self, study: Study, what: str, kind: events.EventKind, message: str, severity: events.Severity = "warning"
    ) -> None:
        """Enter an event once while the study is open, whichever process looks at it, and however often."""
        if (study.study_instance_uid, what) in self._told:
            return
        self._told.add((study.study_instance_uid, what))
        with self.catalog.begin() as session:
            events.record_once(session, study, self.catalog.clock(), severity, kind, message)

    def _header(self, instance: Instance) -> Dataset:
        if instance.key not in self._headers:
            self._headers[instance.key] = self.read_header(instance.key)
        return self._headers[instance.key]

    def _unmatched(self, study_id: int, received_sequence: int, config: Config, now: datetime, left_out: str) -> int:
        keep = config.otherwise.keep
        with self.catalog.begin() as session:
            study = session.get(Study, study_id)
            if study is None:
                return 0
            if studies.is_unmatched_only(session, study):
                expires_at, becomes = now if keep is None else now + keep, str(config.otherwise)
            else:
                expires_at, becomes = None, "kept as retention says"
            words = f"no route matched: {becomes}{left_out}"
            studies.settle(session, study_id, received_sequence, words, expires_at=expires_at)
        return 0

    def _removed(self, study: Study, match: RouteMatch, grouped: Mapping[str, Sequence[Instance]]) -> str:
        """What a match would need of that which retention has removed and nobody has sent again; '' for nothing.

        A job on what came late would answer of a part, and its results would replace those of the whole.
        """
        with self.catalog.read() as session:
            gone = removal.missing(session, study.id, grouped)
            needed = set(match.series)
            for before in revisions.series_in_force(session, study.id, match.route.name) if gone else ():
                needed |= set(before) if revisions.share_series(before, match.series) else set()
        lost = sorted(needed & set(gone))
        if not lost:
            return ""
        return (
            f"{sum(gone[uid] for uid in lost)} instances of series {', '.join(lost)} were removed (retention) before "
            "more of the study came; send the whole study again"
        )

    def _skipped(self, study: Study, route: Route, words: str) -> None:
        what = f"{route.name}: skipped at {study.received_sequence}"
        self._tell_once(study, what, "study.skipped", f"{route.name}: {words}; not processed")

    def _create(self, study_id: int, match: RouteMatch, taken: Mapping[str, Sequence[Instance]], words: str) -> int:
        created, route = 0, match.route
        packages = [self.resolve_package(str(package)) for package in match.packages]
        with self.catalog.begin() as session:
            study = session.get(Study, study_id)
            if study is None:
                return 0
            for package in packages:
                job = jobs.create(
                    session,
                    study=study,
                    route=route.name,
                    package=package,
                    instances=taken,
                    priority=jobs.PRIORITIES[route.priority],
                    now=self.catalog.clock(),
                    beside=packages,
                )
                if job is not None:
                    created += 1
                    text = f"{route.name}: {package}, revision {job.revision}: {words}"
                    events.record(
                        session, job.created_at, "info", "job.created", text, study=study.study_instance_uid, job=job.id
                    )
        return created

    def _event(
        self, session: Session, study: Study, severity: events.Severity, kind: events.EventKind, message: str
    ) -> None:
        events.record(session, self.catalog.clock(), severity, kind, message, study=study.study_instance_uid)


def _arrivals(
    study: Study,
    route: Route,
    grouped: Mapping[str, Sequence[Instance]],
    taken: Mapping[str, Sequence[Instance]],
    expected: int | None,
) -> Arrivals:
    whole_study = route.complete.expect is not None and route.complete.expect.level == "study"
    counted = grouped if whole_study else taken
    return Arrivals(
        opened_at=study.opened_at,
        last_received_at=study.last_received_at,
        released_at=study.released_at,
        received=sum(len(group) for group in counted.values()),
        expected=expected,
    )
