"""What intake reads of a received data set: its UIDs, its modality, who made it, whose it is, where its header ends.

The Patient ID goes to the audit trail alone, as PS3.15 section A.5.3 asks; the header is kept for routing as it came.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from mmap import ACCESS_READ, mmap
from typing import Any, BinaryIO

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from whyray.base.uids import is_uid
from whyray.catalog import headers
from whyray.intake.structure import Buffer, NotWhole, Truncated, check_whole, inflate

_LAST = 0x0020000E
_PATIENT_ID = 0x00100020
_WANTED = [
    0x00080016,  # SOP Class UID
    0x00080018,  # SOP Instance UID
    0x00080060,  # Modality
    0x00080070,  # Manufacturer, Manufacturer's Model Name, Device UID, Contributing Equipment: the loop guard's
    0x00081090,
    0x00181002,
    0x0018A001,
    _PATIENT_ID,
    0x0020000D,  # Study Instance UID
    _LAST,  # Series Instance UID
]
_KEPT_OF_DEFLATED = 16 << 20
_NOT_PRINTABLE = re.compile(r"[^ -~]")


class NotUnderstood(ValueError):  # noqa: N818
    """The data set is not whole, or its UIDs are missing or no UIDs. The message names no other value."""


@dataclass(frozen=True)
class Identity:
    """What the catalog needs to know of an instance; `header` holds no more than `Identity` and the loop guard need."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    modality: str | None
    header: Dataset
    kept: bytes | None
    """The file as far as the pixel data, which routing will read; None if that is too large."""
    patient_id: str = field(default="", repr=False)


def identify(file: BinaryIO, start: int, transfer_syntax_uid: str) -> Identity:
    """Check that the data set that begins at byte `start` of an open file is whole, and read what identifies it.

    Raises
    ------
    NotUnderstood
        If it is cut off, or one of its four UIDs is missing, is longer than 64 characters or no digits between
        single dots (PS3.5 section 9.1; a zero that leads a component is borne).
    """
    size = file.seek(0, os.SEEK_END)
    if size <= start:
        raise NotUnderstood("the data set is empty")
    try:
        header, kept = _header(file, size, start, transfer_syntax_uid)
    except NotWhole as error:
        raise NotUnderstood(str(error)) from error
    except Exception as error:  # pydicom raises what it likes on nonsense
        raise NotUnderstood(f"the header can't be read ({type(error).__name__})") from error
    patient_id = str(header.get("PatientID") or "").strip()
    header.pop("PatientID", None)  # who asks whether an object is WhyRay's own needs no more than that
    return Identity(
        study_instance_uid=_uid(header, "StudyInstanceUID"),
        series_instance_uid=_uid(header, "SeriesInstanceUID"),
        sop_instance_uid=_uid(header, "SOPInstanceUID"),
        sop_class_uid=_uid(header, "SOPClassUID"),
        modality=_code(header.get("Modality")),
        header=header,
        kept=kept,
        patient_id=patient_id,
    )


def _header(file: BinaryIO, size: int, start: int, transfer_syntax_uid: str) -> tuple[Dataset, bytes | None]:
    implicit, little = transfer_syntax_uid == ImplicitVRLittleEndian, transfer_syntax_uid != ExplicitVRBigEndian
    with _buffer(file, size) as data:
        begin: BinaryIO = file
        if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            inflated = inflate(data, start, keep=_KEPT_OF_DEFLATED)
            try:
                pixels = check_whole(inflated, 0, implicit=implicit, little=little)
            except Truncated:
                if len(inflated) < _KEPT_OF_DEFLATED:
                    raise
                pixels = None
            begin = BytesIO(inflated)
            kept = None if pixels is None or pixels > headers.LARGEST else data[:start] + _deflated(inflated[:pixels])
        else:
            pixels = check_whole(data, start, implicit=implicit, little=little)
            kept = None if pixels > headers.LARGEST else data[:pixels]
            file.seek(start)
        header = read_dataset(begin, implicit, little, stop_when=_past_the_last, specific_tags=list(_WANTED))
        return header, kept


def _deflated(content: bytes) -> bytes:
    """As PS3.5 section A.5 wants it: a raw deflated stream."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


class _Window:
    """A file that has no place in memory, such as one that is sealed: read where it is looked at."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: slice) -> bytes:
        start, end, _ = index.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(0, end - start))


@contextmanager
def _buffer(file: BinaryIO, size: int) -> Iterator[Buffer]:
    try:
        number = file.fileno()
    except OSError:  # io.UnsupportedOperation is one
        yield _Window(file, size)
        return
    with mmap(number, 0, access=ACCESS_READ) as data:
        yield data


def _past_the_last(tag: Any, _vr: str | None, _length: int) -> bool:
    return bool(tag > _LAST)


def _uid(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    text = str(value).strip() if value else ""
    if not text:
        raise NotUnderstood(f"{keyword} is missing")
    if not is_uid(text):
        raise NotUnderstood(f"{keyword} is not a UID")
    return text


def _code(value: object) -> str | None:
    first = value if isinstance(value, str) or not isinstance(value, (list, tuple)) else (value[0] if value else None)
    text = _NOT_PRINTABLE.sub("", str(first or "")).strip()[:16]
    return text or None
