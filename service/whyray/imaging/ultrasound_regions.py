"""Calibrated regions of ultrasound: where in a frame a pixel has a size in the patient (PS3.3 section C.8.5.5).

A frame may show a 2D image beside a Doppler spectrum, an M-mode trace or a bar of grey values; what lies outside the 2D
region has no length in mm, or another one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from whyray.base.arrays import BoolArray
from whyray.imaging.attributes import decimal_numbers

MILLIMETRES_PER_CENTIMETRE = 10.0
TWO_DIMENSIONAL = 1
"""Region Spatial Format (0018,6012) of a 2D image, of tissue or flow; of M-mode, spectra and graphics it is another."""
CENTIMETRES = 3
"""Physical Units X and Y Direction (0018,6024), (0018,6026)."""
_BOUNDS = ("RegionLocationMinY0", "RegionLocationMinX0", "RegionLocationMaxY1", "RegionLocationMaxX1")


@dataclass(frozen=True)
class _Region:
    """`bounds`: first row, first column, last row and last column, from 0, all within; None where they are not said.

    `spacing`: (between rows, between columns) in mm; None of what is no 2D image in cm.
    """

    bounds: tuple[float, float, float, float] | None
    spacing: tuple[float, float] | None

    def holds(self, area: tuple[int, int, int, int]) -> bool:
        """Whether all of an area, bounds as its own, lies in it."""
        if self.bounds is None:
            return False
        top, left, bottom, right = self.bounds
        return top <= area[0] and left <= area[1] and area[2] <= bottom and area[3] <= right

    def meets(self, area: tuple[int, int, int, int]) -> bool:
        """Whether a part of an area may lie in it."""
        if self.bounds is None:
            return True
        top, left, bottom, right = self.bounds
        return top <= area[2] and left <= area[3] and area[0] <= bottom and area[1] <= right


def has_ultrasound_regions(header: Dataset) -> bool:
    """Whether the image says by regions how large its pixels are."""
    return bool(header.get("SequenceOfUltrasoundRegions"))


def spacing_of_frame(header: Dataset, shape: tuple[int, int]) -> tuple[float, float] | None:
    """(between rows, between columns) in mm where all of a frame of (rows, columns) lies in one 2D region in cm."""
    return _spacing_within(header, (0, 0, shape[0] - 1, shape[1] - 1))


def spacing_of_area(header: Dataset, area: BoolArray) -> tuple[float, float] | None:
    """As `spacing_of_frame`, of the pixels that are True in `area` (rows, columns); None where there is none."""
    if not has_ultrasound_regions(header):
        return None
    rows, columns = (np.flatnonzero(area.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return _spacing_within(header, (int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])))


def pixel_proportions(header: Dataset) -> tuple[float, float] | None:
    """(height, 1): of a pixel of the 2D regions in cm, in widths of it, where they agree."""
    proportions = {region.spacing[0] / region.spacing[1] for region in _regions(header) if region.spacing is not None}
    return (proportions.pop(), 1.0) if len(proportions) == 1 else None


def _spacing_within(header: Dataset, area: tuple[int, int, int, int]) -> tuple[float, float] | None:
    """That of a region which holds the area, unless a part of it lies in a region of other spacing, or of none, too."""
    regions = _regions(header)
    spacings = {region.spacing for region in regions if region.meets(area)}
    if len(spacings) != 1 or not any(region.holds(area) for region in regions):
        return None
    return spacings.pop()


def _regions(header: Dataset) -> list[_Region]:
    return [_Region(_bounds(region), _spacing(region)) for region in header.get("SequenceOfUltrasoundRegions") or []]


def _bounds(region: Dataset) -> tuple[float, float, float, float] | None:
    top, left, bottom, right = (_one(region, keyword) for keyword in _BOUNDS)
    if top is None or left is None or bottom is None or right is None:
        return None
    return top, left, bottom, right


def _spacing(region: Dataset) -> tuple[float, float] | None:
    is_flat = _one(region, "RegionSpatialFormat") == TWO_DIMENSIONAL
    units = {_one(region, keyword) for keyword in ("PhysicalUnitsXDirection", "PhysicalUnitsYDirection")}
    across, down = _one(region, "PhysicalDeltaX"), _one(region, "PhysicalDeltaY")
    if not is_flat or units != {CENTIMETRES} or not across or not down:
        return None
    return abs(down) * MILLIMETRES_PER_CENTIMETRE, abs(across) * MILLIMETRES_PER_CENTIMETRE


def _one(region: Dataset, keyword: str) -> float | None:
    values = decimal_numbers(region, keyword)
    return values[0] if len(values) == 1 else None
