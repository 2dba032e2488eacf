"""Volumes: a grid along the source's own axes, and resampling from slices that each have a geometry of their own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.imaging.kernels import even_sampling, stack_matrix
from whyray.imaging.source import Affine, ModelGrid, SourceFrame
from whyray.imaging.variable_tilt import sample_fan

PARALLEL = 1 - 1e-7
"""Cosine between normals of slices that count as parallel (0.03 degrees)."""

ReadSlice = Callable[[int], FloatArray]
"""Index of a slice → (rows, columns) or (rows, columns, channels) float32, in the scale that is to be resampled."""


@dataclass(frozen=True)
class StackAxes:
    """The source's axes: unit vectors (normal, down a column, along a row), and its extent along each in mm.

    `low` and `high` are the outer edges of the outermost pixels of all slices, projected on the axes; half a slice
    distance is added at both ends.
    """

    directions: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def stack_axes(frames: tuple[SourceFrame, ...]) -> StackAxes:
    """Axes and extent of a volume's slices, from their mean orientation."""
    affines = np.array([frame.to_patient for frame in frames])
    normal = affines[:, :3, 2].mean(axis=0)
    normal /= np.linalg.norm(normal)
    along = (affines[:, :3, 0] / np.linalg.norm(affines[:, :3, 0], axis=1, keepdims=True)).mean(axis=0)
    along -= normal * (along @ normal)
    along /= np.linalg.norm(along)
    directions = np.array([normal, np.cross(normal, along), along])
    rows, columns = frames[0].shape
    edges = np.array([[c, r, 0, 1] for r in (-0.5, rows - 0.5) for c in (-0.5, columns - 0.5)])
    corners = np.einsum("kxi,ei->kex", affines[:, :3, :], edges) @ directions.T
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    centres = corners.mean(axis=1)[:, 0]
    low[0] -= abs(centres[1] - centres[0]) / 2
    high[0] += abs(centres[-1] - centres[-2]) / 2
    return StackAxes(directions, low, high)


