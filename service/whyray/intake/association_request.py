"""A-ASSOCIATE-RQ PDUs as pynetdicom can take them: what PS3.8 section 9.3 has ignored or borne is taken out before.

pynetdicom ends the connection at a NUL in an AE title, at an item type that it does not know, and at any sub-item that
breaks a rule. PS3.8 section 9.3.1 wants unknown items ignored, and section 9.3.2 tests bit 0 of the protocol version.

Presentation contexts are taken from the PDU here, and made without pynetdicom's items: it validates each of their UIDs
five times, which for the 128 contexts of many senders takes longer than a dozen instances.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from pydicom.uid import UID
from pynetdicom.pdu_items import PDU_ITEM_TYPES
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import ModalityWorklistInformationFind

NO_TITLE = "(none)"
"""Stands for an AE title of nothing but padding, which PS3.8 table 9-11 forbids."""
_APPLICATION_CONTEXT, _CONTEXT, _USER_INFORMATION = 0x10, 0x20, 0x50
_ABSTRACT, _TRANSFER = 0x30, 0x40
_MAXIMUM_LENGTH, _IMPLEMENTATION_CLASS = 0x51, 0x52
_OF_REQUESTER = frozenset({0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58})
_ONCE = frozenset({0x51, 0x52, 0x53, 0x55, 0x58})
_FIXED, _LONGEST_UID = 74, 64
_SHORT = 512
"""Bytes of a presentation context item that is remembered."""
_DICOM = b"1.2.840.10008.3.1.1.1"
# Stand for syntaxes that are no UIDs: a class that is no storage, and a transfer syntax that nobody has, so that the
# context is answered with 'abstract syntax not supported' or 'transfer syntaxes not supported' (PS3.8 table 9-18).
_NOT_OFFERED, _NOT_KNOWN = ModalityWorklistInformationFind.encode(), b"0.0"
_DEFAULT_MAXIMUM = struct.pack(">BxHI", _MAXIMUM_LENGTH, 4, 16384)


class Unreadable(ValueError):  # noqa: N818
    """What the peer sent can't be taken apart; the message quotes nothing of it."""


@dataclass(frozen=True)
class ReadableRequest:
    """An A-ASSOCIATE-RQ without what would end the association needlessly."""

    pdu: bytes
    """Without its presentation contexts."""
    contexts: tuple[PresentationContext, ...]
    """In the peer's order, each number once."""


@lru_cache(maxsize=1024)
def known_uid(text: str) -> UID:
    """The same UID object for each of the few that peers propose."""
    return UID(text)


def presentation_context(abstract: str, transfer: Iterable[str], context_id: int | None = None) -> PresentationContext:
    """What `pynetdicom.build_context` makes of syntaxes that are known to be UIDs, each transfer syntax there once."""
    context = PresentationContext()
    if context_id is not None:
        context.context_id = context_id
    context._abstract_syntax = known_uid(abstract)
    context._transfer_syntax = [known_uid(syntax) for syntax in transfer]
    return context


def readable_request(pdu: bytes) -> ReadableRequest:
    """Take an A-ASSOCIATE-RQ apart.

    Raises
    ------
    Unreadable
        If it is too short, or the length of an item reaches beyond what holds it.
    """
    if len(pdu) < _FIXED:
        raise Unreadable("the A-ASSOCIATE-RQ is too short")
    version = 1 if pdu[7] & 1 else 0
    items = list(_items(pdu[_FIXED:]))
    application = [value for kind, value in items if kind == _APPLICATION_CONTEXT]
    user = [value for kind, value in items if kind == _USER_INFORMATION]
    contexts: dict[int, PresentationContext] = {}
    for kind, value in items:
        if kind == _CONTEXT and len(value) >= 4 and value[0] % 2 and value[0] not in contexts:
            abstract, transfer = (_known_syntaxes if len(value) <= _SHORT else _syntaxes)(value[4:])
            contexts[value[0]] = presentation_context(abstract, transfer, context_id=value[0])
    body = b"".join(
        (
            _item(_APPLICATION_CONTEXT, _uid(application[0] if application else b"") or _DICOM),
            _item(_USER_INFORMATION, _user_items(user[0] if user else b"")),
        )
    )
    fixed = struct.pack(">HH", version, 0) + title(pdu[10:26]).encode().ljust(16) + title(pdu[26:42]).encode().ljust(16)
    whole = struct.pack(">BBI", 1, 0, len(fixed) + 32 + len(body)) + fixed + bytes(32) + body
    return ReadableRequest(whole, tuple(contexts.values()))


def title(encoded: bytes) -> str:
    """An AE title: NULs end it as spaces do, characters that it may not have (PS3.5 section 6.2) become '?'."""
    text = encoded.split(b"\0")[0].decode("ascii", "replace").strip()
    return "".join(letter if " " <= letter <= "~" and letter != "\\" else "?" for letter in text) or NO_TITLE


def _items(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(encoded):
        if position + 4 > len(encoded):
            raise Unreadable("the A-ASSOCIATE-RQ ends within the head of an item")
        kind, length = struct.unpack_from(">BxH", encoded, position)
        position += 4
        if position + length > len(encoded):
            raise Unreadable(f"an item of type {kind:02X}H is longer than what holds it")
        yield kind, encoded[position : position + length]
        position += length


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _syntaxes(encoded: bytes) -> tuple[str, tuple[str, ...]]:
    """Abstract and transfer syntaxes of one context; one that can't be read takes no other context with it."""
    items = list(_items(encoded))
    abstract = next((_uid(value) for kind, value in items if kind == _ABSTRACT), b"") or _NOT_OFFERED
    transfer = [uid for kind, value in items if kind == _TRANSFER and (uid := _uid(value))] or [_NOT_KNOWN]
    return abstract.decode(), tuple(dict.fromkeys(syntax.decode() for syntax in transfer))


_known_syntaxes = lru_cache(maxsize=1024)(_syntaxes)
"""The same for contexts that are short, of which the same come again and again."""


def _uid(value: bytes) -> bytes:
    """A UID without padding; empty if it is none that can be answered."""
    text = value.rstrip(b"\0 ").strip()
    return text if len(text) <= _LONGEST_UID and text.isascii() and known_uid(text.decode()).is_valid else b""


def _user_items(encoded: bytes) -> bytes:
    """The sub-items of user information that a requester may send and that can be read, and what it must send."""
    taken: list[tuple[int, bytes]] = []
    for kind, value in _items(encoded):
        known = {kind for kind, _ in taken}
        if kind not in _OF_REQUESTER or (kind in _ONCE and kind in known):
            continue
        if kind == _IMPLEMENTATION_CLASS:
            value = _uid(value)
        elif kind == 0x55:
            value = title(value[:16]).encode()
        if value and _can_be_decoded(_item(kind, value)):
            taken.append((kind, value))
    if _MAXIMUM_LENGTH not in {kind for kind, _ in taken}:
        return _DEFAULT_MAXIMUM + b"".join(_item(*sub_item) for sub_item in taken)
    return b"".join(_item(*sub_item) for sub_item in taken)


def _can_be_decoded(item: bytes) -> bool:
    try:
        decoded = PDU_ITEM_TYPES[item[0]]()
        decoded.decode(item)
        return decoded.to_primitive() is not None and len(decoded) == len(item)
    except Exception:  # pynetdicom raises what it likes on nonsense
        return False
