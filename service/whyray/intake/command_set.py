"""Command sets of DIMSE requests (PS3.7 section 6.3.1 and annex E), read before pynetdicom sees them.

pynetdicom aborts at any element that breaks a rule. Here what is not needed is left out, and what makes one C-STORE
impossible is answered with a status, so that the next one is taken.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.uid import RE_VALID_UID, UID
from pynetdicom.sop_class import Verification

from whyray.intake.admission import is_storage
from whyray.intake.association_request import Unreadable
from whyray.intake.refusals import Refused, class_not_supported, invalid_uid

COMMAND_FIELD, MESSAGE_ID, RESPONDED_TO, PRIORITY, DATA_SET_TYPE = 0x0100, 0x0110, 0x0120, 0x0700, 0x0800
_STATUS, _ERROR_COMMENT = 0x0900, 0x0902
_CLASS, _INSTANCE = 0x0002, 0x1000
_UIDS = frozenset({_CLASS, 0x0003, _INSTANCE, 0x1001})
"""Affected and Requested SOP Class and Instance UID."""
_NUMBERS = frozenset({COMMAND_FIELD, MESSAGE_ID, RESPONDED_TO, PRIORITY, DATA_SET_TYPE, 0x0900, 0x1002, 0x1008})
"""With Status, Event Type ID and Action Type ID."""
C_STORE_RQ, C_STORE_RSP, C_ECHO_RQ = 0x0001, 0x8001, 0x0030
_SERVED = frozenset({C_STORE_RQ, C_ECHO_RQ, 0x0FFF, 0x0100, 0x0130})
_RESPONSE = 0x8000
_NO_DATA_SET = 0x0101
_PRIORITIES = (0, 1, 2)
_LONGEST_UID, _VALID = 64, re.compile(RE_VALID_UID)
STANDS_FOR_NONE = "2.25.0"
"""The instance UID of a request that names none that could be answered."""


@dataclass
class Command:
    """One command set, as far as it is needed, and why its request can't be done."""

    numbers: dict[int, int]
    uids: dict[int, str]
    refused: Refused | None = None
    named: tuple[str, str] = field(default=("", ""))
    """SOP class and instance as the peer wrote them; empty where it wrote none."""

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return self.numbers[DATA_SET_TYPE] != _NO_DATA_SET

    @property
    def is_store(self) -> bool:
        """Whether this is a C-STORE request."""
        return self.numbers[COMMAND_FIELD] == C_STORE_RQ

    @property
    def message_id(self) -> int:
        """By which a request is answered."""
        return self.numbers[MESSAGE_ID]

    @property
    def sop_class_uid(self) -> str:
        """The class with which a request is answered."""
        return self.uids[_CLASS]

    @property
    def sop_instance_uid(self) -> str:
        """The instance with which a request is answered."""
        return self.uids[_INSTANCE]

    def encoded(self) -> bytes:
        """In Implicit VR Little Endian, with its group length."""
        values = {number: struct.pack("<H", value) for number, value in self.numbers.items()}
        return _encoded(values | {number: _padded(uid, b"\0") for number, uid in self.uids.items()})


def store_response(
    message_id: int, sop_class_uid: str, sop_instance_uid: str, status: int, error_comment: str
) -> bytes:
    """A C-STORE response (PS3.7 table 9.3-2); without an instance where the request named none."""
    numbers = {
        COMMAND_FIELD: C_STORE_RSP,
        RESPONDED_TO: message_id,
        DATA_SET_TYPE: _NO_DATA_SET,
        _STATUS: status,
    }
    values = {number: struct.pack("<H", value) for number, value in numbers.items()}
    values[_CLASS] = _padded(sop_class_uid, b"\0")
    if sop_instance_uid != STANDS_FOR_NONE:
        values[_INSTANCE] = _padded(sop_instance_uid, b"\0")
    if error_comment:
        values[_ERROR_COMMENT] = _padded(error_comment, b" ")
    return _encoded(values)


def _padded(text: str, padding: bytes) -> bytes:
    encoded = text.encode("ascii", "replace")
    return encoded + padding * (len(encoded) % 2)


