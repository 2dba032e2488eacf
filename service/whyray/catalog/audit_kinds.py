"""What is audited, and as which events of the DICOM audit message schema (PS3.15 sections A.5.1 and A.5.3).

What DICOM has no event for, such as a job that is queued again, has codes of the private scheme 99WHYRAY.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from whyray.catalog.event_kinds import EventKind

AuditKind = Literal[
    "account-alert",
    "alert",
    "application.start",
    "application.stop",
    "export",
    "login",
    "logout",
    "network-alert",
    "restricted",
    "steering",
    "study.deleted",
    "transfer",
    "transfer.begin",
    "view",
]
Outcome = Literal[0, 4, 8, 12]
"""Success; minor, serious and major failure (EventOutcomeIndicator)."""


class AuditCode(NamedTuple):
    """A coded value."""

    value: str
    scheme: str
    meaning: str


class AuditedAs(NamedTuple):
    """EventID, EventTypeCode (None where the event's own kind is it) and EventActionCode."""

    event: AuditCode
    type: AuditCode | None
    action: Literal["C", "R", "U", "D", "E"]
    says: str
    """When it is written, for docs/security.md."""


def _dcm(value: str, meaning: str) -> AuditCode:
    return AuditCode(value, "DCM", meaning)


OWN_SCHEME = "99WHYRAY"
_ACTIVITY = _dcm("110100", "Application Activity")
_AUTHENTICATION = _dcm("110114", "User Authentication")
_ALERT = _dcm("110113", "Security Alert")

AUDIT_KINDS: dict[AuditKind, AuditedAs] = {
    "account-alert": AuditedAs(
        _ALERT,
        _dcm("110137", "User security Attributes Changed"),
        "E",
        "an account or an API token is made, changed or removed",
    ),
    "alert": AuditedAs(
        _ALERT, _dcm("110131", "Software Configuration"), "E", "a role has taken, or refused, a changed configuration"
    ),
    "application.start": AuditedAs(_ACTIVITY, _dcm("110120", "Application Start"), "E", "a role begins to work"),
    "application.stop": AuditedAs(
        _ACTIVITY, _dcm("110121", "Application Stop"), "E", "a role ends, in good order or by an error"
    ),
    "export": AuditedAs(_dcm("110106", "Export"), None, "R", "somebody downloads a result, or cases leave in a kit"),
    "login": AuditedAs(_AUTHENTICATION, _dcm("110122", "Login"), "E", "somebody logs in, or tries to"),
    "logout": AuditedAs(_AUTHENTICATION, _dcm("110123", "Logout"), "E", "somebody logs out"),
    "network-alert": AuditedAs(
        _ALERT,
        _dcm("110126", "Node Authentication"),
        "E",
        "an association or request is refused for who it comes from, or a TLS handshake fails; once a minute a peer",
    ),
    "restricted": AuditedAs(
        _ALERT,
        _dcm("110132", "Use of Restricted Function"),
        "E",
        "somebody asks for what their role or scope may not do; once a minute for the same",
    ),
    "steering": AuditedAs(
        AuditCode("steering", OWN_SCHEME, "Work steered"),
        None,
        "E",
        "somebody retries, cancels, asks a destination, judges a result, decides which content of a study is in use, "
        "or lifts a rejection",
    ),
    "study.deleted": AuditedAs(
        _dcm("110105", "DICOM Study Deleted"), None, "D", "what was kept of a study is removed by retention"
    ),
    "transfer": AuditedAs(
        _dcm("110104", "DICOM Instances Transferred"),
        None,
        "C",
        "the end of such a transfer; one message for what went well, one for what failed",
    ),
    "transfer.begin": AuditedAs(
        _dcm("110102", "Begin Transferring DICOM Instances"),
        None,
        "E",
        "the first instance of a study in an association or request, in or out",
    ),
    "view": AuditedAs(
        _dcm("110103", "DICOM Instances Accessed"), None, "R", "somebody is given a picture of a result or of a case"
    ),
}

AUDITED_EVENTS: dict[EventKind, tuple[AuditKind, Outcome]] = {
    "account.added": ("account-alert", 0),
    "account.password": ("account-alert", 0),
    "account.removed": ("account-alert", 0),
    "account.role": ("account-alert", 0),
    "account.token-added": ("account-alert", 0),
    "account.token-revoked": ("account-alert", 0),
    "admin.cancel": ("steering", 0),
    "admin.echo": ("steering", 0),
    "admin.login": ("login", 0),
    "admin.login-failed": ("login", 4),
    "admin.logout": ("logout", 0),
    "admin.refused": ("restricted", 4),
    "admin.retry": ("steering", 0),
    "config.refused": ("alert", 4),
    "config.reloaded": ("alert", 0),
    "content.kept": ("steering", 0),
    "content.used": ("steering", 0),
    "feedback.accept": ("steering", 0),
    "feedback.reject": ("steering", 0),
    "feedback.taken-back": ("steering", 0),
    "instance.rejected": ("steering", 0),
    "intake.rejected": ("network-alert", 4),
    "rejection.lifted": ("steering", 0),
    "role.ended": ("application.stop", 8),
    "study.closed": ("steering", 0),
    "study.imported": ("steering", 0),
    "study.opened": ("steering", 0),
}
"""Events that are audited as they are recorded. Bulk actions are not among them: each of what they move is."""
