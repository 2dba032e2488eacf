"""Head CT series as the training script takes them, and sampling at any place of the patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError
from scipy import ndimage

FloatArray = npt.NDArray[np.float64]
SHAPE = (32, 128, 128)
SPACING = (5.0, 2.0, 2.0)
WINDOW = (300.0, 2000.0)
AIR = -1024.0


@dataclass(frozen=True)
class Series:
    """One series, slices sorted along their normal; tilt and changing distances kept as they are.

    hu: (S, R, C) float32; origins: (S, 3) mm, centres of first voxels, LPS; axes: (3, 3), rows are the unit vectors
    along slices (the normal), rows (down a column) and columns (along a row); pixel: mm between rows and columns.
    """

    name: str
    hu: npt.NDArray[np.float32]
    origins: FloatArray
    axes: FloatArray
    pixel: tuple[float, float]

    @property
    def centre(self) -> FloatArray:
        """mm of the middle of the field of view of the middle of the series."""
        half = (np.array(self.hu.shape[1:]) - 1) / 2 * self.pixel
        middle = (self.origins[0] + self.origins[-1]) / 2
        return np.asarray(middle + half[0] * self.axes[1] + half[1] * self.axes[2])

    def halved(self) -> Series:
        """With pixels of twice the size in the slices, each the mean of four."""
        slices, rows, columns = self.hu.shape
        even = self.hu[:, : rows // 2 * 2, : columns // 2 * 2]
        mean = even.reshape(slices, rows // 2, 2, columns // 2, 2).mean(axis=(2, 4), dtype=np.float32)
        origins = self.origins + 0.5 * (self.pixel[0] * self.axes[1] + self.pixel[1] * self.axes[2])
        return Series(self.name, mean, origins, self.axes, (2 * self.pixel[0], 2 * self.pixel[1]))

    @property
    def distance(self) -> float:
        """Mean mm between slices."""
        heights = self.origins @ self.axes[0]
        return float((heights[-1] - heights[0]) / (len(heights) - 1))

    def indices(self, points: FloatArray) -> FloatArray:
        """(..., 3) mm to (3, ...) fractional slice, row and column; the distance between slices may change."""
        heights = self.origins @ self.axes[0]
        slices = _interpolate(points @ self.axes[0], heights)
        numbers = np.arange(len(heights))
        origin = np.stack([np.interp(slices, numbers, self.origins[:, axis]) for axis in range(3)], axis=-1)
        offset = points - origin
        return np.stack([slices, offset @ self.axes[1] / self.pixel[0], offset @ self.axes[2] / self.pixel[1]])


def load_series(folder: Path) -> Series:
    """Read the CT slices of one folder; files that are no images are passed over."""
    slices = []
    for path in sorted(folder.iterdir()):
        try:
            data = pydicom.dcmread(path)
        except (InvalidDicomError, IsADirectoryError):
            continue
        if "PixelData" in data:
            slices.append(data)
    if not slices:
        raise FileNotFoundError(f"no CT slices in {folder}")
    along_row, along_column = np.array(slices[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    slices.sort(key=lambda data: float(np.dot(normal, np.array(data.ImagePositionPatient, dtype=float))))
    hu = np.stack([_hounsfield(data) for data in slices])
    origins = np.array([data.ImagePositionPatient for data in slices], dtype=float)
    pixel = (float(slices[0].PixelSpacing[0]), float(slices[0].PixelSpacing[1]))
    return Series(folder.name, hu, origins, np.stack([normal, along_column, along_row]), pixel)


def grid_points(shape: tuple[int, ...], spacing: tuple[float, ...], axes: FloatArray, centre: FloatArray) -> FloatArray:
    """(*shape, 3) mm of a grid whose middle is `centre` and whose axes are the rows of `axes`."""
    steps = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing, strict=True)]
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    return np.asarray(offsets @ axes + centre)


def sample(volume: npt.NDArray[np.float32], indices: FloatArray, order: int, outside: float) -> npt.NDArray[np.float32]:
    """Values of (S, R, C) at (3, ...) fractional indices: linear (`order` 1) or nearest (0)."""
    return np.asarray(
        ndimage.map_coordinates(volume, indices, order=order, mode="constant", cval=outside, output=np.float32)
    )


def windowed(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """HU to 0..1, as `intensity` in model.yaml says."""
    centre, width = WINDOW
    return np.asarray(np.clip((hu - centre) / width + 0.5, 0, 1), dtype=np.float32)


def _interpolate(values: FloatArray, knots: FloatArray) -> FloatArray:
    """Fractional index of `values` among rising `knots`; outside them on the line through the two nearest."""
    numbers = np.arange(len(knots), dtype=float)
    inside = np.interp(values, knots, numbers)
    below = (values - knots[0]) / (knots[1] - knots[0])
    above = numbers[-1] + (values - knots[-1]) / (knots[-1] - knots[-2])
    return np.asarray(np.where(values < knots[0], below, np.where(values > knots[-1], above, inside)))


def _hounsfield(data: pydicom.Dataset) -> npt.NDArray[np.float32]:
    hu = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
    return np.asarray(np.maximum(hu, AIR), dtype=np.float32)