def _encoded(values: Mapping[int, bytes]) -> bytes:
    elements = b"".join(struct.pack("<HHI", 0, n, len(values[n])) + values[n] for n in sorted(values))
    return struct.pack("<HHII", 0, 0, 4, len(elements)) + elements


def read_command(encoded: bytes, abstract_syntax: str) -> Command:
    """Read a command set that came in a presentation context of this abstract syntax.

    Raises
    ------
    Unreadable
        If it can't be taken apart, or lacks what any answer needs.
    """
    numbers: dict[int, int] = {}
    uids: dict[int, str] = {}
    for number, value in _elements(encoded).items():
        if number in _NUMBERS and len(value) >= 2:
            numbers[number] = struct.unpack_from("<H", value)[0]
        elif number in _UIDS:
            uids[number] = value.split(b"\\")[0].rstrip(b"\0 ").decode("ascii", "replace").strip()
    command = Command(numbers, uids, named=(uids.get(_CLASS, ""), uids.get(_INSTANCE, "")))
    _check(command)
    if command.is_store:
        _complete_store(command, abstract_syntax)
    elif command.numbers[COMMAND_FIELD] == C_ECHO_RQ:
        command.uids = {_CLASS: Verification}
    elif bad := [number for number, uid in command.uids.items() if uid and not UID(uid).is_valid]:
        raise Unreadable(f"a request with a UID that is none, in (0000,{bad[0]:04X})")
    return command


def _check(command: Command) -> None:
    numbers = command.numbers
    if COMMAND_FIELD not in numbers:
        raise Unreadable("a command set without Command Field (0000,0100)")
    if numbers[COMMAND_FIELD] not in _SERVED and not numbers[COMMAND_FIELD] & _RESPONSE:
        raise Unreadable(f"a request with the Command Field {numbers[COMMAND_FIELD]:04X}H, which is not served here")
    if DATA_SET_TYPE not in numbers:
        raise Unreadable("a command set without Command Data Set Type (0000,0800)")
    answering = bool(numbers[COMMAND_FIELD] & _RESPONSE) or numbers[COMMAND_FIELD] == 0x0FFF
    needed = RESPONDED_TO if answering else MESSAGE_ID
    if needed not in numbers:
        raise Unreadable(f"a message without (0000,{needed:04X}), by which it would be answered")
    if not answering:
        numbers.pop(RESPONDED_TO, None)


def _complete_store(command: Command, abstract_syntax: str) -> None:
    if command.numbers.get(PRIORITY) not in _PRIORITIES:
        command.numbers[PRIORITY] = 0
    sop_class, instance = command.named
    if not _is_valid(instance):
        what = "is not a UID" if instance else "is missing"
        command.refused = invalid_uid(f"the command's Affected SOP Instance UID {what}")
        instance = STANDS_FOR_NONE
    if not _is_valid(sop_class) or not is_storage(sop_class):
        command.refused = command.refused or class_not_supported(
            "the command's Affected SOP Class UID is no storage class"
        )
    # pynetdicom finds the service by the class: the context's is one that was accepted
    command.uids = {_CLASS: abstract_syntax, _INSTANCE: instance}


def _is_valid(uid: str) -> bool:
    """As `UID.is_valid` says, without a UID being made and its expression being looked up each time."""
    return len(uid) <= _LONGEST_UID and _VALID.match(uid) is not None


def _elements(encoded: bytes) -> dict[int, bytes]:
    """Values by element number; of an element that comes twice the first."""
    elements: dict[int, bytes] = {}
    position = 0
    while position < len(encoded):
        if position + 8 > len(encoded):
            raise Unreadable("a command set that ends within an element")
        group, number, length = struct.unpack_from("<HHI", encoded, position)
        position += 8
        if group != 0:
            raise Unreadable("a command set with elements of other groups than 0000")
        if position + length > len(encoded):
            raise Unreadable(f"a command set that ends within (0000,{number:04X})")
        elements.setdefault(number, encoded[position : position + length])
        position += length
    return elements
