"""Data sets of results as bytes: the very bytes that pydicom writes, in a fraction of its time.

pydicom 3 looks through all that is nested below an item once for each level above it, and makes three buffers an
element, of which a report has thousands. What is plain is put together here (PS3.5 7.1.2, Explicit VR Little Endian),
what several items share once a file; anything else is left to pydicom, element by element or as a whole.
"""

from __future__ import annotations

import struct
from io import BytesIO

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import (
    correct_ambiguous_vr,
    correct_ambiguous_vr_element,
    write_data_element,
    write_sequence_item,
)
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from whyray.results.elements import SharedElement

_CODES = frozenset({"AE", "AS", "CS", "DA", "DT", "TM", "UI"})
_TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
_LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""Value representations whose length takes four bytes (PS3.5 table 7.1-1)."""
_ASCII_AND_MORE = frozenset({"iso8859", "latin_1", "utf8", *(f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 9))})
"""Python's names of encodings in which ASCII is written as it is, whatever stands beside it."""
_LONGEST_SHORT = 0xFFFF
_SPECIFIC_CHARACTER_SET = Tag("SpecificCharacterSet")
_SHORT_HEAD, _LONG_HEAD = struct.Struct("<HH2sH"), struct.Struct("<HH2sHL")
"""Group, element, value representation and length."""
_ITEM = b"\xfe\xff\x00\xe0"
_META_GROUP_LENGTH = 12
"""Bytes of the first element of a file's meta information, whose value is the length of the others (PS3.10 7.1)."""
_PREAMBLE = 132


def encoded_file(dataset: Dataset) -> bytes:
    """The DICOM file (PS3.10) of a data set: what `save_as` with `enforce_file_format` writes.

    Raises what pydicom raises for a data set that makes no valid file.
    """
    meta = getattr(dataset, "file_meta", None)
    is_plain = (
        meta is not None
        and meta.get("TransferSyntaxUID") == ExplicitVRLittleEndian
        and dataset.original_encoding == (None, None)
        and all(tag >> 16 > 6 and tag & 0xFFFF for tag in dataset._dict)
    )
    if not is_plain:
        return _written(dataset)
    if "PixelData" in dataset:
        dataset["PixelData"].is_undefined_length = False  # native pixels (PS3.5 annex A.4)
    encoder = _Encoder(convert_encodings(dataset.get("SpecificCharacterSet", "iso8859")))
    return b"".join([_head(dataset), *encoder.elements(dataset, [])])


def _written(dataset: Dataset) -> bytes:
    with BytesIO() as file:
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()


def _head(dataset: Dataset) -> bytes:
    """Preamble, prefix and meta information."""
    head = Dataset()
    head.file_meta = dataset.file_meta
    head.SOPClassUID, head.SOPInstanceUID = dataset.get("SOPClassUID"), dataset.get("SOPInstanceUID")
    written = _written(head)
    (length,) = struct.unpack_from("<L", written, _PREAMBLE + _META_GROUP_LENGTH - 4)
    return written[: _PREAMBLE + _META_GROUP_LENGTH + length]


class _Encoder:
    """Encodes what one file holds. `encodings` are Python's names of those of its Specific Character Set."""

    def __init__(self, encodings: list[str]) -> None:
        self._encodings = encodings
        self._ascii_as_it_is = encodings[0] in _ASCII_AND_MORE
        self._shared: dict[int, bytes] = {}

    def elements(self, dataset: Dataset, above: list[Dataset]) -> list[bytes]:
        """The elements of a data set in their order; `above` are those that hold it, the nearest first."""
        holders = [dataset, *above]
        parts: list[bytes] = []
        for tag in sorted(dataset._dict, key=int):
            element = dataset._dict[tag]
            if isinstance(element, SharedElement):
                parts.append(self._shared_element(element))
                continue
            if not isinstance(element, DataElement):
                element = dataset[tag]
            if len(element.VR) != 2:
                element = correct_ambiguous_vr_element(element, dataset, True, holders)
            parts += self._element(element, holders)
        return parts

    def _shared_element(self, element: SharedElement) -> bytes:
        encoded = self._shared.get(id(element))
        if encoded is None:
            encoded = self._shared[id(element)] = b"".join(self._element(element, []))
        return encoded

    def _element(self, element: DataElement, holders: list[Dataset]) -> list[bytes]:
        tag, vr, value = element.tag, element.VR, element._value
        if vr == "SQ" and not element.is_undefined_length:
            parts = [part for item in value for part in self._item(item, holders)]
            return [_LONG_HEAD.pack(tag >> 16, tag & 0xFFFF, b"SQ", 0, sum(map(len, parts))), *parts]
        plain: bytes | None = None
        if isinstance(value, str):
            if (vr in _CODES or (vr in _TEXTS and self._ascii_as_it_is)) and value.isascii():
                plain = _padded(value, "\0" if vr == "UI" else " ")
        elif vr == "DS":
            if isinstance(value, DSfloat) and hasattr(value, "original_string"):
                plain = _padded(value.original_string, " ")
        elif vr == "FD":
            if type(value) is float:
                plain = struct.pack("<d", value)
        elif vr == "US":
            if type(value) is int:
                plain = struct.pack("<H", value)
        elif vr in ("OB", "OW") and isinstance(value, bytes) and not element.is_undefined_length:
            plain = value if len(value) % 2 == 0 else None
        if plain is None or (len(plain) > _LONGEST_SHORT and vr not in _LONG):
            return [_by_pydicom(element, self._encodings)]
        if vr in _LONG:
            return [_LONG_HEAD.pack(tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(plain)), plain]
        return [_SHORT_HEAD.pack(tag >> 16, tag & 0xFFFF, vr.encode(), len(plain)) + plain]

    def _item(self, item: Dataset, above: list[Dataset]) -> list[bytes]:
        is_plain = (
            item.original_encoding == (None, None)
            and not getattr(item, "is_undefined_length_sequence_item", False)
            and _SPECIFIC_CHARACTER_SET not in item._dict
            and all(tag >> 16 > 6 and tag & 0xFFFF for tag in item._dict)
        )
        if not is_plain:
            correct_ambiguous_vr(item, True, [item, *above])  # while it is known what holds it
            buffer = _buffer()
            write_sequence_item(buffer, item, self._encodings)
            return [buffer.getvalue()]
        parts = self.elements(item, above)
        return [_ITEM + struct.pack("<L", sum(map(len, parts))), *parts]


def _padded(text: str, padding: str) -> bytes:
    return (text if len(text) % 2 == 0 else text + padding).encode("ascii")


def _by_pydicom(element: DataElement, encodings: list[str]) -> bytes:
    buffer = _buffer()
    write_data_element(buffer, element, encodings)
    written: bytes = buffer.getvalue()
    return written


def _buffer() -> DicomBytesIO:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    return buffer
