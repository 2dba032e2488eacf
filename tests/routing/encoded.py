"""DICOM files of elements whose bytes are given: what a peer sends, right or wrong."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from whyray.intake.part10 import file_header
from whyray.routing import read_header

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
SYNTAXES = (EXPLICIT, IMPLICIT, BIG)
_LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}


@dataclass(frozen=True)
class Encoded:
    """One element: tag, value representation, and its value as bytes, numbers, tags (AT) or items."""

    tag: int
    vr: str
    value: bytes | Sequence[int | float] | Sequence[Sequence[Encoded]]

    def written(self, syntax: str) -> bytes:
        """Tag, value representation where it is explicit, length and value."""
        order = ">" if syntax == BIG else "<"
        value = _value(self, syntax, order)
        head = struct.pack(order + "HH", self.tag >> 16, self.tag & 0xFFFF)
        if syntax == IMPLICIT:
            return head + struct.pack("<I", len(value)) + value
        if self.vr in _LONG:
            return head + self.vr.encode() + b"\0\0" + struct.pack(order + "I", len(value)) + value
        return head + self.vr.encode() + struct.pack(order + "H", len(value)) + value


def _value(element: Encoded, syntax: str, order: str) -> bytes:
    value = element.value
    if isinstance(value, bytes):
        padding = {"UI": b"\0", "OB": b"\0", "UN": b"\0"}.get(element.vr, b"" if element.vr in _FORMATS else b" ")
        return value + padding * (len(value) % 2)
    if element.vr == "SQ":
        items = [b"".join(inner.written(syntax) for inner in item) for item in value]  # type: ignore[union-attr]
        return b"".join(struct.pack(order + "HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    if element.vr == "AT":
        return b"".join(struct.pack(order + "HH", tag >> 16, tag & 0xFFFF) for tag in value)  # type: ignore[operator]
    return struct.pack(f"{order}{len(value)}{_FORMATS[element.vr]}", *value)


def in_a_file(folder: Path, *elements: Encoded, syntax: str = EXPLICIT, character_set: str | None = None) -> Dataset:
    """Write the elements to a file, and read it as routing does."""
    uids = [Encoded(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2"), Encoded(0x00080018, "UI", b"1.2.3")]
    if character_set is not None:
        uids.append(Encoded(0x00080005, "CS", character_set.encode()))
    path = folder / f"{len(list(folder.iterdir()))}.dcm"
    body = b"".join(element.written(syntax) for element in sorted([*uids, *elements], key=lambda element: element.tag))
    path.write_bytes(file_header("1.2.840.10008.5.1.4.1.1.2", "1.2.3", syntax, "SENDER") + body)
    return read_header(path)
