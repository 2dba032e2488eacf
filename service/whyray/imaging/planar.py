"""Planar images: one affine from a model's grid to the pixels of a frame, and resampling along it both ways."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.imaging.kernels import inside, nearest_samples, sampling_matrix
from whyray.imaging.source import ModelGrid, SourceFrame


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
    vertical = sampling_matrix(rows, values.shape[0], step=float(grid.to_reference[0, 0]))
    horizontal = sampling_matrix(columns, values.shape[1], step=float(grid.to_reference[1, 1]))
    sampled = np.einsum("ir,rc...->ic...", vertical, values, optimize=True)
    sampled = np.einsum("jc,ic...->ij...", horizontal, sampled, optimize=True)
    covered = np.outer(inside(rows, values.shape[0]), inside(columns, values.shape[1]))
    return np.ascontiguousarray(sampled, dtype=np.float32), covered


def planar_to_frame(
    values: NDArray[Any], grid: ModelGrid, shape: tuple[int, int], order: int
) -> tuple[NDArray[np.float32], BoolArray]:
    """Sample values of the grid at every pixel of a frame of `shape`: the samples, and which pixels the grid covers."""
    scale = grid.to_reference[[0, 1], [0, 1]]
    rows, columns = _of_frame(grid, shape)
    vertical = sampling_matrix(rows, grid.shape[0], step=float(1 / scale[0]), order=order)
    horizontal = sampling_matrix(columns, grid.shape[1], step=float(1 / scale[1]), order=order)
    covered = np.outer(inside(rows, grid.shape[0]), inside(columns, grid.shape[1]))
    return (vertical @ values.astype(np.float32) @ horizontal.T).astype(np.float32, copy=False), covered


def planar_to_frame_nearest(
    values: NDArray[Any], grid: ModelGrid, shape: tuple[int, int]
) -> tuple[NDArray[Any], BoolArray]:
    """As `planar_to_frame` with order 0, of values of any type, which they keep."""
    rows, columns = _of_frame(grid, shape)
    covered = np.outer(inside(rows, grid.shape[0]), inside(columns, grid.shape[1]))
    nearest = nearest_samples(rows, grid.shape[0])[:, None], nearest_samples(columns, grid.shape[1])[None]
    return values[nearest], covered


def _of_frame(grid: ModelGrid, shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the rows and the columns of a frame lie, in indices of the grid."""
    scale, offset = grid.to_reference[[0, 1], [0, 1]], grid.to_reference[:2, 2]
    return (np.arange(shape[0]) - offset[0]) / scale[0], (np.arange(shape[1]) - offset[1]) / scale[1]


def _along(grid: ModelGrid, axis: int) -> NDArray[np.float64]:
    indices = np.arange(grid.shape[axis])
    return np.asarray(indices * grid.to_reference[axis, axis] + grid.to_reference[axis, 2], dtype=np.float64)
