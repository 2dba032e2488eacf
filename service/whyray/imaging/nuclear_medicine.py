"""Where the slices of a reconstructed nuclear medicine image lie: PS3.3 sections C.8.4.8, C.8.4.11 and C.8.4.15."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from pydicom import Dataset
from pydicom.uid import NuclearMedicineImageStorage

from whyray.base.errors import GeometryError
from whyray.imaging.attributes import attribute_name, decimal_numbers, whole_number, written_texts, written_value

_CLASSES = (str(NuclearMedicineImageStorage), "1.2.840.10008.5.1.4.1.1.5")
"""Nuclear Medicine Image Storage, and the retired one."""

RECONSTRUCTED = frozenset({"RECON TOMO", "RECON GATED TOMO"})
"""Image Type, value 3, of images whose frames are slices; all others are projections, which lie nowhere."""

VECTORS = ("EnergyWindowVector", "RRIntervalVector", "TimeSlotVector")
"""What tells the frames of a tomogram apart beside the Slice Vector."""


_VIEWS = {
    **dict.fromkeys(("399321004", "G-5215"), "ANT"),
    **dict.fromkeys(("399001007", "G-5216"), "POST"),
    **dict.fromkeys(("399118008", "G-5223"), "L LAT"),
    **dict.fromkeys(("399297009", "G-5222"), "R LAT"),
    **dict.fromkeys(("399074003", "G-5207"), "LAO"),
    **dict.fromkeys(("399108003", "G-5206"), "RAO"),
    **dict.fromkeys(("399136008", "G-5209"), "LPO"),
    **dict.fromkeys(("399075002", "G-5208"), "RPO"),
}
"""How planar images are marked, by the code of their view: PS3.16 CID 26, in SNOMED CT and as it was coded before."""


def detector_view(header: Dataset, frame_number: int) -> str:
    """From which side of the patient a frame was taken, as planar images are marked: ANT, POST, LAO.

    By the View Code Sequence (0054,0220) of the frame's detector (C.8.4.11), of several the one that the Detector
    Vector names; empty where that is not said.
    """
    if str(header.get("SOPClassUID")) not in _CLASSES:
        return ""
    detectors, vector = header.get("DetectorInformationSequence") or [], _vector(header, "DetectorVector")
    number = vector[frame_number - 1] if frame_number <= len(vector) else 1 if len(detectors) == 1 else None
    if number is None or not 1 <= number <= len(detectors):
        return ""
    views = detectors[int(number) - 1].get("ViewCodeSequence") or []
    return _VIEWS.get(written_texts(views[0], "CodeValue")[0], "") if views else ""


def is_reconstructed_tomogram(header: Dataset) -> bool:
    """Whether the frames are slices, of which the Detector Information Sequence says where the first lies."""
    if str(header.get("SOPClassUID")) not in _CLASSES:
        return False
    image_type = written_texts(header, "ImageType")
    return len(image_type) > 2 and image_type[2] in RECONSTRUCTED


def place_of_first_slice(header: Dataset, keyword: str) -> Dataset:
    """What gives the first slice's position or orientation: the detector's item, else a single image's own top level.

    Raises GeometryError where neither does. What stands at the top of an image of many slices says nothing of each.
    """
    detectors = header.get("DetectorInformationSequence") or []
    holders = [*detectors[:1], *([header] if _frames(header) == 1 else [])]
    for holder in holders:
        if holder.get(keyword) not in (None, ""):
            return holder
    raise GeometryError(
        f"instance {header.get('SOPInstanceUID')}: expected {attribute_name(keyword)} of a reconstructed tomogram in "
        f"{attribute_name('DetectorInformationSequence')}, found none"
    )


def distance_from_first_slice(header: Dataset, frame_number: int) -> float:
    """How far a frame lies from the first slice, in mm along the cross product of its row and column direction.

    Raises GeometryError where Spacing Between Slices or the Slice Vector does not say it.
    """
    index = _slice_index(header, frame_number)
    if _frames(header) == 1:
        return 0.0
    spacing = decimal_numbers(header, "SpacingBetweenSlices")
    if len(spacing) != 1 or not spacing[0]:
        raise GeometryError(
            f"instance {header.get('SOPInstanceUID')}: expected a distance in {attribute_name('SpacingBetweenSlices')} "
            f"of a reconstructed tomogram, found {written_value(header, 'SpacingBetweenSlices')}"
        )
    return spacing[0] * (index - 1)


def _slice_index(header: Dataset, frame_number: int) -> int:
    """The slice that a frame shows, from 1; the frame's number where there is no vector and nothing but slices."""
    frames, name = _frames(header), attribute_name("SliceVector")
    vector = _vector(header, "SliceVector")
    expected = f"instance {header.get('SOPInstanceUID')}: expected in {name}"
    if not vector:
        others = [keyword for keyword in VECTORS if len(set(_vector(header, keyword))) > 1]
        if others:
            words = f"the slice of each frame, beside {attribute_name(others[0])}, found none"
            raise GeometryError(f"{expected} {words}")
        return frame_number
    if len(vector) != frames:
        raise GeometryError(f"{expected} the slice of each frame, found {len(vector)} values for {frames} frames")
    last = whole_number(header, "NumberOfSlices") or frames
    if not all(value in range(1, last + 1) for value in vector):
        wrong = next(value for value in vector if value not in range(1, last + 1))
        found = "another value" if wrong is None else f"{wrong:g}"
        raise GeometryError(f"{expected} numbers of slices from 1 to {last}, found {found}")
    return int(cast(float, vector[frame_number - 1]))


def _vector(header: Dataset, keyword: str) -> Sequence[float | None]:
    return decimal_numbers(header, keyword)


def _frames(header: Dataset) -> int:
    return whole_number(header, "NumberOfFrames") or 1
