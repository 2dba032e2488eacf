"""Events: what happened, for operators and auditors. No message names a person."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Literal

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from whyray.catalog import audit
from whyray.catalog.audit_kinds import AUDITED_EVENTS
from whyray.catalog.event_kinds import EventKind as EventKind
from whyray.catalog.tables import Event, Study

Severity = Literal["info", "warning", "error"]

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_log = logging.getLogger("whyray.events")


def record(
    session: Session,
    at: datetime,
    severity: Severity,
    kind: EventKind,
    message: str,
    *,
    actor: str = "whyray",
    study: str | None = None,
    job: str | None = None,
) -> Event:
    """Add one event to the running transaction and to the log; one that is audited, to the audit trail too.

    The log names the job, for its lines stand alone.

    Parameters
    ----------
    kind
        One of those that docs/states-events-metrics.md lists.
    actor
        Who did it: 'whyray', or the administrator's log-in name.
    """
    event = Event(
        at=at, severity=severity, kind=kind, actor=actor, study_instance_uid=study, job_id=job, message=message
    )
    session.add(event)
    audited = AUDITED_EVENTS.get(kind)
    if audited is not None:
        objects = () if job is None else (audit.AuditObject(kind="job", name=job),)
        who = audit.AuditParticipant(name=actor, requestor=True, address=audit.acting_from.get())
        audit.record(
            session,
            audit.AuditEvent(
                at=at,
                kind=audited[0],
                outcome=audited[1],
                words=message,
                detail=kind,
                participants=(who,),
                studies=() if study is None else (audit.AuditStudy(uid=study),),
                objects=objects,
            ),
        )
    whose = "" if job is None or job in message else f"job {job}: "
    _log.log(_LEVELS[severity], "%s: %s%s", kind, whose, message)
    return event


def record_once(
    session: Session, study: Study, at: datetime, severity: Severity, kind: EventKind, message: str
) -> None:
    """Add an event of a study, unless the same was told since the study was opened."""
    told = exists().where(
        Event.study_instance_uid == study.study_instance_uid,
        Event.kind == kind,
        Event.message == message,
        Event.at >= study.opened_at,
    )
    if not session.scalar(select(told)):
        record(session, at, severity, kind, message, study=study.study_instance_uid)


def recent(
    session: Session, *, limit: int = 100, kind: str | None = None, study: str | None = None, job: str | None = None
) -> list[Event]:
    """The newest events first."""
    query = select(Event).order_by(Event.id.desc()).limit(limit)
    if kind is not None:
        query = query.where(Event.kind == kind)
    if study is not None:
        query = query.where(Event.study_instance_uid == study)
    if job is not None:
        query = query.where(Event.job_id == job)
    return list(session.scalars(query))


def last_id(session: Session) -> int:
    """The number of the newest event; 0 where there is none. Numbers go up, whatever the clock says."""
    return session.scalar(select(func.max(Event.id))) or 0


def first_of_job(session: Session, job_id: str, kind: EventKind) -> int | None:
    """The number of the first event of a kind that names this job; None where none does, or none any more."""
    return session.scalar(select(func.min(Event.id)).where(Event.job_id == job_id, Event.kind == kind))
