"""Files as routing sees them: headers without pixels, grouped into series."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from whyray.base.errors import DecodeError
from whyray.routing.match import Series

_OF_NONSENSE = (AttributeError, IndexError, RecursionError, TypeError, UnicodeError, struct.error, zlib.error)
"""What pydicom also raises on bytes that are no data set, or one that is nested too deep or not whole."""


def read_header(file: Path | BinaryIO, *, called: str | None = None) -> Dataset:
    """The attributes of a DICOM file, without its pixel data; `called` names it in errors instead of its path.

    Raises
    ------
    DecodeError
        If it is no DICOM file.
    """
    try:
        return dcmread(file, stop_before_pixels=True)
    except (InvalidDicomError, EOFError, ValueError, KeyError, NotImplementedError, *_OF_NONSENSE) as error:
        raise DecodeError(
            f"{called or file}: expected a DICOM file (PS3.10), found one that can't be parsed "
            f"({type(error).__name__})",
            advice="Name .dcm files or a folder that holds some.",
        ) from error


def series_of(headers: Iterable[Dataset]) -> list[Series]:
    """The series of these instances, in the order in which they first come, each with one header and its count."""
    firsts: dict[str, Dataset] = {}
    counts: Counter[str] = Counter()
    for header in headers:
        uid = str(header.get("SeriesInstanceUID", ""))
        firsts.setdefault(uid, header)
        counts[uid] += 1
    return [Series(uid, first, counts[uid]) for uid, first in firsts.items()]
