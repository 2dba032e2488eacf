"""Where pixels lie: PS3.3 section C.7.6.2."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom import Dataset

from whyray.base.errors import GeometryError
from whyray.imaging.attributes import attribute_name, decimal_numbers, written_value
from whyray.imaging.functional_groups import holder_of
from whyray.imaging.nuclear_medicine import (
    distance_from_first_slice,
    is_reconstructed_tomogram,
    place_of_first_slice,
)
from whyray.imaging.pixel_spacing import pixel_spacing
from whyray.imaging.source import Affine, SourceFrame


def frame_geometry(header: Dataset, frame_number: int) -> tuple[tuple[float, float] | None, Affine | None]:
    """Spacing (between rows, between columns; mm) and pixel → patient affine of one frame; None where not given.

    Raises GeometryError when a position or an orientation is given that can't be one.
    """
    spacing = pixel_spacing(header, frame_number)
    position = _position(header, frame_number)
    orientation = _orientation(header, frame_number)
    if position is None or orientation is None or spacing is None:
        return spacing, None
    row, column = orientation
    return spacing, plane_affine(position, row, column, spacing)


def plane_affine(position: ArrayLike, row: ArrayLike, column: ArrayLike, spacing: tuple[float, float]) -> Affine:
    """Equation C.7.6.2.1-1: (column index, row index, 0, 1) → (x, y, z, 1) in mm; third column is the unit normal."""
    affine = np.eye(4)
    affine[:3, 0] = np.asarray(row, dtype=np.float64) * spacing[1]
    affine[:3, 1] = np.asarray(column, dtype=np.float64) * spacing[0]
    affine[:3, 2] = np.cross(np.asarray(row, dtype=np.float64), np.asarray(column, dtype=np.float64))
    affine[:3, 3] = position
    return affine


def pixel_aspect_ratio(header: Dataset) -> tuple[float, float] | None:
    """(vertical, horizontal) of Pixel Aspect Ratio (0028,0034), PS3.3 section C.7.6.3.1.7; None where unusable."""
    values = decimal_numbers(header, "PixelAspectRatio")
    if len(values) != 2 or not all(value is not None and value > 0 for value in values):
        return None
    return cast("tuple[float, float]", values)


def frame_pixel_to_patient(frame: SourceFrame, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.float64]:
    """Patient coordinates (mm), shape (..., 3), of pixel centres given by row and column indices of shape (...).

    Raises GeometryError where the frame has no position.
    """
    if frame.to_patient is None:
        raise GeometryError(f"instance {frame.sop_instance_uid}: expected Image Position (Patient), found none")
    rows, columns = np.broadcast_arrays(np.asarray(rows, np.float64), np.asarray(columns, np.float64))
    return (
        frame.to_patient[:3, 3]
        + columns[..., None] * frame.to_patient[:3, 0]
        + rows[..., None] * frame.to_patient[:3, 1]
    )


def _position(header: Dataset, frame_number: int) -> NDArray[np.float64] | None:
    if is_reconstructed_tomogram(header):
        return _position_in_tomogram(header, frame_number)
    holder = holder_of(header, frame_number, "PlanePositionSequence", "ImagePositionPatient")
    return None if holder is None else _vector(holder, 3, "ImagePositionPatient", header)


def _position_in_tomogram(header: Dataset, frame_number: int) -> NDArray[np.float64]:
    first = _vector(place_of_first_slice(header, "ImagePositionPatient"), 3, "ImagePositionPatient", header)
    normal = np.cross(*_directions(place_of_first_slice(header, "ImageOrientationPatient"), header))
    return np.asarray(first + normal * distance_from_first_slice(header, frame_number))


def _orientation(header: Dataset, frame_number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if is_reconstructed_tomogram(header):
        return _directions(place_of_first_slice(header, "ImageOrientationPatient"), header)
    holder = holder_of(header, frame_number, "PlaneOrientationSequence", "ImageOrientationPatient")
    return None if holder is None else _directions(holder, header)


def _directions(holder: Dataset, header: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cosines = _vector(holder, 6, "ImageOrientationPatient", header)
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(lengths[0] - 1) > 0.05 or abs(lengths[1] - 1) > 0.05 or abs(row @ column) > 0.05:
        raise GeometryError(
            f"instance {header.get('SOPInstanceUID')}: expected two orthogonal unit vectors in "
            f"{attribute_name('ImageOrientationPatient')}, found {written_value(holder, 'ImageOrientationPatient')}"
        )
    row = row / lengths[0]
    column = column - row * (row @ column)
    return row, column / np.linalg.norm(column)


def _vector(holder: Dataset, length: int, keyword: str, header: Dataset) -> NDArray[np.float64]:
    numbers = decimal_numbers(holder, keyword)
    if len(numbers) != length or any(number is None for number in numbers):
        raise GeometryError(
            f"instance {header.get('SOPInstanceUID')}: expected {length} numbers in {attribute_name(keyword)}, "
            f"found {written_value(holder, keyword)}"
        )
    return np.array(numbers, dtype=np.float64)
