"""From a model's grid back to every pixel of the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import GeometryError
from whyray.base.stages import stage
from whyray.imaging.kernels import even_sampling, inside, sampling_matrix
from whyray.imaging.planar import planar_to_frame, planar_to_frame_nearest
from whyray.imaging.source import ModelGrid, SourceFrame, SourceImage

ALONG = 1e-7
"""A grid axis whose index moves by less than this a pixel does not depend on that pixel index."""


@stage("resampling")
def to_source(
    values: NDArray[Any], grid: ModelGrid, image: SourceImage, order: int = 1
) -> tuple[FloatArray, BoolArray]:
    """Carry values (*grid.shape) back to the source: (frames, rows, columns) float32, and where the grid covers it.

    Every source pixel's position goes through the inverse of `grid.to_reference`; `order` 1 interpolates linearly, 0
    takes the nearest. Values outside the grid are 0 and not covered.
    Raises GeometryError when values, grid and image don't belong together.
    """
    _refuse_what_does_not_belong(values.shape, grid, image)
    if image.kind == "planar":
        sampled, within = planar_to_frame(values, grid, image.frames[0].shape, order)
        if not within.all():
            sampled *= within
        return sampled[None], within[None]
    out = np.zeros(image.shape, np.float32)
    covered = np.zeros(image.shape, np.bool_)
    for index, (sampled, within) in enumerate(_each_frame(values[None], grid, image, order)):
        np.multiply(sampled[0], within, out=out[index])
        covered[index] = within
    return out, covered


@stage("resampling")
def mask_to_source(mask: NDArray[Any], grid: ModelGrid, image: SourceImage) -> tuple[NDArray[Any], BoolArray]:
    """Carry a boolean or label array (*grid.shape) back by nearest neighbour, in its own type; 0 outside the grid."""
    _refuse_what_does_not_belong(mask.shape, grid, image)
    if image.kind == "planar":
        nearest, within = planar_to_frame_nearest(mask, grid, image.frames[0].shape)
        return (nearest if within.all() else np.where(within, nearest, np.zeros((), mask.dtype)))[None], within[None]
    out = np.zeros(image.shape, mask.dtype)
    covered = np.zeros(image.shape, np.bool_)
    # Labels travel as their rank among those present, which float32 carries exactly whatever the labels are.
    labels, ranks = np.unique(mask, return_inverse=True)
    ranked = ranks.reshape(1, *mask.shape)
    for index, (sampled, within) in enumerate(_each_frame(ranked, grid, image, 0)):
        out[index] = np.where(within, labels[np.rint(sampled[0]).astype(np.intp)], np.zeros((), mask.dtype))
        covered[index] = within
    return out, covered


def _largest_of(channels: FloatArray, out: NDArray[np.uint8]) -> None:
    """Write which of the channels (channels, rows, columns) is largest, the first of equal ones.

    As `argmax` of the first axis, which reads across memory and takes three times as long.
    """
    largest = channels[0].copy()
    out[:] = 0
    for number in range(1, len(channels)):
        higher = channels[number] > largest
        out[higher] = number
        np.maximum(largest, channels[number], out=largest)


@stage("resampling")
def scores_to_source(scores: NDArray[Any], grid: ModelGrid, image: SourceImage) -> tuple[NDArray[np.uint8], BoolArray]:
    """Carry a segmentation's scores (classes, *grid.shape) back: class index per source pixel, 0 outside the grid.

    Each class is interpolated linearly and the largest taken at each pixel, so that borders are smooth where the
    source is finer than the grid; `mask_to_source` of an argmax would show the grid's voxels as steps.
    Raises GeometryError for more than 256 classes.
    """
    if len(scores) > 256:
        raise GeometryError(f"expected at most 256 classes, found {len(scores)}")
    out = np.zeros(image.shape, np.uint8)
    covered = np.zeros(image.shape, np.bool_)
    for index, (sampled, within) in enumerate(_each_frame(scores, grid, image, 1)):
        _largest_of(sampled, out[index])
        out[index][~within] = 0
        covered[index] = within
    return out, covered


def _each_frame(
    channels: NDArray[Any], grid: ModelGrid, image: SourceImage, order: int
) -> Iterator[tuple[FloatArray, BoolArray]]:
    """Yield, for each frame, the channels (channels, rows, columns) and the mask of pixels that the grid covers."""
    _refuse_what_does_not_belong(channels.shape[1:], grid, image)
    if image.kind == "planar":
        pairs = [planar_to_frame(channel, grid, image.frames[0].shape, order) for channel in channels]
        yield np.stack([pair[0] for pair in pairs]), pairs[0][1]
        return
    to_grid = np.linalg.inv(grid.to_reference)
    weights = lru_cache(maxsize=16)(even_sampling)  # the slices of a series have the same, as a rule
    for frame in image.frames:
        if frame.to_patient is None:
            raise GeometryError(
                f"instance {frame.sop_instance_uid}: expected a position in a volume's slice, found none"
            )
        yield _slice_of(channels, grid, to_grid @ frame.to_patient, frame, order, weights)


def _refuse_what_does_not_belong(shape: tuple[int, ...], grid: ModelGrid, image: SourceImage) -> None:
    if shape != grid.shape:
        raise GeometryError(f"expected values on a grid of {grid.shape}, found {shape}")
    if (len(grid.shape) == 2) != (image.kind == "planar"):
        raise GeometryError(f"expected a grid for a {image.kind} image, found one of {len(grid.shape)} dimensions")


def _slice_of(
    channels: NDArray[Any],
    grid: ModelGrid,
    pixel_to_grid: NDArray[np.float64],
    frame: SourceFrame,
    order: int,
    weights: Callable[[float, float, int, int, int], tuple[FloatArray, BoolArray]],
) -> tuple[FloatArray, BoolArray]:
    by_column, by_row, constant = pixel_to_grid[:3, 0], pixel_to_grid[:3, 1], pixel_to_grid[:3, 3]
    across, down = int(np.abs(by_column).argmax()), int(np.abs(by_row).argmax())
    through = 3 - across - down
    oblique = np.abs(np.delete(by_column, across)).max() > ALONG or np.abs(np.delete(by_row, down)).max() > ALONG
    if across == down or oblique:
        return _point_by_point(channels, grid, pixel_to_grid, frame, order)
    vertical, within_rows = weights(float(constant[down]), float(by_row[down]), frame.shape[0], grid.shape[down], order)
    horizontal, within_columns = weights(
        float(constant[across]), float(by_column[across]), frame.shape[1], grid.shape[across], order
    )
    height = constant[through : through + 1]
    at_height = sampling_matrix(height, grid.shape[through], step=1.0, order=order)[0]
    within = np.outer(within_rows, within_columns)
    within &= inside(height, grid.shape[through])[0]
    sampled = np.empty((len(channels), *frame.shape), np.float32)
    for channel, values in enumerate(channels):
        slab = np.zeros(np.delete(np.asarray(grid.shape), through), np.float32)
        for index in np.flatnonzero(at_height):
            slab += at_height[index] * np.take(values, index, axis=through).astype(np.float32)
        if not slab.any():
            sampled[channel] = 0  # most slices of a map in which little counts
            continue
        # What is left of the grid's axes is in rising order; the frame wants (down, across).
        sampled[channel] = vertical @ (slab if down < across else slab.T) @ horizontal.T
    return sampled, within


def _point_by_point(
    channels: NDArray[Any], grid: ModelGrid, pixel_to_grid: NDArray[np.float64], frame: SourceFrame, order: int
) -> tuple[FloatArray, BoolArray]:
    rows, columns = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in frame.shape), indexing="ij")
    at = [
        pixel_to_grid[axis, 0] * columns + pixel_to_grid[axis, 1] * rows + pixel_to_grid[axis, 3] for axis in range(3)
    ]
    within = np.ones(frame.shape, np.bool_)
    for axis in range(3):
        within &= inside(at[axis], grid.shape[axis])
    sampled = np.stack(
        [map_coordinates(channel.astype(np.float32), at, order=order, mode="nearest") for channel in channels]
    )
    return sampled, within
