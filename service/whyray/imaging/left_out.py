"""What of a series could not be used, told on the images that remain of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.uid import UID

from whyray.base.errors import WhyRayError
from whyray.base.failures import raise_unreadable
from whyray.imaging.instance import DERIVED_CLASSES, quiet, text
from whyray.imaging.notes import Note, NoteKind

MOST_NAMED = 8
"""Instances that one note names."""

_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "Rows")


@dataclass(frozen=True)
class LeftOut:
    """Instances or frames of a series that could not be used, by name, and why."""

    series: str
    names: tuple[str, ...]
    error: WhyRayError


def left_out_note(left_out: LeftOut) -> Note:
    """The note that images of the same series get."""
    names = list(dict.fromkeys(left_out.names))
    message = left_out.error.message
    what = f"{len(names)} instances" if len(names) > 1 else "an instance"
    if all(name in message for name in names[:MOST_NAMED]):
        return Note(NoteKind.LEFT_OUT, f"{what} of this series could not be used: {message}")
    more = len(names) - MOST_NAMED
    shown = ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return Note(NoteKind.LEFT_OUT, f"{what} of this series could not be used: {shown}: {message}")


def instance_name(header: Dataset) -> str:
    """Instance Number and SOP Instance UID, as far as there are any."""
    number, uid = text(header, "InstanceNumber"), text(header, "SOPInstanceUID") or "without SOP Instance UID"
    return f"{number} ({uid})" if number.lstrip("+-").isdigit() else uid


def unopened_image(source: Path | Dataset, error: WhyRayError) -> LeftOut | None:
    """What an image that could not be opened is missed as; None for what is no image, or names no series."""
    try:
        with quiet():
            header = (
                source
                if isinstance(source, Dataset)
                else pydicom.dcmread(source, stop_before_pixels=True, specific_tags=list(_KEYWORDS))
            )
            series, sop_class = text(header, "SeriesInstanceUID"), text(header, "SOPClassUID")
            is_image = "Rows" in header or "Image" in UID(sop_class).name
            if not series or not is_image or sop_class in DERIVED_CLASSES:
                return None
            return LeftOut(series, (instance_name(header),), error)
    except Exception as refusal:
        raise_unreadable(refusal, "a file of the study")
        # Whatever keeps a damaged file from being parsed was told when it was opened; it names no series.
        return None
