"""The File Meta Information that a DICOM file brings along: PS3.10 section 7.1, read as far as intake needs it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

from pydicom.filereader import read_dataset

from whyray.base.uids import is_uid
from whyray.intake.header import NotUnderstood

_PREFIX_END = 132
_GROUP_LENGTH_END = _PREFIX_END + 12
_LONGEST = 1 << 20


@dataclass(frozen=True)
class FileMeta:
    """What a file says of its data set, which begins at byte `length`."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    length: int


def read_file_meta(head: bytes | bytearray) -> FileMeta | None:
    """Read the beginning of a file; None if `head` is too short to tell.

    Raises
    ------
    NotUnderstood
        If it is no DICOM file, its File Meta Information is longer than 1 MiB, or one of the three UIDs is missing.
    """
    if len(head) >= _PREFIX_END and head[128:_PREFIX_END] != b"DICM":
        raise NotUnderstood("it is no DICOM file")
    if len(head) < _GROUP_LENGTH_END:
        return None
    group, element, vr, size, length = struct.unpack_from("<HH2sHI", head, _PREFIX_END)
    if (group, element, vr, size) != (0x0002, 0x0000, b"UL", 4):
        raise NotUnderstood("File Meta Information does not begin with its length")
    if length > _LONGEST:
        raise NotUnderstood("File Meta Information is too long")
    end = _GROUP_LENGTH_END + length
    if len(head) < end:
        return None
    try:
        meta = read_dataset(BytesIO(bytes(head[_GROUP_LENGTH_END:end])), False, True)
        values = [str(meta.get(tag, "")).strip() for tag in _UIDS]
    except Exception as error:  # pydicom raises what it likes on nonsense
        raise NotUnderstood(f"File Meta Information can't be read ({type(error).__name__})") from error
    for keyword, value in zip(_UIDS, values, strict=True):
        if not is_uid(value):
            raise NotUnderstood(f"{keyword} is missing or is not a UID")
    return FileMeta(values[0], values[1], values[2], end)


_UIDS = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
