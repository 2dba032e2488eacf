"""What intake reads of a received data set: its UIDs, its modality, who made it, whose it is, where its header ends.

The Patient ID goes to the audit trail alone, as PS3.15 section A.5.3 asks; the header is kept for routing as it came.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from whyray.base.errors import WhyRayError
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
_PLAIN = re.compile(r"[ -\[\]-~]*")
_PATIENT_ID, _MODALITY = BaseTag(0x00100020), BaseTag(0x00080060)
_UIDS = {
    "SOPClassUID": BaseTag(0x00080016),
    "SOPInstanceUID": BaseTag(0x00080018),
    "StudyInstanceUID": BaseTag(0x0020000D),
    "SeriesInstanceUID": BaseTag(0x0020000E),
}


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


def identify(data: Buffer, start: int, transfer_syntax_uid: str) -> Identity:
    """Check that the data set that begins at byte `start` of a file is whole, and read what identifies it.

    Raises
    ------
    NotUnderstood
        If it is cut off, or one of its four UIDs is missing, is longer than 64 characters or no digits between
        single dots (PS3.5 section 9.1; a zero that leads a component is borne).
    OSError
        If `data` could not be read here.
    """
    if len(data) <= start:
        raise NotUnderstood("the data set is empty")
    try:
        header, kept = _header(data, start, transfer_syntax_uid)
        return _identity(header, kept)
    except NotWhole as error:
        raise NotUnderstood(str(error)) from error
    except NotUnderstood:
        raise
    except Exception as error:  # pydicom raises what it likes on nonsense
        if isinstance(error, (WhyRayError, MemoryError)) or (isinstance(error, OSError) and error.errno is not None):
            raise  # of this machine: pydicom's own has no number
        raise NotUnderstood(f"the header can't be read ({type(error).__name__})") from error


def _identity(header: Dataset, kept: bytes | None) -> Identity:
    patient_id = _plain_value(header, _PATIENT_ID, "LO")
    if patient_id is None:
        patient_id = str(header.get("PatientID") or "").strip()
    header.pop(_PATIENT_ID, None)  # who asks whether an object is WhyRay's own needs no more than that
    return Identity(
        study_instance_uid=_uid(header, "StudyInstanceUID"),
        series_instance_uid=_uid(header, "SeriesInstanceUID"),
        sop_instance_uid=_uid(header, "SOPInstanceUID"),
        sop_class_uid=_uid(header, "SOPClassUID"),
        modality=_code(_plain_value(header, _MODALITY, "CS") or header.get("Modality")),
        header=header,
        kept=kept,
        patient_id=patient_id,
    )


def _header(data: Buffer, start: int, transfer_syntax_uid: str) -> tuple[Dataset, bytes | None]:
    implicit, little = transfer_syntax_uid == ImplicitVRLittleEndian, transfer_syntax_uid != ExplicitVRBigEndian
    elements = data
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


def _past_the_last(tag: Any, _vr: str | None, _length: int) -> bool:
    return bool(tag > _TAGS[-1])


def _plain_value(header: Dataset, tag: BaseTag, vr: str) -> str | None:
    """One value of printable ASCII, of the representation that PS3.6 gives; None where only pydicom knows it, or none.

    What pydicom would say, without the converting and validating, which takes longer than all else here.
    """
    raw = header.get_item(tag)
    if not isinstance(raw, RawDataElement) or raw.VR not in (vr, None) or not raw.value:
        return None
    text = raw.value.rstrip(b"\0 ").decode("latin-1")
    return text.strip() or None if _PLAIN.fullmatch(text) else None


def _uid(header: Dataset, keyword: str) -> str:
    plain = _plain_value(header, _UIDS[keyword], "UI")
    if plain is not None and is_uid(plain):
        return plain
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
