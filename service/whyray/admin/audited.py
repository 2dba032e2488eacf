"""Who is given which pictures and files, for the audit trail."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from whyray.admin.backend import Backend
from whyray.admin.guard import address_of
from whyray.admin.identity import Identity
from whyray.base.errors import NotFound
from whyray.base.patient_identity import patient_id_of
from whyray.catalog import AuditEvent, AuditKind, AuditObject, AuditParticipant, AuditStudy, ResultRow, audit


def requester_of(request: Request) -> AuditParticipant:
    """Whoever asks, as the gate in front of the endpoint has let them in: the one place that audits take it from."""
    identity: Identity = request.state.identity
    return AuditParticipant(name=identity.name, requestor=True, address=address_of(request))


Requester = Annotated[AuditParticipant, Depends(requester_of)]


def given_result(
    session: Session, backend: Backend, who: AuditParticipant, row: ResultRow, kind: AuditKind, words: str
) -> None:
    """Enter that somebody was given a result: its picture ('view'), or its file ('export')."""
    patient = ""
    with suppress(NotFound), backend.store.open(row.key) as file:  # a picture may be there without its object
        patient = patient_id_of(file)
    event = AuditEvent(
        at=backend.catalog.clock(),
        kind=kind,
        words=words,
        participants=(who, _SERVER),
        studies=(AuditStudy(uid=row.job.study.study_instance_uid, instances={row.sop_class_uid: 1}),),
        patient=patient,
        objects=(AuditObject(kind="result", name=row.sop_instance_uid),),
    )
    audit.record(session, event)


def given_case(session: Session, backend: Backend, who: AuditParticipant, study: str, picture: str) -> None:
    """Enter that a reader was given a picture of a reader study, in which no patient is named."""
    event = AuditEvent(
        at=backend.catalog.clock(),
        kind="view",
        words=f"picture {picture} of a reader study",
        participants=(who, _SERVER),
        objects=(AuditObject(kind="reader study", name=study),),
    )
    audit.record(session, event)


_SERVER = AuditParticipant(name="whyray admin")
