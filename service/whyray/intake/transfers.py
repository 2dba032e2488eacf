"""What one association or request brings, for the audit trail: its studies, when the first instance of each came, and
how many in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from whyray.catalog import AuditEvent, AuditKind, AuditParticipant, AuditStudy, Outcome


@dataclass
class _Studied:
    patient: str | None
    stored: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


@dataclass
class IncomingTransfer:
    """Instances on their way from one peer to WhyRay.

    Parameters
    ----------
    sender
        AE title of the peer, the holder of a token, or the name of a destination that was asked.
    address
        Where it called from; None where WhyRay called.
    called
        The AE title that it called; None by STOW-RS.
    by_dicom
        Whether `sender` is an AE title.
    """

    sender: str
    clock: Callable[[], datetime]
    address: str | None = None
    called: str | None = None
    by_dicom: bool = False
    asked: bool = False
    """Whether WhyRay asked for them."""
    _studies: dict[str, _Studied] = field(default_factory=dict)

    def first(self, study_uid: str, sop_class_uid: str, patient: str | None) -> AuditEvent | None:
        """The beginning of a study's transfer; None where it has begun before."""
        known = self._studies.setdefault(study_uid, _Studied(patient))
        if known.stored:
            return None
        return self._event("transfer.begin", study_uid, {sop_class_uid: 1}, patient)

    def stored(self, study_uid: str, sop_class_uid: str) -> None:
        """One more is durable."""
        self._studies[study_uid].stored[sop_class_uid] += 1

    def refused(self, study_uid: str, sop_class_uid: str, patient: str | None) -> None:
        """One was not taken."""
        self._studies.setdefault(study_uid, _Studied(patient)).refused[sop_class_uid] += 1

    def end(self, broken: str = "") -> list[AuditEvent]:
        """What became of each study, once; `broken`: why the association or request ended before its time."""
        studies, self._studies = self._studies, {}
        ended = []
        for uid, known in studies.items():
            if known.stored:
                outcome: Outcome = 4 if broken else 0
                ended.append(self._event("transfer", uid, known.stored, known.patient, outcome, broken))
            if known.refused:
                ended.append(self._event("transfer", uid, known.refused, known.patient, 4, "refused by WhyRay"))
        return ended

    def _event(
        self,
        kind: AuditKind,
        study_uid: str,
        instances: dict[str, int] | Counter[str],
        patient: str | None,
        outcome: Outcome = 0,
        words: str = "",
    ) -> AuditEvent:
        source = AuditParticipant(
            name=self.sender,
            requestor=not self.asked,
            role="source",
            ae_title=self.sender if self.by_dicom else None,
            address=self.address,
        )
        here = AuditParticipant(name="whyray", requestor=self.asked, role="destination", ae_title=self.called)
        return AuditEvent(
            at=self.clock(),
            kind=kind,
            outcome=outcome,
            words=words,
            participants=(source, here),
            studies=(AuditStudy(uid=study_uid, instances=dict(instances)),),
            patient=patient or "",
        )
