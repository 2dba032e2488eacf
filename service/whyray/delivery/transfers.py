"""What one association or request takes to a destination, for the audit trail."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from sqlalchemy.exc import SQLAlchemyError

from whyray.base.failures import logged
from whyray.catalog import AuditEvent, AuditKind, AuditParticipant, AuditStudy, Catalog, Outcome, audit
from whyray.config import Destination, DicomDestination
from whyray.delivery.association import Caller
from whyray.delivery.outgoing import Outcome as Sent
from whyray.delivery.outgoing import Outgoing

_log = logging.getLogger("whyray.delivery")


@dataclass
class _Studied:
    patient: str
    begun: dict[str, str] = field(default_factory=dict)
    """Ticket → SOP class of what is under way, or was when the association broke."""
    stored: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


class OutgoingTransfer:
    """Results on their way to one destination. A trail that can't be written holds up none of them."""

    def __init__(self, catalog: Catalog, name: str, destination: Destination, caller: Caller) -> None:
        self._catalog = catalog
        title = caller.title_for(destination) if isinstance(destination, DicomDestination) else None
        self._here = AuditParticipant(name="whyray", requestor=True, role="source", ae_title=title)
        if isinstance(destination, DicomDestination):
            there, address = destination.ae_title, destination.host
        else:
            there, address = None, destination.url
        self._there = AuditParticipant(name=name, role="destination", ae_title=there, address=address)
        self._studies: dict[str, _Studied] = {}
        self._study_of: dict[str, str] = {}
        self._whose_job: dict[str, tuple[str, str]] = {}

    def begins(self, file: Outgoing, job_id: str) -> None:
        """It is about to be sent; the first of a study is audited. The results of a job are of one study."""
        if job_id not in self._whose_job:
            self._whose_job[job_id] = _whose(file.path)
        study_uid, patient = self._whose_job[job_id]
        known = self._studies.get(study_uid)
        if known is None:
            known = self._studies[study_uid] = _Studied(patient)
            self._append([self._event("transfer.begin", study_uid, {file.sop_class_uid: 1}, patient)])
        known.begun[file.ticket] = file.sop_class_uid
        self._study_of[file.ticket] = study_uid

    def ended(self, sent: Sent) -> None:
        """The peer has answered, or never will."""
        study_uid = self._study_of.get(sent.file.ticket)
        if study_uid is None:
            return
        known = self._studies[study_uid]
        sop_class = known.begun.pop(sent.file.ticket, None)
        if sop_class is not None:
            (known.stored if sent.stored else known.failed)[sop_class] += 1

    def end(self) -> None:
        """The association or request is over: audit what became of each study."""
        studies, self._studies, self._study_of = self._studies, {}, {}
        events = []
        for uid, known in studies.items():
            known.failed.update(known.begun.values())
            if known.stored:
                events.append(self._event("transfer", uid, known.stored, known.patient))
            if known.failed:
                events.append(self._event("transfer", uid, known.failed, known.patient, 4, "not taken by the peer"))
        self._append(events)

    def _append(self, events: Sequence[AuditEvent]) -> None:
        if not events:
            return
        try:
            with self._catalog.begin() as session:
                for event in events:
                    audit.record(session, event)
        except SQLAlchemyError as error:
            logged(_log, error, "a transfer could not be audited")

    def _event(
        self,
        kind: AuditKind,
        study_uid: str,
        instances: dict[str, int] | Counter[str],
        patient: str,
        outcome: Outcome = 0,
        words: str = "",
    ) -> AuditEvent:
        return AuditEvent(
            at=self._catalog.clock(),
            kind=kind,
            outcome=outcome,
            words=words,
            participants=(self._here, self._there),
            studies=(AuditStudy(uid=study_uid, instances=dict(instances)),),
            patient=patient,
        )


def _whose(path: Path) -> tuple[str, str]:
    """Study Instance UID and Patient ID of a file; empty where they can't be read: then it can't be sent either."""
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "PatientID"])
    except Exception:  # pydicom raises what it likes on nonsense
        return "", ""
    return str(header.get("StudyInstanceUID") or ""), str(header.get("PatientID") or "").strip()
