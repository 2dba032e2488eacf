"""Files as routing sees them: headers without pixels, grouped into series."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage

from whyray.base.errors import DecodeError
from whyray.routing.match import Series

_OF_NONSENSE = (AttributeError, IndexError, RecursionError, TypeError, UnicodeError, struct.error, zlib.error)
"""What pydicom also raises on bytes that are no data set, or one that is nested too deep or not whole."""
_LARGEST_VALUE = 1 << 20
"""A value that is longer stays in the file: no route asks for it, and it may be as large as memory."""
LARGEST_DOCUMENT = 64 << 20
"""A key object selection is read whole: what it refers to is asked for, in one value that grows with their number."""
_PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
_PIECE = 1 << 16
_MOST_INFLATED = 16 << 20
"""Of a deflated file, so much is looked at: a few kilobytes may stand for gigabytes."""


def read_header(file: Path | BinaryIO, *, called: str | None = None) -> Dataset:
    """The attributes of a DICOM file, without its pixel data; `called` names it in errors instead of its path.

    Memory is bounded: values of more than 1 MB are not read, and of a deflated file the first 16 MB alone. Of a key
    object selection 64 MB are.

    Raises
    ------
    DecodeError
        If it is no DICOM file, or a deflated key object selection of more than 64 MB.
    """
    try:
        if isinstance(file, Path):
            with file.open("rb") as opened:
                return _read(opened)
        return _read(file)
    except (InvalidDicomError, EOFError, ValueError, KeyError, NotImplementedError, *_OF_NONSENSE) as error:
        raise DecodeError(
            f"{called or file}: expected a DICOM file (PS3.10), found one that can't be parsed "
            f"({type(error).__name__})",
            advice="Name .dcm files or a folder that holds some.",
        ) from error


def read_header_and_bytes(file: BinaryIO, most: int, *, called: str) -> tuple[Dataset, bytes | None]:
    """As `read_header`, with the start of the file that gives the same header; None if that is more than `most` bytes.

    Raises
    ------
    DecodeError
        If it is no DICOM file.
    """
    start = file.tell()
    header = read_header(file, called=called)
    length = file.tell() - start
    file.seek(start)
    return header, file.read(length) if length <= most else None


def _read(file: BinaryIO) -> Dataset:
    start = file.tell()
    read_preamble(file, force=False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    is_document = meta.get("MediaStorageSOPClassUID") == KeyObjectSelectionDocumentStorage
    largest_value = LARGEST_DOCUMENT if is_document else _LARGEST_VALUE
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        file.seek(start)
        return dcmread(file, stop_before_pixels=True, defer_size=largest_value)
    most = LARGEST_DOCUMENT if is_document else _MOST_INFLATED
    inflated = BytesIO()
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while inflated.tell() < most and not inflater.eof and (piece := file.read(_PIECE)):
        inflated.write(inflater.decompress(piece, most - inflated.tell()))
    if is_document and inflated.tell() >= most:
        raise ValueError("a document of which the end would be missing")
    inflated.seek(0)
    return read_dataset(inflated, False, True, stop_when=_is_pixels, defer_size=largest_value)


def _is_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in _PIXELS


def series_of(headers: Iterable[Dataset]) -> list[Series]:
    """The series of these instances, in the order in which they first come, each with one header and its count."""
    firsts: dict[str, Dataset] = {}
    counts: Counter[str] = Counter()
    for header in headers:
        uid = str(header.get("SeriesInstanceUID", ""))
        firsts.setdefault(uid, header)
        counts[uid] += 1
    return [Series(uid, first, counts[uid]) for uid, first in firsts.items()]
