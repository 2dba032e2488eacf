"""How far pixels are apart, and in which plane: PS3.3 section 10.7.

A projection image gives the distance on its detector, where the patient is drawn larger than life. Only a calibration,
or the magnification that the device estimated, makes lengths in the patient of it.
"""

from __future__ import annotations

from typing import Literal

from pydicom import Dataset

from whyray.imaging.attributes import decimal_numbers, whole_number
from whyray.imaging.functional_groups import group_item, holder_of
from whyray.imaging.ultrasound_regions import has_ultrasound_regions, spacing_of_frame

Spacing = tuple[float, float]
"""(between rows, between columns) in mm."""

SpacingPlane = Literal["patient", "estimated", "detector"]
"""Where lengths are true: in the patient; there by the magnification that the device estimated; on the detector."""

_AT_DETECTOR = "FramePixelDataPropertiesSequence"
"""Functional group of Imager Pixel Spacing (C.8.19.6.4)."""
_CALIBRATED = "ProjectionPixelCalibrationSequence"
"""Functional group of Object Pixel Spacing in Center of Beam (C.8.19.6.9)."""


def pixel_spacing(header: Dataset, frame_number: int) -> Spacing | None:
    """Distance between rows and between columns, from the first attribute that gives a positive one.

    Where ultrasound has regions, they say it: a spacing that is given besides is that of one of them.
    """
    return _spacing_and_plane(header, frame_number)[0]


def spacing_plane(header: Dataset, frame_number: int) -> SpacingPlane:
    """The plane in which `pixel_spacing` holds."""
    return _spacing_and_plane(header, frame_number)[1]


def magnification(header: Dataset) -> float:
    """Estimated Radiographic Magnification Factor (0018,1114); 1 where there is none that can be one."""
    factors = decimal_numbers(header, "EstimatedRadiographicMagnificationFactor")
    factor = factors[0] if len(factors) == 1 else None
    return factor if factor is not None and factor >= 1 else 1.0


def _spacing_and_plane(header: Dataset, frame_number: int) -> tuple[Spacing | None, SpacingPlane]:
    for sequence, keyword in (
        ("PixelMeasuresSequence", "PixelSpacing"),
        (_CALIBRATED, "ObjectPixelSpacingInCenterOfBeam"),
    ):
        group = group_item(header, frame_number, sequence)
        spacing = None if group is None else _positive_pair(group, keyword)
        if spacing is not None:
            return spacing, "patient"
    if has_ultrasound_regions(header):
        rows, columns = (whole_number(header, keyword) for keyword in ("Rows", "Columns"))
        return None if rows is None or columns is None else spacing_of_frame(header, (rows, columns)), "patient"
    stated, at_detector = _positive_pair(header, "PixelSpacing"), _at_detector(header, frame_number)
    # One that repeats the detector's was not calibrated (10.7.1.3), whatever it is called.
    if stated is not None and (stated != at_detector or header.get("PixelSpacingCalibrationType")):
        return stated, "patient"
    if at_detector is not None:
        factor = magnification(header)
        plane: SpacingPlane = "detector" if factor == 1 else "estimated"
        return (at_detector[0] / factor, at_detector[1] / factor), plane
    return _positive_pair(header, "NominalScannedPixelSpacing"), "detector"


def _at_detector(header: Dataset, frame_number: int) -> Spacing | None:
    holder = holder_of(header, frame_number, _AT_DETECTOR, "ImagerPixelSpacing")
    return None if holder is None else _positive_pair(holder, "ImagerPixelSpacing")


def _positive_pair(holder: Dataset, keyword: str) -> Spacing | None:
    values = decimal_numbers(holder, keyword)
    if len(values) != 2:
        return None
    first, second = values
    return None if first is None or second is None or first <= 0 or second <= 0 else (first, second)
