"""Slices that are not parallel (a gantry tilt that changes), or a grid at an angle to them: point by point."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates

from whyray.base.arrays import BoolArray, FloatArray
from whyray.imaging.source import ModelGrid, SourceFrame

MOST_SAMPLES_THROUGH = 8
MOST_KEPT = 256 << 20
"""Bytes of slices that stay in memory; a slab of the grid reads those that it cuts."""


def sample_fan(
    frames: tuple[SourceFrame, ...], read_slice: Callable[[int], FloatArray], grid: ModelGrid
) -> tuple[FloatArray, BoolArray]:
    """Sample the slices at every voxel centre of the grid.

    For a point between the planes of two slices, the line through it along the mean of their normals meets both
    planes; the value is interpolated in each plane there, and linearly between. A linear function of position comes
    out exact. Coarser grids are antialiased: a Gaussian in the plane, samples spread over a voxel through the planes.
    """
    affines = np.array([frame.to_patient for frame in frames])
    inverses = np.linalg.inv(affines)
    steps = grid.to_reference[:3, :3]
    smooth = [_blur(affines[0][:3, axis], steps) for axis in (1, 0)]
    normal = affines[:, :3, 2].mean(axis=0)
    normal /= np.linalg.norm(normal)
    centres = affines[:, :3, 3] @ normal
    through = float(np.linalg.norm(normal @ steps))
    samples = int(np.clip(np.ceil(through / np.median(np.abs(np.diff(centres)))), 1, MOST_SAMPLES_THROUGH))
    spread = (np.arange(samples) - (samples - 1) / 2) / samples * through

    def made(index: int) -> FloatArray:
        values = read_slice(index)
        for axis, sigma in enumerate(smooth):
            if sigma > 0:
                values = gaussian_filter1d(values, sigma, axis=axis, mode="nearest")
        return values

    rows, columns = frames[0].shape
    smoothed = lru_cache(maxsize=max(16, MOST_KEPT // (4 * rows * columns)))(made)
    channels = smoothed(0).shape[2:]
    out = np.zeros((*grid.shape, *channels), np.float32)
    covered = np.zeros(grid.shape, np.bool_)
    plane = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape[1:]), indexing="ij"), axis=-1).reshape(-1, 2)
    for slab in range(grid.shape[0]):
        indices = np.concatenate([np.full((len(plane), 1), slab), plane], axis=1)
        points = indices @ steps.T + grid.to_reference[:3, 3]
        for offset in spread:
            values, valid = _interpolate(points + normal * offset, affines, inverses, frames[0].shape, smoothed)
            out[slab] += (values / samples).reshape(out[slab].shape)
            if abs(offset) <= abs(spread[samples // 2]):
                covered[slab] |= valid.reshape(grid.shape[1:])
    return out, covered


def _blur(axis: NDArray[np.float64], steps: NDArray[np.float64]) -> float:
    """Standard deviation in pixels of the antialiasing Gaussian along an axis of the slice."""
    pixel = float(np.linalg.norm(axis))
    factor = float(np.linalg.norm(axis / pixel @ steps)) / pixel
    return max(0.0, (factor - 1) / 2)


def _interpolate(
    points: NDArray[np.float64],
    affines: NDArray[np.float64],
    inverses: NDArray[np.float64],
    shape: tuple[int, int],
    smoothed: Callable[[int], FloatArray],
) -> tuple[FloatArray, BoolArray]:
    origins, normals = affines[:, :3, 3], affines[:, :3, 2]
    lower = _bracket(points, origins, normals)
    below = ((points - origins[lower]) * normals[lower]).sum(axis=1)
    above = ((points - origins[lower + 1]) * normals[lower + 1]).sum(axis=1)
    along = normals[lower] + normals[lower + 1]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    to_below = below / (normals[lower] * along).sum(axis=1)
    to_above = above / (normals[lower + 1] * along).sum(axis=1)
    share = np.clip(to_below / (to_below - to_above), 0, 1)
    first, first_in = _on_slices(points - to_below[:, None] * along, lower, inverses, shape, smoothed)
    second, second_in = _on_slices(points - to_above[:, None] * along, lower + 1, inverses, shape, smoothed)
    weight = np.where(first_in & second_in, share, np.where(second_in, 1.0, 0.0))
    weight = weight.reshape(-1, *[1] * (first.ndim - 1)).astype(np.float32)
    reach = (to_below - to_above) / 2
    in_stack = (to_below >= -reach - 1e-6) & (to_above <= reach + 1e-6)
    valid = in_stack & np.where(share < 0.5, first_in, second_in)
    known = (first_in | second_in).reshape(weight.shape)
    return np.where(known, first * (1 - weight) + second * weight, 0).astype(np.float32), valid


def _bracket(
    points: NDArray[np.float64], origins: NDArray[np.float64], normals: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Index of the last plane at or below each point, at most the last but one (planes don't cross in the image)."""
    low = np.zeros(len(points), np.intp)
    high = np.full(len(points), len(origins) - 1, np.intp)
    while (high - low > 1).any():
        middle = (low + high) // 2
        under = ((points - origins[middle]) * normals[middle]).sum(axis=1) >= 0
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return low


def _on_slices(
    points: NDArray[np.float64],
    slices: NDArray[np.intp],
    inverses: NDArray[np.float64],
    shape: tuple[int, int],
    smoothed: Callable[[int], FloatArray],
) -> tuple[FloatArray, BoolArray]:
    """Bilinear values at points that lie on the planes of given slices, and whether each lies in its slice."""
    matrices = inverses[slices]
    rows = (matrices[:, 1, :3] * points).sum(axis=1) + matrices[:, 1, 3]
    columns = (matrices[:, 0, :3] * points).sum(axis=1) + matrices[:, 0, 3]
    edge = 0.5 + 1e-6
    within = (rows >= -edge) & (rows <= shape[0] - 1 + edge) & (columns >= -edge) & (columns <= shape[1] - 1 + edge)
    values = np.zeros((len(points), *smoothed(int(slices[0])).shape[2:]), np.float32)
    for index in np.unique(slices[within]):
        mine = np.flatnonzero(within & (slices == index))
        image = smoothed(int(index))
        at = [rows[mine], columns[mine]]
        if image.ndim == 2:
            values[mine] = map_coordinates(image, at, order=1, mode="nearest")
        else:
            for channel in range(image.shape[2]):
                values[mine, channel] = map_coordinates(image[..., channel], at, order=1, mode="nearest")
    return values, within
