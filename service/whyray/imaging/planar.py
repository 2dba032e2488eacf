"""Planar images: one affine from a model's grid to the pixels of a frame, and resampling along it both ways."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.imaging.kernels import inside, nearest_samples, sampling_matrix
from whyray.imaging.source import ModelGrid, SourceFrame

_TOGETHER = 32
"""Places of a line that are sampled in one product."""
_Products = list[tuple[slice, slice, FloatArray]]
"""Places together, the samples that they read, and with which weights (places, samples)."""


def planar_grid(frame: SourceFrame, shape: tuple[int, int], fit: Literal["pad", "stretch", "crop"]) -> ModelGrid:
    """Return the grid of `shape` over a frame.

    `pad` shows the whole frame and `crop` fills the whole grid, both with the proportions that the frame has in the
    patient (by its pixel spacing, else its Pixel Aspect Ratio, else pixels count as square); `stretch` lets the frame's
    edges meet the grid's. The affine is (row, column) of the grid → (row, column) of the frame, of centres.
    """
    spacing = np.array(frame.pixel_shape)
    extent = np.array(frame.shape) * spacing
    voxel = extent / np.array(shape)
    if fit == "pad":
        voxel = np.full(2, voxel.max())
    elif fit == "crop":
        voxel = np.full(2, voxel.min())
    scale = voxel / spacing
    affine = np.eye(3)
    affine[[0, 1], [0, 1]] = scale
    affine[:2, 2] = (np.array(frame.shape) - 1) / 2 - scale * (np.array(shape) - 1) / 2
    return ModelGrid(shape, affine)


def planar_to_grid(values: FloatArray, grid: ModelGrid) -> tuple[FloatArray, BoolArray]:
    """Sample (rows, columns) or (rows, columns, channels) on a grid: the samples, and where they lie in the frame."""
    rows, columns = (_along(grid, axis) for axis in (0, 1))
    vertical, horizontal = (_reading(_axis_of(grid, axis), values.shape[axis]) for axis in (0, 1))
    read = np.empty((grid.shape[0], *values.shape[1:]), np.float32)
    for places, samples, weights in vertical:
        flat = values[samples].reshape(len(weights[0]), -1)
        np.matmul(weights, flat, out=read[places].reshape(len(weights), -1))
    sampled = np.empty((*grid.shape, *values.shape[2:]), np.float32)
    for places, samples, weights in horizontal:
        if values.ndim == 2:
            np.matmul(read[:, samples], weights.T, out=sampled[:, places])
        else:
            np.matmul(weights, read[:, samples], out=sampled[:, places])
    covered = np.outer(inside(rows, values.shape[0]), inside(columns, values.shape[1]))
    return sampled, covered


def planar_to_frame(
    values: NDArray[Any], grid: ModelGrid, shape: tuple[int, int], order: int
) -> tuple[NDArray[np.float32], BoolArray]:
    """Sample values of the grid at every pixel of a frame of `shape`: the samples, and which pixels the grid covers.

    What the grid covers is the same array whenever the same is asked for, and can't be written to.
    """
    lines = _lines(grid, shape)
    vertical, horizontal = (_sampling(line, order) for line in lines)
    rows = np.empty((shape[0], values.shape[1]), np.float32)
    for pixels, samples, weights in vertical:
        np.matmul(weights, values[samples].astype(np.float32), out=rows[pixels])
    sampled = np.empty(shape, np.float32)
    for pixels, samples, weights in horizontal:
        np.matmul(rows[:, samples], weights.T, out=sampled[:, pixels])
    return sampled, _covered(*lines)


def planar_to_frame_nearest(
    values: NDArray[Any], grid: ModelGrid, shape: tuple[int, int]
) -> tuple[NDArray[Any], BoolArray]:
    """As `planar_to_frame` with order 0, of values of any type, which they keep."""
    rows, columns = _lines(grid, shape)
    # columns first, while there are few rows: rows are then copied whole
    nearest = values.take(nearest_samples(columns.places, columns.size), axis=1)
    return nearest.take(nearest_samples(rows.places, rows.size), axis=0), _covered(rows, columns)


@dataclass(frozen=True)
class _Line:
    """`count` pixels of a frame along one axis of a grid with `size` samples."""

    scale: float
    offset: float
    count: int
    size: int

    @property
    def places(self) -> NDArray[np.float64]:
        """Where the pixels lie, in indices of the grid."""
        return np.asarray((np.arange(self.count) - self.offset) / self.scale)


def _lines(grid: ModelGrid, shape: tuple[int, int]) -> tuple[_Line, _Line]:
    """The rows and the columns of a frame."""
    scale, offset = grid.to_reference[[0, 1], [0, 1]], grid.to_reference[:2, 2]
    first, second = (_Line(float(scale[axis]), float(offset[axis]), shape[axis], grid.shape[axis]) for axis in (0, 1))
    return first, second


@lru_cache(maxsize=4)  # all maps of an image lie on the same grid
def _sampling(line: _Line, order: int) -> _Products:
    return _products(sampling_matrix(line.places, line.size, step=float(1 / line.scale), order=order))


def _products(weights: FloatArray) -> _Products:
    """A product with weights (places, samples) as several, each with those samples that its places read.

    A place reads two samples, or those of its own width: of a product with all of them a hundredth counts.
    """
    count, size = weights.shape
    read = weights != 0
    first, behind = read.argmax(axis=1), size - read[:, ::-1].argmax(axis=1)
    products = []
    for start in range(0, count, _TOGETHER):
        places = slice(start, min(start + _TOGETHER, count))
        samples = slice(int(first[places].min()), int(behind[places].max()))
        products.append((places, samples, np.ascontiguousarray(weights[places, samples])))
    return products


@lru_cache(maxsize=2)
def _covered(rows: _Line, columns: _Line) -> BoolArray:
    covered = np.outer(inside(rows.places, rows.size), inside(columns.places, columns.size))
    covered.flags.writeable = False
    return covered


def _along(grid: ModelGrid, axis: int) -> NDArray[np.float64]:
    scale, offset, count = _axis_of(grid, axis)
    return np.asarray(np.arange(count) * scale + offset, dtype=np.float64)


def _axis_of(grid: ModelGrid, axis: int) -> tuple[float, float, int]:
    """Along one axis of a frame: how far the grid's samples are apart, where the first lies, and how many they are."""
    return float(grid.to_reference[axis, axis]), float(grid.to_reference[axis, 2]), grid.shape[axis]


@lru_cache(maxsize=8)  # a detector's radiographs are of one size, and several packages read each
def _reading(axis: tuple[float, float, int], size: int) -> _Products:
    scale, offset, count = axis
    positions = np.asarray(np.arange(count) * scale + offset, dtype=np.float64)
    return _products(sampling_matrix(positions, size, step=scale))
