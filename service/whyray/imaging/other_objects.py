"""What lies beside images in a folder or a study and is none: DICOMDIR, reports, documents, presentation states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.uid import UID, MediaStorageDirectoryStorage, MRSpectroscopyStorage

from whyray.base.failures import raise_unreadable
from whyray.imaging.instance import DERIVED_CLASSES, quiet, text

_READ = ["SOPClassUID", "Rows", "Columns", "DirectoryRecordSequence"]


def sop_class_of(file: Path | BinaryIO) -> tuple[str, bool]:
    """SOP Class UID and whether the file has Rows and Columns; ('', False) for what can't be read as DICOM."""
    try:
        with quiet():
            head = dcmread(file, stop_before_pixels=True, specific_tags=list(_READ))
            if "DirectoryRecordSequence" in head:
                return str(MediaStorageDirectoryStorage), False
            meta = text(head.file_meta, "MediaStorageSOPClassUID")
            return text(head, "SOPClassUID") or meta, _has_size(head)
    except Exception as error:  # pydicom raises what it likes: whoever reads it as an image says what is wrong
        raise_unreadable(error, "a file of the study")
        return "", False


def _has_size(head: Dataset) -> bool:
    return head.get("Rows") is not None and head.get("Columns") is not None


def other_object(sop_class_uid: str, *, has_size: bool) -> str | None:
    """The name of a kind of object that holds no image of the patient; None for images and what can't be told.

    By the standard's own names of SOP Classes (PS3.6 annex A), which say 'Image' where there is one; an object of a
    private class is none if it has no Rows and Columns. One whose class is an image's is left to the reader of
    images, to say what it lacks.
    """
    if not sop_class_uid:
        return None
    uid = UID(sop_class_uid)
    if sop_class_uid == MediaStorageDirectoryStorage:
        return "DICOMDIR"
    if uid.is_private or uid.type != "SOP Class":
        return None if has_size else f"object of private SOP Class {sop_class_uid}"
    name: str = uid.name.removesuffix(" (Retired)").removesuffix(" SOP Class").removesuffix(" Storage")
    if sop_class_uid in DERIVED_CLASSES or sop_class_uid == MRSpectroscopyStorage:
        return name
    return None if has_size or "Image" in uid.name else name


def counted(names: Iterable[str]) -> str:
    """'2 × Basic Text SR, DICOMDIR', in the order of the alphabet."""
    tally = Counter(names)
    return ", ".join(name if tally[name] == 1 else f"{tally[name]} × {name}" for name in sorted(tally))


def passed_over(names: Iterable[str]) -> str | None:
    """One sentence on what is no image; None where there is nothing of the kind."""
    listed = list(names)
    if not listed:
        return None
    return f"passed over, since {'it is' if len(listed) == 1 else 'they are'} no image: {counted(listed)}"
