"""The DICOM file around a data set that came over the network: PS3.10 section 7.1, table 7.1-1.

The data set's own bytes are never touched; preamble and File Meta Information go before them.
"""

from __future__ import annotations

import struct

from pydicom.uid import UID_dictionary

from whyray.base.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_WITHOUT_PIXELS_OR_NOT_A_STREAM = {
    "1.2.840.10008.1.2.4.94",  # JPIP Referenced: the pixels stay elsewhere
    "1.2.840.10008.1.2.4.95",
    "1.2.840.10008.1.2.6.1",  # RFC 2557 MIME, XML, Papyrus: no data set encoded after PS3.5
    "1.2.840.10008.1.2.6.2",
    "1.2.840.10008.1.20",
}
TRANSFER_SYNTAXES = frozenset(uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax").difference(
    _WITHOUT_PIXELS_OR_NOT_A_STREAM
)
"""All transfer syntaxes of PS3.6 table A-1 whose objects can be kept whole, retired ones included."""

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = frozenset({"1.2.840.10008.1.2.1.99"})


def file_header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, calling_ae: str) -> bytes:
    """Preamble, prefix and File Meta Information, to be followed by the data set."""
    body = b"".join(
        (
            struct.pack("<HH2s2xI", 0x0002, 0x0001, b"OB", 2) + b"\x00\x01",
            _text(0x0002, b"UI", sop_class_uid),
            _text(0x0003, b"UI", sop_instance_uid),
            _text(0x0010, b"UI", transfer_syntax_uid),
            _text(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _text(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _text(0x0016, b"AE", calling_ae),
        )
    )
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(body))
    return bytes(128) + b"DICM" + length + body


def _text(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    if len(value) % 2:
        value += b"\x00" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value
