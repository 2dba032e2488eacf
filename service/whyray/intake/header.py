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

_WANTED = frozenset(
    {
        (0x0008, 0x0016),  # SOP Class UID
        (0x0008, 0x0018),  # SOP Instance UID
        (0x0008, 0x0060),  # Modality
        (
            0x0008,
            0x0070,
        ),  # with the three of the loop guard: Manufacturer, its Model Name, Device UID, Contributing Equipment
        (0x0008, 0x1090),
        (0x0010, 0x0020),  # Patient ID
        (0x0018, 0x1002),
        (0x0018, 0xA001),
        (0x0020, 0x000D),  # Study Instance UID
        (0x0020, 0x000E),  # Series Instance UID
    }
)
_TAGS = sorted(group << 16 | number for group, number in _WANTED)
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
        elements: Buffer = data
        if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            elements = inflate(data, start, keep=_KEPT_OF_DEFLATED)
            try:
                outline = check_whole(elements, 0, implicit=implicit, little=little, wanted=_WANTED)
            except Truncated:
                if len(elements) < _KEPT_OF_DEFLATED:
                    raise
                # what begins at or before its pixels is in what was kept
                header = read_dataset(
                    BytesIO(elements), implicit, little, stop_when=_past_the_last, specific_tags=list(_TAGS)
                )
                return header, None
            small = outline.pixels <= headers.LARGEST
            kept = data[:start] + _deflated(elements[: outline.pixels]) if small else None
        else:
            outline = check_whole(data, start, implicit=implicit, little=little, wanted=_WANTED)
            kept = None if outline.pixels > headers.LARGEST else data[: outline.pixels]
        # pydicom alone knows values; it is given no more elements than are asked for
        wanted = b"".join(elements[begin:end] for begin, end in outline.wanted)
        return read_dataset(BytesIO(wanted), implicit, little), kept


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
    return bool(tag > _TAGS[-1])


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
