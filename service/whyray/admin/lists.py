"""The lists of the admin endpoint with their filters, each as streams of an index: see `listing`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session, defer, joinedload

from whyray.admin import queries
from whyray.admin.listing import Listing, Stream, streams_of, values_of
from whyray.catalog import (
    Delivery,
    DeliveryState,
    Event,
    Feedback,
    Job,
    JobDestination,
    JobState,
    ResultRow,
    Study,
    StudyState,
    stuck,
    studies,
    study_states,
    tallies,
)

_FEW = 5000
"""Up to so many jobs, their studies are looked up and sorted; of more, one is soon found among the newest studies."""
_MOST_LOOKED_UP = 1000
"""How far rows are counted where other tables are asked about each."""
_COMMON = 20
"""What is at least every so manieth row is soon found among the newest."""
_MANY = 64
"""More streams than this take longer than to look for what is common among the newest."""
_JOB_FACETS = (Job.route, Job.package, Job.state)
_DELIVERY_FACETS = (Delivery.destination, Delivery.route, Delivery.state)
_RESULT_FACETS = (ResultRow.kind, ResultRow.finding, ResultRow.grade, ResultRow.superseded)
_EVENT_FACETS = (Event.kind, Event.severity, Event.actor)
_STUCK_JOBS = (JobState.FAILED, JobState.WAITING)
_STUCK_DELIVERIES = (DeliveryState.FAILED, DeliveryState.WAITING)
_WITHOUT_FINDINGS = (defer(Job.findings, raiseload=True), defer(Job.no_statement, raiseload=True))
_OF_RESULT = joinedload(ResultRow.job).options(joinedload(Job.study), *_WITHOUT_FINDINGS)


def _is(value: str | None) -> Callable[[Any], object] | None:
    return None if value is None else (lambda facet: facet == value)


def _in(values: Sequence[str]) -> Callable[[Any], object] | None:
    return (lambda facet: facet in values) if values else None


def study_list(session: Session, *, uid: str | None, state: Sequence[StudyState], oldest_first: bool) -> Listing[Study]:
    """Studies with `uid` in their UID, as far as `studies.of_uid` finds it, in one of the states."""
    listing = Listing(Study, (Study.last_received_at, Study.id), (Stream(),), newest_first=not oldest_first)
    # what most studies are in comes first: where rows are counted, enough are soon found there
    states = sorted(dict.fromkeys(state), key=lambda study_state: study_state != "done")
    if uid:
        of_uid = [Stream(conditions) for conditions in studies.of_uid(session, uid)]
        if states:
            of_uid = [stream.but(study_states.is_in(study_state)) for stream in of_uid for study_state in states]
        return replace(listing, streams=tuple(of_uid), most_counted=_MOST_LOOKED_UP)
    if not states:
        return replace(listing, total=_number(session, "studies"))
    streams = tuple(_of_state(session, study_state) for study_state in states)
    total = sum(_number_in(session, study_state) for study_state in states) if "done" not in states else None
    return replace(listing, streams=streams, total=total, most_counted=_MOST_LOOKED_UP)


def _number_in(session: Session, state: StudyState) -> int:
    if state in study_states.RARE:
        return study_states.number_of_rare(session, state)
    # has no jobs, or has instances that routing has not dealt with
    wanted = (lambda row: row[1]) if state == "receiving" else (lambda row: not row[0] and not row[1])
    return sum(row.number for row in tallies.counted(session, "studies") if wanted(row.facets))


def _of_state(session: Session, state: StudyState) -> Stream:
    if state == "receiving":
        return Stream((study_states.is_in(state),))
    if state == "unrouted":
        return Stream((Study.has_jobs.is_(False), Study.received_sequence <= Study.routed_sequence))
    of_jobs = study_states.RARE.get(state, (JobState.DONE,))
    number = sum(row.number for row in tallies.counted(session, "jobs") if row.facets[2] in of_jobs)
    rare = state in study_states.RARE and number <= _FEW
    return Stream((study_states.is_in_rare(state) if rare else study_states.is_in(state),))


def job_list(
    session: Session,
    *,
    state: Sequence[JobState],
    route: str | None,
    package: str | None,
    destination: str | None,
    error: str | None,
    study_uid: str | None,
    oldest_first: bool,
) -> Listing[Job]:
    """Jobs with their studies, and without their findings."""
    listing = Listing(
        Job,
        (Job.created_at, Job.id),
        (Stream(),),
        newest_first=not oldest_first,
        options=(joinedload(Job.study), *_WITHOUT_FINDINGS),
    )
    if study_uid is not None:
        chosen = queries.job_filters(
            state=state, route=route, package=package, destination=destination, error_code=error
        )
        return replace(listing, streams=(Stream((Job.study_id == _study_id(session, study_uid), *chosen)),))
    if error is not None:
        chosen = queries.job_filters(package=package, destination=destination)
        states = [job_state for job_state in _STUCK_JOBS if not state or job_state in state]
        places = {row.facets[0] for row in tallies.counted(session, "jobs") if route in (None, row.facets[0])}
        streams = _of_error(Job.state, Job.route, Job.error_code, states, places, error)
        return replace(listing, streams=tuple(stream.but(*chosen) for stream in streams))
    if not state and destination is route is package is None:
        return replace(listing, total=_number(session, "jobs"))
    of_package = None if package is None else (lambda name: name == package or name.startswith(f"{package}@"))
    if destination is None:
        values, total = values_of(session, "jobs", len(_JOB_FACETS), _is(route), of_package, _in(state))
        return replace(listing, streams=streams_of(_JOB_FACETS, values), total=total)
    of_destination = JobDestination.destination == destination
    if not state and route is package is None:
        # read from the list of the destination's own jobs, whose columns sort it as those of jobs would
        streams = (Stream((of_destination,), (JobDestination.destination,)),)
        return replace(listing, streams=streams, read_by=(JobDestination.created_at, JobDestination.job_id))
    newest = session.scalar(select(func.max(JobDestination.created_at)).where(of_destination))
    if newest is None:
        return replace(listing, streams=(), total=0)
    values, _ = values_of(session, "jobs", len(_JOB_FACETS), _is(route), of_package, _in(state))
    # all that were created since the last one that has a result for it are passed over at once
    has_sent = (Job.created_at <= newest, _has_sent(destination))
    streams = tuple(stream.but(*has_sent) for stream in streams_of(_JOB_FACETS, values))
    return replace(listing, streams=streams, most_counted=_MOST_LOOKED_UP)


def _of_error(
    state: InstrumentedAttribute[Any],
    place: InstrumentedAttribute[Any],
    code: InstrumentedAttribute[Any],
    states: Sequence[JobState | DeliveryState],
    places: Iterable[str],
    error: str,
) -> tuple[Stream, ...]:
    """What is stuck by an error, as the indexes of what is stuck have it."""
    return tuple(
        Stream((stuck.is_in(state, stuck_state), place == name, code == error), (state, place, code))
        for stuck_state in states
        for name in sorted(places)
    )


def _has_sent(destination: str) -> ColumnElement[bool]:
    """Whether a job has a result for this destination: looked up job by job, until there are enough.

    A plain EXISTS may be answered by reading all jobs of the destination first, of which there may be a million.
    """
    sent = (JobDestination.job_id == Job.id, JobDestination.destination == destination)
    return select(literal(1)).where(*sent).limit(1).correlate(Job).scalar_subquery().is_not(None)


def delivery_list(
    session: Session,
    *,
    state: Sequence[DeliveryState],
    destination: str | None,
    route: str | None,
    error: str | None,
    study_uid: str | None,
) -> Listing[Delivery]:
    """Deliveries with their results, newest first."""
    listing = Listing(
        Delivery,
        (Delivery.created_at, Delivery.result_id, Delivery.destination),
        (Stream(),),
        options=(joinedload(Delivery.result).options(_OF_RESULT),),
    )
    if study_uid is not None:
        chosen = queries.delivery_filters(state=state, destination=destination, route=route, error_code=error)
        of_study = select(ResultRow.id).join(Job).where(Job.study_id == _study_id(session, study_uid))
        return replace(listing, streams=(Stream((Delivery.result_id.in_(session.scalars(of_study).all()), *chosen)),))
    if error is not None:
        states = [delivery_state for delivery_state in _STUCK_DELIVERIES if not state or delivery_state in state]
        counted = tallies.counted(session, "deliveries")
        places = {row.facets[0] for row in counted if destination in (None, row.facets[0])}
        streams = _of_error(Delivery.state, Delivery.destination, Delivery.error_code, states, places, error)
        chosen = queries.delivery_filters(route=route)
        return replace(listing, streams=tuple(stream.but(*chosen) for stream in streams))
    if not state and destination is route is None:
        return replace(listing, total=_number(session, "deliveries"))
    tests = (_is(destination), _is(route), _in(state))
    values, total = values_of(session, "deliveries", len(_DELIVERY_FACETS), *tests)
    return replace(listing, streams=streams_of(_DELIVERY_FACETS, values), total=total)


def result_list(
    session: Session,
    *,
    study_uid: str | None,
    finding: str | None,
    kind: str | None,
    grade: str | None,
    pictured: bool | None,
    superseded: bool,
) -> Listing[ResultRow]:
    """Results with their jobs, newest first."""
    listing = Listing(ResultRow, (ResultRow.id,), (Stream(),), options=(_OF_RESULT,))
    marks: list[ColumnElement[bool]] = []
    if pictured is not None:
        marks.append(ResultRow.picture_key.is_not(None) if pictured else ResultRow.picture_key.is_(None))
    wanted = ((ResultRow.finding, finding), (ResultRow.kind, kind), (ResultRow.grade, grade))
    chosen = [*marks, *(column == value for column, value in wanted if value is not None)]
    if not superseded:
        chosen.append(ResultRow.superseded.is_(False))
    if study_uid is not None:
        of_study = session.scalars(select(Job.id).where(Job.study_id == _study_id(session, study_uid))).all()
        return replace(listing, streams=(Stream((ResultRow.job_id.in_(of_study), *chosen)),))
    tests = (
        _is(kind),
        _is(finding),
        _is(grade),
        None if superseded else (lambda value: not value),
        None if pictured is None else (lambda value: bool(value) is pictured),
    )
    values, total = values_of(session, "results", len(_RESULT_FACETS), *tests)
    most = 0 if kind is finding is grade is None else _MANY
    if _soon_found(session, "results", len(values), total, most):
        return replace(listing, streams=(Stream(tuple(chosen)),), total=total)
    streams = tuple(stream.but(*marks) for stream in streams_of(_RESULT_FACETS, values))
    return replace(listing, streams=streams, total=total)


def event_list(
    session: Session,
    *,
    kind: str | None,
    severity: Sequence[str],
    actor: str | None,
    study_uid: str | None,
    job_id: str | None,
) -> Listing[Event]:
    """Events, newest first; `kind` may be a prefix that ends at a dot."""
    listing = Listing(Event, (Event.id,), (Stream(),))
    chosen = _event_filters(kind, severity, actor)
    if study_uid is not None or job_id is not None:
        if study_uid is not None:
            chosen.append(Event.study_instance_uid == study_uid)
        if job_id is not None:
            chosen.append(Event.job_id == job_id)
        return replace(listing, streams=(Stream(tuple(chosen)),))
    if kind is actor is None and not severity:
        return replace(listing, total=_number(session, "events"))
    of_kind = None if kind is None else (lambda name: name == kind or name.startswith(f"{kind}."))
    values, total = values_of(session, "events", len(_EVENT_FACETS), of_kind, _in(severity), _is(actor))
    if _soon_found(session, "events", len(values), total, _MANY):
        return replace(listing, streams=(Stream(tuple(chosen)),), total=total)
    return replace(listing, streams=streams_of(_EVENT_FACETS, values), total=total)


def _event_filters(kind: str | None, severity: Sequence[str], actor: str | None) -> list[ColumnElement[bool]]:
    chosen: list[ColumnElement[bool]] = []
    if kind is not None:
        chosen.append((Event.kind == kind) | Event.kind.startswith(f"{kind}.", autoescape=True))
    if severity:
        chosen.append(Event.severity.in_(severity))
    if actor is not None:
        chosen.append(Event.actor == actor)
    return chosen


def verdict_list(conditions: Sequence[ColumnElement[bool]]) -> Listing[Feedback]:
    """Verdicts that meet these conditions, newest first."""
    return Listing(Feedback, (Feedback.at, Feedback.id), (Stream(tuple(conditions)),))


def _soon_found(session: Session, relation: tallies.Relation, streams: int, total: int, most: int) -> bool:
    """Whether to read the whole list, of which most that is read is wanted, and not more than `most` streams."""
    return streams > most and total > 0 and total * _COMMON >= _number(session, relation)


def _number(session: Session, relation: tallies.Relation) -> int:
    return sum(row.number for row in tallies.counted(session, relation))


def _study_id(session: Session, uid: str) -> int | None:
    return session.scalar(select(Study.id).where(Study.study_instance_uid == uid))
