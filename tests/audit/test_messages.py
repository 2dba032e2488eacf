"""Audit events as DICOM audit messages: valid by the schema of PS3.15 section A.5.1, with section A.5.3's codes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from audit.receiver import checked
from whyray.audit import audit_message
from whyray.catalog import (
    AUDIT_KINDS,
    AUDITED_EVENTS,
    AuditEvent,
    AuditKind,
    AuditObject,
    AuditParticipant,
    AuditStudy,
    EventKind,
    Outcome,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA = AuditParticipant(name="ada", requestor=True, address="10.0.0.9")
PACS = AuditParticipant(name="PACS_MAIN", role="source", ae_title="PACS_MAIN", address="pacs.hospital.example")


def event(kind: AuditKind, outcome: Outcome = 0, **more: object) -> AuditEvent:
    return AuditEvent(at=NOON, kind=kind, outcome=outcome, participants=(ADA, PACS), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted(AUDIT_KINDS))
@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_every_kind_is_valid_by_the_standards_schema(kind: AuditKind, outcome: Outcome) -> None:
    study = AuditStudy(uid="1.2.3", instances={"1.2.840.10008.5.1.4.1.1.2": 3, "1.2.840.10008.5.1.4.1.1.7": 1})
    objects = tuple(
        AuditObject(kind=object_kind, name=f"a {object_kind}")
        for object_kind in ("job", "result", "reader study", "node")
    )
    full = event(
        kind, outcome, words="why & <how>", detail="admin.retry", studies=(study,), patient="P1", objects=objects
    )
    for audit_event in (full, event(kind, outcome)):
        message = checked(audit_message(audit_event, source="WHYRAY", site="Hospital"))
        identification = message.find("EventIdentification")
        code = AUDIT_KINDS[kind].event
        assert (identification.find("EventID").get("csd-code"), identification.get("EventOutcomeIndicator")) == (
            code.value,
            str(outcome),
        )


def test_a_transfer_names_both_sides_the_study_with_its_classes_and_the_patient_by_number_alone() -> None:
    study = AuditStudy(uid="1.2.3", instances={"1.2.840.10008.5.1.4.1.1.2": 3})
    message = checked(audit_message(event("transfer", studies=(study,), patient="4711"), source="WHYRAY"))
    source = message.findall("ActiveParticipant")[1]
    assert (source.get("UserID"), source.get("AlternativeUserID")) == ("PACS_MAIN", "AETITLES=PACS_MAIN")
    assert (source.get("NetworkAccessPointID"), source.get("NetworkAccessPointTypeCode")) == (
        "pacs.hospital.example",
        "1",
    )
    assert source.find("RoleIDCode").get("csd-code") == "110153"
    told, patient = message.findall("ParticipantObjectIdentification")
    assert (told.get("ParticipantObjectID"), told.find("ParticipantObjectIDTypeCode").get("csd-code")) == (
        "1.2.3",
        "110180",
    )
    assert dict(told.find("ParticipantObjectDescription/SOPClass").attrib) == {
        "UID": "1.2.840.10008.5.1.4.1.1.2",
        "NumberOfInstances": "3",
    }
    assert (patient.get("ParticipantObjectID"), patient.get("ParticipantObjectTypeCodeRole")) == ("4711", "1")
    assert patient.findtext("ParticipantObjectName") == ""


@pytest.mark.parametrize("text", ["\x00\x1b[2J", "\ud800", "<&\"'>", "名前^太郎", "\ufffe", "  two  spaces "])
def test_what_a_peer_may_write_makes_no_message_invalid(text: str) -> None:
    who = AuditParticipant(name=text, address=text, ae_title=text)
    odd = AuditEvent(at=NOON, kind="transfer", participants=(who,), patient=text, words=text)
    checked(audit_message(odd, source="WHYRAY"))


def test_every_event_that_is_audited_is_one_of_the_catalogs() -> None:
    assert set(AUDITED_EVENTS) <= set(get_args(EventKind))
    assert {kind for kind, _ in AUDITED_EVENTS.values()} <= set(get_args(AuditKind)) == set(AUDIT_KINDS)
