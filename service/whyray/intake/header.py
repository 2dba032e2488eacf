"""What intake reads of a received data set: its UIDs, its modality, who made it, and where its header ends.

Nothing of the patient is read: the header is kept for routing as it came.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from whyray.base.uids import is_uid
from whyray.catalog import headers
from whyray.intake.structure import NotWhole, Truncated, check_whole, inflate

_LAST = 0x0020000E
_WANTED = [
    0x00080016,  # SOP Class UID
    0x00080018,  # SOP Instance UID
    0x00080060,  # Modality
    0x00080070,  # Manufacturer, Manufacturer's Model Name, Device UID, Contributing Equipment: the loop guard's
    0x00081090,
    0x00181002,
    0x0018A001,
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


def identify(path: Path, start: int, transfer_syntax_uid: str) -> Identity:
    """Check that the data set that begins at byte `start` of a file is whole, and read what identifies it.

    Raises
    ------
    NotUnderstood
        If it is cut off, or one of its four UIDs is missing, is longer than 64 characters or no digits between
        single dots (PS3.5 section 9.1; a zero that leads a component is borne).
    """
    if path.stat().st_size <= start:
        raise NotUnderstood("the data set is empty")
    try:
        header, kept = _header(path, start, transfer_syntax_uid)
    except NotWhole as error:
        raise NotUnderstood(str(error)) from error
    except Exception as error:  # pydicom raises what it likes on nonsense
        raise NotUnderstood(f"the header can't be read ({type(error).__name__})") from error
    return Identity(
        study_instance_uid=_uid(header, "StudyInstanceUID"),
        series_instance_uid=_uid(header, "SeriesInstanceUID"),
        sop_instance_uid=_uid(header, "SOPInstanceUID"),
        sop_class_uid=_uid(header, "SOPClassUID"),
        modality=_code(header.get("Modality")),
        header=header,
        kept=kept,
    )


def _header(path: Path, start: int, transfer_syntax_uid: str) -> tuple[Dataset, bytes | None]:
    implicit, little = transfer_syntax_uid == ImplicitVRLittleEndian, transfer_syntax_uid != ExplicitVRBigEndian
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
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
