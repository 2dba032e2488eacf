"""One instance at the door: a header that can be trusted to parse, its pixels left where they are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import UID

from whyray.errors import DecodeError, ImageError, ResourceExhausted, WhyRayError

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

DERIVED_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation",
    "1.2.840.10008.5.1.4.1.1.30": "Parametric Map",
    "1.2.840.10008.5.1.4.1.1.481.2": "RT Dose",
}
"""SOP classes whose pixels are not an image of the patient; no model runs on them."""

PIXEL_GROUP = 0x7FE0

LARGEST_IMAGE = 2**32
"""Pixels. A header that promises more is taken for damage, before memory is asked for."""


@dataclass(frozen=True)
class Instance:
    """An image instance: `header` without pixel data, `source` to take the pixels from later."""

    source: Path | Dataset
    header: Dataset

    @property
    def uid(self) -> str:
        """SOP Instance UID."""
        return str(self.header.SOPInstanceUID)

    @property
    def series(self) -> str:
        """Series Instance UID."""
        return str(self.header.SeriesInstanceUID)

    @property
    def sop_class(self) -> UID:
        """SOP Class UID."""
        return UID(self.header.SOPClassUID)

    @property
    def modality(self) -> str:
        """Modality (0008,0060), empty where absent."""
        return text(self.header, "Modality")

    @property
    def frame_count(self) -> int:
        """Number of Frames (0028,0008), 1 where absent."""
        return int(self.header.get("NumberOfFrames") or 1)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return int(self.header.Rows), int(self.header.Columns)

    def with_pixels(self) -> Dataset:
        """Return the whole data set; read again from the file, so that a series is never in memory at once.

        Raises DecodeError when the file can't be read any more.
        """
        if isinstance(self.source, Dataset):
            return self.source
        with refusing_as_image_error(self.uid), quiet():
            return pydicom.dcmread(self.source, force=False)


def open_instance(source: Path | Dataset) -> Instance:
    """Read the header of one instance.

    Raises DecodeError for what is not a readable DICOM image instance, ImageError for objects that are no images.
    """
    try:
        with quiet():
            header = _header_of(source)
    except MemoryError as error:
        raise ResourceExhausted("not enough memory to read a header") from error
    except Exception as error:
        raise DecodeError(
            f"expected a DICOM file (PS3.10), found one that can't be parsed ({type(error).__name__})",
            advice="Send the instance again; the file may be truncated, or not DICOM at all.",
        ) from error
    uid = text(header, "SOPInstanceUID") or "without SOP Instance UID"
    with refusing_as_image_error(uid), quiet():
        _refuse_what_is_no_image(header, uid)
        instance = Instance(source, header)
        # Touching each value here makes a value that can't be converted this instance's refusal, not its series'.
        _ = (instance.series, instance.sop_class, instance.frame_count, instance.shape)
        return instance


def text(header: Dataset, keyword: str) -> str:
    """An attribute as stripped text; empty where absent or empty."""
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


@contextmanager
def refusing_as_image_error(uid: str) -> Iterator[None]:
    """Turn whatever damaged data makes a library raise into an error that names the instance."""
    try:
        yield
    except WhyRayError:
        raise
    except MemoryError as error:
        raise ResourceExhausted(f"instance {uid}: not enough memory to read it") from error
    except Exception as error:
        raise ImageError(f"instance {uid}: expected valid attributes, found {type(error).__name__}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings: they quote values, and a patient's name must not reach a log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _header_of(source: Path | Dataset) -> Dataset:
    if isinstance(source, Dataset):
        return _without_pixels(source)
    header = pydicom.dcmread(source, stop_before_pixels=True)
    # Damage shows up as a nonsense first element when nothing identifies the data as an instance.
    if "SOPInstanceUID" not in header and "SOPClassUID" not in header and len(header) == 0:
        raise ValueError("empty data set")
    return header


def _without_pixels(source: Dataset) -> Dataset:
    """A data set of the same raw elements and character set, without the pixel data's group; nothing is copied."""
    kind: Any = type(source)
    header = kind.__new__(kind)
    header.__dict__.update(source.__dict__)
    header._dict = {tag: element for tag, element in source._dict.items() if tag.group != PIXEL_GROUP}
    header._pixel_array, header._pixel_id = None, {}
    return header


def _refuse_what_is_no_image(header: Dataset, uid: str) -> None:
    sop_class = text(header, "SOPClassUID")
    if not sop_class:
        raise ImageError(f"instance {uid}: expected an image, found no SOP Class UID (a DICOMDIR or a damaged file)")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not text(header, keyword):
            raise ImageError(f"instance {uid}: expected {keyword}, found none")
    name = UID(sop_class).name
    if sop_class in DERIVED_CLASSES:
        raise ImageError(f"instance {uid}: expected an image of the patient, found a {DERIVED_CLASSES[sop_class]}")
    if header.get("Rows") is None or header.get("Columns") is None:
        if "Image" in name:
            raise DecodeError(f"instance {uid}: expected pixel data in a {name} object, found no Rows and Columns")
        raise ImageError(f"instance {uid}: expected an image, found {name}")
    rows, columns, frames = int(header.Rows), int(header.Columns), int(header.get("NumberOfFrames") or 1)
    if min(rows, columns, frames) < 1 or rows * columns * frames > LARGEST_IMAGE:
        raise DecodeError(f"instance {uid}: expected an image, found {frames} frames of {rows} x {columns}")