def volume_grid(
    frames: tuple[SourceFrame, ...],
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float] | None,
    *,
    stored_along: Literal[1, -1] | None = None,
) -> ModelGrid:
    """Return the grid of a volume package.

    Its axes are the source's own, so that nothing is resampled obliquely, in the order and direction nearest to what
    models are trained on: slices towards the head, rows towards the back, columns towards the left. With
    `stored_along` they are those of the frames, their rows and their columns: slices along the frames' normal (1), or
    against it (-1) where the frames are stored so. With `spacing` (mm) the grid is centred on the source; without,
    the source's extent is divided into `shape`.
    """
    axes = stack_axes(frames)
    if stored_along is None:
        order, signs = _nearest_to_patient(axes.directions)
    else:
        order, signs = [0, 1, 2], np.array([stored_along, 1.0, 1.0])
    directions = axes.directions[order] * signs[:, None]
    extent = (axes.high - axes.low)[order]
    voxel = np.asarray(spacing, dtype=np.float64) if spacing is not None else extent / np.asarray(shape)
    centre = ((axes.low + axes.high) / 2) @ axes.directions
    to_patient = np.eye(4)
    to_patient[:3, :3] = (directions * voxel[:, None]).T
    to_patient[:3, 3] = centre - to_patient[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return ModelGrid(shape, to_patient)


def volume_to_grid(
    frames: tuple[SourceFrame, ...], read_slice: ReadSlice, grid: ModelGrid
) -> tuple[FloatArray, BoolArray]:
    """Sample a volume's slices on a grid: (*grid.shape) or (*grid.shape, channels), and which voxels lie inside.

    Each slice is read once where all are parallel to each other and to an axis of the grid, whatever the shear and
    the distances; else the slices are interpolated point by point.
    """
    if _parallel(frames):
        assigned = _assignment(grid.to_reference, frames[0].to_patient)
        if assigned is not None:
            return _separable(frames, read_slice, grid, assigned)
    return sample_fan(frames, read_slice, grid)


def _separable(
    frames: tuple[SourceFrame, ...], read_slice: ReadSlice, grid: ModelGrid, assigned: tuple[int, int, int]
) -> tuple[FloatArray, BoolArray]:
    through, down, across = assigned
    counts = [grid.shape[axis] for axis in assigned]
    normal = frames[0].to_patient[:3, 2]  # type: ignore[index]
    origin, steps = grid.to_reference[:3, 3], grid.to_reference[:3, :3]
    heights = normal @ origin + (normal @ steps[:, through]) * np.arange(counts[0])
    positions = np.array([frame.to_patient[:3, 3] @ normal for frame in frames])  # type: ignore[index]
    weights = stack_matrix(heights, positions, step=abs(float(normal @ steps[:, through]))).astype(np.float32)
    nearest = np.abs(heights[:, None] - positions).argmin(axis=1)
    ends = positions[0] - (positions[1] - positions[0]) / 2, positions[-1] + (positions[-1] - positions[-2]) / 2
    in_stack = (heights >= ends[0] - 1e-6) & (heights <= ends[1] + 1e-6)
    total: FloatArray | None = None
    share = np.zeros(counts, np.float32)
    covered = np.zeros(counts, np.bool_)
    along = lru_cache(maxsize=16)(even_sampling)  # the slices of a series have the same, as a rule
    for index, frame in enumerate(frames):
        used = np.flatnonzero((weights[:, index] != 0) | (nearest == index))
        if not used.size:
            continue
        to_pixel = np.linalg.inv(frame.to_patient)  # type: ignore[arg-type]
        # The slice is read where the grid's axis through the stack meets it: a shear needs no further care, since the
        # grid's axis is the normal and a move along the normal changes neither index.
        vertical, in_rows = along(*_line(to_pixel[1], origin, steps[:, down]), counts[1], frame.shape[0])
        horizontal, in_columns = along(*_line(to_pixel[0], origin, steps[:, across]), counts[2], frame.shape[1])
        in_plane = np.outer(in_rows, in_columns)
        values = read_slice(index)
        sampled = np.einsum("ir,rc...->ic...", vertical, values, optimize=True)
        sampled = np.einsum("jc,ic...->ij...", horizontal, sampled, optimize=True)
        if total is None:
            total = np.zeros((*counts, *values.shape[2:]), np.float32)
        sampled = sampled * in_plane.reshape(*in_plane.shape, *[1] * (values.ndim - 2))
        for slab in used:
            total[slab] += weights[slab, index] * sampled
            share[slab] += weights[slab, index] * in_plane
        mine = used[(nearest[used] == index) & in_stack[used]]
        covered[mine] = in_plane
    assert total is not None
    # Where only some of the slices that a voxel lies between reach it (the rim of a sheared stack), those count alone.
    safe = np.where(share > 1e-3, share, 1.0)
    total /= safe.reshape(*safe.shape, *[1] * (total.ndim - 3))
    back = np.argsort(assigned)
    order = (*back, *range(3, total.ndim))
    return np.ascontiguousarray(total.transpose(order)), np.ascontiguousarray(covered.transpose(*back))


def _line(row: NDArray[np.float64], origin: NDArray[np.float64], step: NDArray[np.float64]) -> tuple[float, float]:
    """The first voxel's pixel index, and by how much the next one's is larger."""
    return float(row[:3] @ origin + row[3]), float(row[:3] @ step)


def _parallel(frames: tuple[SourceFrame, ...]) -> bool:
    affines = np.array([frame.to_patient for frame in frames])
    normals = affines[:, :3, 2]
    rows = affines[:, :3, 0] / np.linalg.norm(affines[:, :3, 0], axis=1, keepdims=True)
    return bool((normals @ normals[0]).min() > PARALLEL and (rows @ rows[0]).min() > PARALLEL)


def _assignment(to_reference: Affine, to_patient: Affine | None) -> tuple[int, int, int] | None:
    """Which grid axis runs along the normal, down the columns, along the rows; None when a grid axis is oblique."""
    assert to_patient is not None
    unit = to_patient[:3, :3] / np.linalg.norm(to_patient[:3, :3], axis=0)
    steps = to_reference[:3, :3] / np.linalg.norm(to_reference[:3, :3], axis=0)
    cosines = np.abs(unit.T @ steps)
    axes = [int(cosines[axis].argmax()) for axis in (2, 1, 0)]
    largest = [cosines[axis].max() for axis in (2, 1, 0)]
    if sorted(axes) != [0, 1, 2] or min(largest) < PARALLEL:
        return None
    return axes[0], axes[1], axes[2]


def _nearest_to_patient(directions: NDArray[np.float64]) -> tuple[list[int], NDArray[np.float64]]:
    """Order and signs that bring the axes nearest to (towards the head, towards the back, towards the left)."""
    wanted = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    cosines = wanted @ directions.T
    best = max(
        itertools.permutations(range(3)), key=lambda order: round(sum(abs(cosines[i, order[i]]) for i in range(3)), 9)
    )
    signs = np.array([1.0 if cosines[i, best[i]] >= 0 else -1.0 for i in range(3)])
    return list(best), signs
