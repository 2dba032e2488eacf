"""What a STOW-RS service said of each instance: the Store Instances Response (PS3.18 annex I), in JSON or XML."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from pydicom.datadict import tag_for_keyword

from whyray.delivery.native_model import from_native_model

JSON, XML = "application/dicom+json", "application/dicom+xml"


@dataclass(frozen=True)
class StoreAnswers:
    """{SOP Instance UID: reason}; a stored instance's reason is its warning, or None."""

    stored: dict[str, int | None] = field(default_factory=dict)
    failed: dict[str, int | None] = field(default_factory=dict)
    """None where the service gives no Failure Reason."""
    others: tuple[int | None, ...] = ()
    """Failure Reasons of objects that the service could not name."""

    @property
    def named(self) -> bool:
        """Whether the response says anything of any instance."""
        return bool(self.stored or self.failed)

    def names(self, sop_instance_uid: str) -> bool:
        """Whether it says anything of this one."""
        return sop_instance_uid in self.failed or sop_instance_uid in self.stored


def read_answers(body: bytes) -> StoreAnswers:
    """The answers of a response's body, which says by itself whether it is JSON or XML; none if it is neither.

    An item that can't be read takes no other with it.
    """
    try:
        answer = from_native_model(body) if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" else _from_json(body)
    except (ValueError, RecursionError):  # a web page, or nothing: no list
        return StoreAnswers()
    stored, failed = _values(answer, "ReferencedSOPSequence"), _values(answer, "FailedSOPSequence")
    return StoreAnswers(
        {uid: _reason(item, "WarningReason") for item in stored if (uid := _uid(item))},
        {uid: _reason(item, "FailureReason") for item in failed if (uid := _uid(item))},
        tuple(_reason(item, "FailureReason") for item in _values(answer, "OtherFailuresSequence")),
    )


def _from_json(body: bytes) -> object:
    # a comment in another character set takes no UID with it
    said = json.loads(body.decode("utf-8-sig", "replace"))
    return said[0] if isinstance(said, list) and said else said


def _values(item: object, keyword: str) -> list[object]:
    """The values of an attribute in the DICOM JSON Model, whatever may stand there instead."""
    attribute = item.get(f"{tag_for_keyword(keyword):08X}") if isinstance(item, dict) else None
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values if isinstance(values, list) else []


def _uid(item: object) -> str:
    values = _values(item, "ReferencedSOPInstanceUID")
    return values[0].strip(" \0") if values and isinstance(values[0], str) else ""


def _reason(item: object, keyword: str) -> int | None:
    try:
        return int(str(_values(item, keyword)[0]))
    except (IndexError, ValueError):
        return None
