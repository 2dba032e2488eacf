"""What a peer's answers mean for a delivery: C-STORE statuses, failure reasons, rejections of associations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from whyray.base.errors import PeerBusy, PeerRefused, WhyRayError


class Verdict(StrEnum):
    """What follows from a status."""

    STORED = "stored"
    WARNING = "stored, with a warning"
    BUSY = "not now: tried again"
    REFUSED = "refused: not tried again"


@dataclass(frozen=True)
class Meaning:
    """The statuses from `first` to `last`, both included; `source` is where the standard gives them their meaning."""

    first: int
    last: int
    verdict: Verdict
    words: str
    source: str


_STORAGE, _GENERAL, _STOW = "PS3.4 table B.2-1", "PS3.7 annex C", "PS3.18 table I.2-2"
S, W, B, R = Verdict.STORED, Verdict.WARNING, Verdict.BUSY, Verdict.REFUSED

STATUSES: tuple[Meaning, ...] = (
    Meaning(0x0000, 0x0000, S, "Success", _STORAGE),
    Meaning(0x0001, 0x0001, W, "Warning: some attributes were not taken", _GENERAL),
    Meaning(0x0105, 0x0105, R, "No such attribute", _GENERAL),
    Meaning(0x0106, 0x0106, R, "Invalid attribute value", _GENERAL),
    Meaning(0x0107, 0x0107, W, "Warning: attribute list error", _GENERAL),
    # several archives answer 0110 when their database was busy, so that a second try is worth it
    Meaning(0x0110, 0x0110, B, "Processing failure", _GENERAL),
    # a result's UID is made from its content: what is there already is what was to be stored
    Meaning(0x0111, 0x0111, W, "Duplicate SOP Instance: it is there already", _GENERAL),
    Meaning(0x0112, 0x0112, R, "No such SOP Instance", _GENERAL),
    Meaning(0x0113, 0x0113, R, "No such event type", _GENERAL),
    Meaning(0x0114, 0x0114, R, "No such argument", _GENERAL),
    Meaning(0x0115, 0x0115, R, "Invalid argument value", _GENERAL),
    Meaning(0x0116, 0x0116, W, "Warning: attribute value out of range", _GENERAL),
    Meaning(0x0117, 0x0117, R, "Invalid SOP Instance", _GENERAL),
    Meaning(0x0118, 0x0118, R, "No such SOP Class", _GENERAL),
    Meaning(0x0119, 0x0119, R, "Class-instance conflict", _GENERAL),
    Meaning(0x0120, 0x0120, R, "Missing attribute", _GENERAL),
    Meaning(0x0121, 0x0121, R, "Missing attribute value", _GENERAL),
    Meaning(0x0122, 0x0122, R, "SOP Class not supported", _GENERAL),
    Meaning(0x0123, 0x0123, R, "No such action", _GENERAL),
    Meaning(0x0124, 0x0124, R, "Not authorised", _GENERAL),
    Meaning(0x0131, 0x0131, B, "Duplicate transaction UID", "PS3.3 table C.14-1"),
    Meaning(0x0210, 0x0210, R, "Duplicate invocation", _GENERAL),
    Meaning(0x0211, 0x0211, R, "Unrecognised operation", _GENERAL),
    Meaning(0x0212, 0x0212, R, "Mistyped argument", _GENERAL),
    Meaning(0x0213, 0x0213, B, "Resource limitation", _GENERAL),
    Meaning(0xA700, 0xA7FF, B, "Refused: out of resources", _STORAGE),
    Meaning(0xA800, 0xA8FF, R, "Refused: SOP Class not supported", "PS3.4 table B.2-1, retired"),
    Meaning(0xA900, 0xA9FF, R, "Error: data set does not match SOP Class", _STORAGE),
    Meaning(0xB000, 0xB000, W, "Warning: coercion of data elements", _STORAGE),
    Meaning(0xB006, 0xB006, W, "Warning: elements discarded", _STORAGE),
    Meaning(0xB007, 0xB007, W, "Warning: data set does not match SOP Class", _STORAGE),
    Meaning(0xB001, 0xBFFF, W, "Warning of the peer's own", _GENERAL),
    Meaning(0xC122, 0xC122, R, "Error: transfer syntax not supported", _STOW),
    Meaning(0xC000, 0xCFFF, R, "Error: cannot understand", _STORAGE),
    Meaning(0xFE00, 0xFE00, B, "Cancelled by the peer", _GENERAL),
)
"""The first that fits counts. Anything else is refused: an undefined status is no promise to keep an object."""

_IN_SERVICE = {0x0122: "Or leave it out of the route's `as`."}

_UNKNOWN = "a status that the standard does not define"

_ADVICE = {
    0x0122: "Ask the peer's administrator to enable this SOP Class for WhyRay.",
    0xA900: "The peer does not take this object as it is: its log says what it misses.",
    0xC000: "The peer does not take this object as it is: its log says what it misses.",
    0x0117: "The peer does not take this object as it is: its log says what it misses.",
    0x0124: "Ask the peer's administrator to let WhyRay's AE title store there; then retry.",
    0xC122: "Give the destination `transfer_syntaxes` that the peer takes; then retry.",
}


def meaning(status: int) -> Meaning:
    """What a C-STORE status, or a failure reason of STOW-RS or storage commitment, stands for."""
    for known in STATUSES:
        if known.first <= status <= known.last:
            return known
    return Meaning(status, status, Verdict.REFUSED, _UNKNOWN, "none")


def describe(status: int, comment: str = "") -> str:
    """The status for people: '0xA700 Refused: out of resources (disk full)'."""
    return f"0x{status:04X} {meaning(status).words}" + (f" ({comment})" if comment else "")


def error_of(
    status: int, sop_instance_uid: str, peer: str, comment: str = "", *, not_within: timedelta | None = None
) -> WhyRayError | None:
    """The error that a status amounts to; None if the object is stored."""
    verdict = meaning(status).verdict
    if verdict in (Verdict.STORED, Verdict.WARNING):
        return None
    message = f"{peer} answered {describe(status, comment)} to {sop_instance_uid}"
    if verdict is Verdict.BUSY:
        return PeerBusy(message, not_within=not_within)
    known = next((code for code in (status, status & 0xFF00, status & 0xF000) if code in _ADVICE), None)
    return PeerRefused(message, advice=_ADVICE.get(known or 0), in_service=_IN_SERVICE.get(status))


_REJECTIONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (2, 1): "no reason given by the protocol machine",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""(source, reason) of an A-ASSOCIATE-RJ, PS3.8 table 9-21."""

_REJECTION_ADVICE = {
    (1, 3): "Register WhyRay's AE title (and this machine's address) at the peer; then retry.",
    (1, 7): "Correct the destination's ae_title; then retry.",
}


def rejection(result: int, source: int, reason: int, peer: str, calling: str) -> WhyRayError:
    """The error that a rejected association amounts to: result 2 (transient) and source 3 (load) may pass."""
    words = _REJECTIONS.get((source, reason), f"source {source}, reason {reason}")
    if result == 2 or source == 3:
        return PeerBusy(f"{peer} rejected the association from {calling} for now: {words}")
    return PeerRefused(
        f"{peer} rejected the association from {calling} for good: {words}",
        advice=_REJECTION_ADVICE.get((source, reason)),
    )
