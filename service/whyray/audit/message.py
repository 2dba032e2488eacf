"""Audit events as DICOM audit messages: PS3.15 section A.5, which is RFC 3881's form with DICOM's codes."""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC
from xml.etree.ElementTree import Element, SubElement, tostring  # nosec B405  # XML is written here, none is read

from whyray.catalog import (
    AUDIT_KINDS,
    OWN_SCHEME,
    AuditCode,
    AuditEvent,
    AuditObject,
    AuditParticipant,
    AuditStudy,
)

_ROLES = {
    "application": AuditCode("110150", "DCM", "Application"),
    "launcher": AuditCode("110151", "DCM", "Application Launcher"),
    "destination": AuditCode("110152", "DCM", "Destination Role ID"),
    "source": AuditCode("110153", "DCM", "Source Role ID"),
}
_STUDY = AuditCode("110180", "DCM", "Study Instance UID")
_NODE = AuditCode("110182", "DCM", "Node ID")
_PATIENT = AuditCode("2", "RFC-3881", "Patient Number")
_OBJECTS = {
    "job": (AuditCode("job", OWN_SCHEME, "Job"), "20"),
    "result": (AuditCode("result", OWN_SCHEME, "SOP Instance UID of a result"), "3"),
    "reader study": (AuditCode("reader-study", OWN_SCHEME, "Reader study"), "3"),
    "node": (_NODE, "13"),
}
"""By kind: what identifies it, and its role (PS3.15 table A.5.1.2.2)."""
_SYSTEM_OBJECT, _PERSON, _PATIENT_ROLE, _REPORT, _RESOURCE = "2", "1", "1", "3", "13"
_APPLICATION_SERVER = "4"


def audit_message(event: AuditEvent, *, source: str, site: str | None = None) -> bytes:
    """The message as UTF-8 XML without a declaration.

    Parameters
    ----------
    source, site
        Audit Source ID and Audit Enterprise Site ID.
    """
    message = Element("AuditMessage")
    _identify(message, event)
    for participant in event.participants:
        _participant(message, participant)
    told = SubElement(message, "AuditSourceIdentification", _given(AuditEnterpriseSiteID=site, AuditSourceID=source))
    SubElement(told, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    for study in event.studies:
        _study(message, study)
    if event.patient is not None:
        patient = _object(message, _PATIENT, event.patient, _PERSON, _PATIENT_ROLE)
        SubElement(patient, "ParticipantObjectName")  # nobody's name is kept
    for audit_object in event.objects:
        _other(message, audit_object)
    if event.kind in ("account-alert", "alert", "network-alert"):
        _alert(message, event)
    written: bytes = tostring(message, encoding="utf-8", xml_declaration=False)
    return written


def _identify(message: Element, event: AuditEvent) -> None:
    known = AUDIT_KINDS[event.kind]
    at = event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    identification = SubElement(
        message,
        "EventIdentification",
        {"EventActionCode": known.action, "EventDateTime": at, "EventOutcomeIndicator": str(event.outcome)},
    )
    _code(identification, "EventID", known.event)
    kind = known.type
    if kind is None and event.detail is not None:
        kind = AuditCode(event.detail, OWN_SCHEME, event.detail)
    if kind is not None:
        _code(identification, "EventTypeCode", kind)
    if event.words:
        SubElement(identification, "EventOutcomeDescription").text = _xml_text(event.words)


def _participant(message: Element, participant: AuditParticipant) -> None:
    alternative = participant.process
    if participant.ae_title:
        alternative = f"AETITLES={participant.ae_title}"  # PS3.15 section A.5.2.2
    address = participant.address
    element = SubElement(
        message,
        "ActiveParticipant",
        _given(
            UserID=participant.name,
            AlternativeUserID=alternative,
            UserIsRequestor="true" if participant.requestor else "false",
            NetworkAccessPointID=address,
            NetworkAccessPointTypeCode=None if address is None else _kind_of_address(address),
        ),
    )
    if participant.role is not None:
        _code(element, "RoleIDCode", _ROLES[participant.role])


def _kind_of_address(address: str) -> str:
    """By PS3.15 section A.5.1.1: 1 a machine's name, 2 an IP address, 5 a URI."""
    if "://" in address:
        return "5"
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "1"
    return "2"


def _study(message: Element, study: AuditStudy) -> None:
    element = _object(message, _STUDY, study.uid, _SYSTEM_OBJECT, _REPORT)
    SubElement(element, "ParticipantObjectName").text = study.uid
    if study.instances:
        described = SubElement(element, "ParticipantObjectDescription")
        for uid, count in sorted(study.instances.items()):
            SubElement(described, "SOPClass", {"UID": uid, "NumberOfInstances": str(count)})


def _other(message: Element, named: AuditObject) -> None:
    code, role = _OBJECTS[named.kind]
    element = _object(message, code, named.name, _SYSTEM_OBJECT, role)
    SubElement(element, "ParticipantObjectName").text = _xml_text(named.name)


def _alert(message: Element, event: AuditEvent) -> None:
    """The subject of an alert: the node, with the alert's description (PS3.15 table A.5.3.11-1)."""
    subject = next((participant.address for participant in event.participants if participant.address), "whyray")
    element = _object(message, _NODE, subject, _SYSTEM_OBJECT, _RESOURCE)
    SubElement(element, "ParticipantObjectName").text = subject
    value = base64.b64encode(event.words.encode()).decode("ascii")
    SubElement(element, "ParticipantObjectDetail", {"type": "Alert Description", "value": value})


def _object(message: Element, kind: AuditCode, name: str, type_code: str, role: str) -> Element:
    element = SubElement(
        message,
        "ParticipantObjectIdentification",
        {
            "ParticipantObjectID": _xml_text(name),
            "ParticipantObjectTypeCode": type_code,
            "ParticipantObjectTypeCodeRole": role,
        },
    )
    _code(element, "ParticipantObjectIDTypeCode", kind)
    return element


def _code(parent: Element, name: str, code: AuditCode) -> None:
    SubElement(parent, name, {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning})


def _given(**attributes: str | None) -> dict[str, str]:
    return {name: _xml_text(value) for name, value in attributes.items() if value is not None}


def _xml_text(text: str) -> str:
    """Less the characters that no XML 1.0 document can hold: a peer's AE title or a file's header may have any."""
    return "".join(
        character
        if character in "\t\n\r"
        or " " <= character <= "\ud7ff"
        or "\ue000" <= character <= "\ufffd"
        or character > "\uffff"
        else "\ufffd"
        for character in text
    )
