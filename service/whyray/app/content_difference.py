"""How two contents of one instance differ: whose they are, other attributes, pixel data. By their files, undecoded."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import BinaryIO

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from whyray.base.errors import DecodeError
from whyray.base.identification import IDENTIFICATION, identification_value
from whyray.catalog import PixelComparison, conflicts
from whyray.routing import read_header

_DESCRIBES_PIXELS = frozenset(
    (
        "BitsAllocated",
        "BitsStored",
        "Columns",
        "HighBit",
        "NumberOfFrames",
        "PhotometricInterpretation",
        "PixelRepresentation",
        "PlanarConfiguration",
        "Rows",
        "SamplesPerPixel",
    )
)
_MOST_NAMED = 8
_PIECE = 1 << 20
_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LITTLE_ENDIAN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)


def difference_between(newest: BinaryIO, in_use: BinaryIO) -> conflicts.Difference:
    """How the newest content differs from the one in use; files of DICOM (PS3.10), open for reading.

    Values are compared, and never given away: what is told are keywords of attributes.

    Raises
    ------
    DecodeError
        If one of the two can't be read.
    """
    first, second = (read_header(file, called="a stored instance") for file in (newest, in_use))
    identification = tuple(
        keyword
        for keyword in IDENTIFICATION
        if identification_value(first, keyword) != identification_value(second, keyword)
    )
    others = [
        keyword
        for tag in sorted({*first.keys(), *second.keys()})
        if (keyword := keyword_for_tag(tag)) and keyword not in IDENTIFICATION and not _equal(first, second, tag)
    ]
    pixels = _pixels(newest, first, in_use, second)
    if pixels is PixelComparison.SAME and _DESCRIBES_PIXELS.intersection(others):
        pixels = PixelComparison.OTHER  # the same bytes, and another image
    return conflicts.Difference(identification, tuple(others[:_MOST_NAMED]), pixels)


def identification_of(file: BinaryIO) -> tuple[str | None, ...]:
    """The values of `IDENTIFICATION`, to be compared and for nothing else. Raises DecodeError."""
    header = read_header(file, called="a stored instance")
    return tuple(identification_value(header, keyword) for keyword in IDENTIFICATION)


def _equal(first: Dataset, second: Dataset, tag: BaseTag) -> bool:
    if tag not in first or tag not in second:
        return False
    ours, theirs = first.get_item(tag), second.get_item(tag)
    if isinstance(ours, RawDataElement) and isinstance(theirs, RawDataElement):
        if ours.value is None or theirs.value is None:  # longer than what is read of a header
            return bool(ours.length == theirs.length)
        if bool(ours.value == theirs.value):
            return True
    try:
        return bool(first[tag].value == second[tag].value)
    except Exception:  # as above
        return False


def _pixels(newest: BinaryIO, first: Dataset, in_use: BinaryIO, second: Dataset) -> PixelComparison:
    """Compares values as they are stored; both files stand before their pixel data."""
    syntaxes = [UID(header.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian) for header in (first, second)]
    comparable = syntaxes[0] == syntaxes[1] or all(syntax in _LITTLE_ENDIAN for syntax in syntaxes)
    if not comparable or DeflatedExplicitVRLittleEndian in syntaxes:
        return PixelComparison.NOT_COMPARED
    digests = [_digest(file, syntax) for file, syntax in zip((newest, in_use), syntaxes, strict=True)]
    return PixelComparison.SAME if digests[0] == digests[1] else PixelComparison.OTHER


def _digest(file: BinaryIO, syntax: UID) -> str:
    """SHA-256 over the value of the pixel data at which the file stands; over fragments where it is encapsulated."""
    digest = hashlib.sha256()
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    start = file.read(8)
    if len(start) < 8:
        return ""  # no pixel data
    group, element = struct.unpack(f"{order}HH", start[:4])
    digest.update(struct.pack("<HH", group, element))
    (length,) = struct.unpack(f"{order}L", start[4:] if syntax == ImplicitVRLittleEndian else _exactly(file, 4))
    pieces = _fragments(file) if length == _UNDEFINED else _value(file, length)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _fragments(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of all fragments (PS3.5 section A.4), without the offset table, which is no content."""
    for number in range(_UNDEFINED):
        group, element, length = struct.unpack("<HHL", _exactly(file, 8))
        tag = group << 16 | element
        if tag == _DELIMITER:
            return
        if tag != _ITEM or length == _UNDEFINED:
            raise DecodeError("the pixel data of a stored instance are no fragments")
        for piece in _value(file, length):
            if number:
                yield piece


def _value(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length:
        piece = _exactly(file, min(_PIECE, length))
        length -= len(piece)
        yield piece


def _exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise DecodeError("the pixel data of a stored instance end before they should")
    return data
