"""From a model's grid back to every pixel of the source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.blas import one_blas_thread
from whyray.base.errors import GeometryError
from whyray.base.frame_array import FrameArray, Frames, PackedMask
from whyray.base.stages import stage
from whyray.imaging.kernels import even_sampling, inside, sampling_matrix
from whyray.imaging.planar import planar_to_frame, planar_to_frame_nearest
from whyray.imaging.source import ModelGrid, SourceFrame, SourceImage

ALONG = 1e-7
"""A grid axis whose index moves by less than this a pixel does not depend on that pixel index."""


_ROUNDING = 1.001
"""By how much, at most, a sum of rounded products may lie above the sum of the products."""


@stage("resampling")
def to_source(
    values: NDArray[Any], grid: ModelGrid, image: SourceImage, order: int = 1, *, seldom: bool = False
) -> tuple[Frames[np.float32], Frames[np.bool_]]:
    """Carry values (*grid.shape) back to the source: (frames, rows, columns) float32, and where the grid covers it.

    Every source pixel's position goes through the inverse of `grid.to_reference`; `order` 1 interpolates linearly, 0
    takes the nearest. Values outside the grid are 0 and not covered. The slices of a volume are made when they are
    asked for; with `seldom` a planar frame is too, and nothing of it is kept.
    Raises GeometryError when values, grid and image don't belong together.
    """
    _refuse_what_does_not_belong(values.shape, grid, image)
    if image.kind == "planar" and not seldom:
        with one_blas_thread():
            sampled, within = planar_to_frame(values, grid, image.frames[0].shape, order)
        if not within.all():
            sampled *= within
        return sampled[None], within[None]
    carried = SampledFrames(values, grid, image, order, seldom=seldom)
    return carried, carried.covered


@stage("resampling")
def mask_to_source(mask: NDArray[Any], grid: ModelGrid, image: SourceImage) -> tuple[Frames[Any], Frames[np.bool_]]:
    """Carry a boolean or label array (*grid.shape) back by nearest neighbour, in its own type; 0 outside the grid.

    The slices of a volume are made when they are asked for.
    """
    _refuse_what_does_not_belong(mask.shape, grid, image)
    if image.kind == "planar":
        nearest, within = planar_to_frame_nearest(mask, grid, image.frames[0].shape)
        carried = (nearest if within.all() else np.where(within, nearest, np.zeros((), mask.dtype)))[None]
        return PackedMask.of(carried, carried.shape) if mask.dtype == np.bool_ else carried, within[None]
    # Labels travel as their rank among those present, which float32 carries exactly whatever the labels are.
    labels, ranks = np.unique(mask, return_inverse=True)
    sampler = _Sampler(ranks.reshape(1, *mask.shape), grid, image, 0)

    def frame(index: int) -> NDArray[Any]:
        with stage("resampling"):
            sampled, within = sampler.frame(index)
            return np.where(within, labels[np.rint(sampled[0]).astype(np.intp)], np.zeros((), mask.dtype))

    made = PackedMask(image.shape, frame) if mask.dtype == np.bool_ else FrameArray(image.shape, mask.dtype, frame)
    return made, sampler.covered


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
def scores_to_source(
    scores: NDArray[Any], grid: ModelGrid, image: SourceImage
) -> tuple[FrameArray[np.uint8], Frames[np.bool_]]:
    """Carry a segmentation's scores (classes, *grid.shape) back: class index per source pixel, 0 outside the grid.

    Each class is interpolated linearly and the largest taken at each pixel, so that borders are smooth where the
    source is finer than the grid; `mask_to_source` of an argmax would show the grid's voxels as steps. Frames are made
    when they are asked for.
    Raises GeometryError for more than 256 classes.
    """
    if len(scores) > 256:
        raise GeometryError(f"expected at most 256 classes, found {len(scores)}")
    sampler = _Sampler(scores, grid, image, 1)

    def frame(index: int) -> NDArray[np.uint8]:
        with stage("resampling"):
            sampled, within = sampler.frame(index)
            out = np.empty(sampled.shape[1:], np.uint8)
            _largest_of(sampled, out)
            out[~within] = 0
            return out

    return FrameArray(image.shape, np.uint8, frame), sampler.covered


def masks_of_classes(
    classes: FrameArray[np.uint8], covered: Frames[np.bool_], wanted: Sequence[int]
) -> list[PackedMask]:
    """Of each wanted class its mask (frames, rows, columns), in one pass over what `scores_to_source` gives."""
    masks = [PackedMask.of((), classes.shape) for _ in wanted]
    for index in range(len(classes)):
        frame, within = classes[index], covered[index]
        for mask, number in zip(masks, wanted, strict=True):
            mask.put(index, (frame == number) & within)
    return masks


def mask_of_scores(scores: NDArray[Any], least: float, grid: ModelGrid, image: SourceImage) -> PackedMask:
    """Where the scores (*grid.shape) of one class, carried back as by `to_source`, are at least `least`."""
    values, covered = to_source(scores, grid, image, seldom=True)
    above = ((frame >= least) & within for frame, within in zip(values, covered, strict=True))
    return PackedMask.of(above, image.shape)


class SampledFrames(FrameArray[np.float32]):
    """Values of a grid at every pixel of an image, 0 where the grid does not reach: (frames, rows, columns).

    Attributes
    ----------
    covered
        (frames, rows, columns): where the grid reaches.
    """

    def __init__(
        self, values: NDArray[Any], grid: ModelGrid, image: SourceImage, order: int, *, seldom: bool = False
    ) -> None:
        self._sampler = _Sampler(values[None], grid, image, order)
        self.covered = self._sampler.covered
        self._peak: float | None = None
        room = None if seldom else image.room
        super().__init__(image.shape, np.float32, self._sampled, room=room, remember=not seldom)

    def max(self) -> Any:
        """The largest value, for which few slices are sampled: the others lie between grid slices of lesser values."""
        if self._peak is None:
            bounds = self._sampler.upper_bounds()
            if bounds is None:
                self._peak = super().max()
                return self._peak
            peak = -np.inf
            for index in np.argsort(-bounds, kind="stable").tolist():
                if bounds[index] < peak:
                    break
                peak = max(peak, float(self[index].max()))
            self._peak = peak
        return self._peak

    def is_finite(self) -> bool:
        """Whether no value is infinite or NaN."""
        return self._sampler.is_finite() or super().is_finite()

    def _sampled(self, index: int) -> FloatArray:
        with stage("resampling"):
            sampled, within = self._sampler.frame(index)
            values: FloatArray = sampled[0]
            if not within.all():
                values *= within
            if len(self) == 1 and self._peak is None:  # who makes it again need not only to know its largest value
                self._peak = float(values.max())
            return values


class _Sampler:
    """Carries channels (channels, *grid.shape) to the frames of an image, one frame at a time."""

    def __init__(self, channels: NDArray[Any], grid: ModelGrid, image: SourceImage, order: int) -> None:
        _refuse_what_does_not_belong(channels.shape[1:], grid, image)
        self._channels, self._grid, self._frames, self._order = channels, grid, image.frames, order
        self._weights = lru_cache(maxsize=16)(even_sampling)  # the slices of a series have the same, as a rule
        self._is_planar = image.kind == "planar"
        self._to_grid = None if self._is_planar else np.linalg.inv(grid.to_reference)
        for frame in () if self._is_planar else image.frames:
            if frame.to_patient is None:
                raise GeometryError(
                    f"instance {frame.sop_instance_uid}: expected a position in a volume's slice, found none"
                )
        self.covered = PackedMask(image.shape, self._within)

    def frame(self, index: int) -> tuple[FloatArray, BoolArray]:
        """The channels (channels, rows, columns) of a frame, and which of its pixels the grid covers."""
        if self._is_planar:
            shape = self._frames[index].shape
            with one_blas_thread():
                pairs = [planar_to_frame(channel, self._grid, shape, self._order) for channel in self._channels]
            sampled = pairs[0][0][None] if len(pairs) == 1 else np.stack([pair[0] for pair in pairs])
            if not self.covered.is_known(index):
                self.covered.put(index, pairs[0][1])
            return sampled, pairs[0][1]
        lines = self._lines(index)
        if lines is None:
            to_grid = self._pixel_to_grid(index)
            sampled, within = _point_by_point(self._channels, self._grid, to_grid, self._frames[index], self._order)
        else:
            with one_blas_thread():
                sampled, within = lines.sampled(self._channels)
        if not self.covered.is_known(index):
            self.covered.put(index, within)
        return sampled, within

    def is_finite(self) -> bool:
        """Whether all that is sampled is finite, as far as the grid's values tell."""
        largest = float(np.abs(self._channels).max(initial=0.0))
        return largest < float(np.finfo(np.float32).max) / 8  # not so of NaN

    def upper_bounds(self) -> NDArray[np.float64] | None:
        """A value of each frame that no value of the one channel there exceeds; None where that is not known."""
        if self._is_planar:
            return None
        (values,) = self._channels
        highest = [np.maximum(values.max(axis=axes), 0).astype(np.float64) for axes in ((1, 2), (0, 2), (0, 1))]
        bounds = np.zeros(len(self._frames))
        for index in range(len(self._frames)):
            lines = self._lines(index)
            if lines is None or not np.isfinite(highest[lines.through]).all():
                return None
            bound = lines.upper_bound(highest[lines.through])
            if bound is None:
                return None
            bounds[index] = bound
        return bounds

    def _within(self, index: int) -> BoolArray:
        if self._is_planar:
            return self.frame(index)[1]
        lines = self._lines(index)
        if lines is not None:
            return lines.within()
        return _points(self._grid, self._pixel_to_grid(index), self._frames[index])[1]

    def _pixel_to_grid(self, index: int) -> NDArray[np.float64]:
        to_patient = self._frames[index].to_patient
        assert self._to_grid is not None, "planar frames have a plane for a grid"
        assert to_patient is not None
        return np.asarray(self._to_grid @ to_patient)

    def _lines(self, index: int) -> _Lines | None:
        return _lines_of(self._grid, self._pixel_to_grid(index), self._frames[index], self._order, self._weights)


def _refuse_what_does_not_belong(shape: tuple[int, ...], grid: ModelGrid, image: SourceImage) -> None:
    if shape != grid.shape:
        raise GeometryError(f"expected values on a grid of {grid.shape}, found {shape}")
    if (len(grid.shape) == 2) != (image.kind == "planar"):
        raise GeometryError(f"expected a grid for a {image.kind} image, found one of {len(grid.shape)} dimensions")


@dataclass(frozen=True)
class _Lines:
    """How a slice that is parallel to planes of the grid reads them, by one small matrix along each axis.

    `down`, `across` and `through` are axes of the grid; `at_height` weighs the planes along `through`.
    """

    down: int
    across: int
    through: int
    vertical: FloatArray
    horizontal: FloatArray
    at_height: FloatArray
    within_rows: BoolArray
    within_columns: BoolArray
    reaches: bool

    def within(self) -> BoolArray:
        """Which pixels (rows, columns) lie in the grid."""
        return np.outer(self.within_rows, self.within_columns) & np.bool_(self.reaches)

    def sampled(self, channels: NDArray[Any]) -> tuple[FloatArray, BoolArray]:
        """The channels (channels, rows, columns) of the slice, and which pixels lie in the grid."""
        sampled = np.empty((len(channels), len(self.vertical), len(self.horizontal)), np.float32)
        for channel, values in enumerate(channels):
            slab = np.zeros(np.delete(np.asarray(values.shape), self.through), np.float32)
            for index in np.flatnonzero(self.at_height):
                slab += self.at_height[index] * np.take(values, index, axis=self.through).astype(np.float32)
            if not slab.any():
                sampled[channel] = 0  # most slices of a map in which little counts
                continue
            # What is left of the grid's axes is in rising order; the frame wants (down, across).
            sampled[channel] = self.vertical @ (slab if self.down < self.across else slab.T) @ self.horizontal.T
        return sampled, self.within()

    def upper_bound(self, highest: NDArray[np.float64]) -> float | None:
        """What no sample exceeds, by what no value of each plane does; None where weights are negative."""
        weights = (self.at_height, self.vertical, self.horizontal)
        if any(weight.min() < 0 for weight in weights):
            return None
        reach = float(self.vertical.sum(axis=1).max() * self.horizontal.sum(axis=1).max())
        return float(self.at_height.astype(np.float64) @ highest) * reach * _ROUNDING


def _lines_of(
    grid: ModelGrid,
    pixel_to_grid: NDArray[np.float64],
    frame: SourceFrame,
    order: int,
    weights: Callable[[float, float, int, int, int], tuple[FloatArray, BoolArray]],
) -> _Lines | None:
    """The matrices of a slice; None where it is oblique to the grid."""
    by_column, by_row, constant = pixel_to_grid[:3, 0], pixel_to_grid[:3, 1], pixel_to_grid[:3, 3]
    across, down = int(np.abs(by_column).argmax()), int(np.abs(by_row).argmax())
    through = 3 - across - down
    oblique = np.abs(np.delete(by_column, across)).max() > ALONG or np.abs(np.delete(by_row, down)).max() > ALONG
    if across == down or oblique:
        return None
    vertical, within_rows = weights(float(constant[down]), float(by_row[down]), frame.shape[0], grid.shape[down], order)
    horizontal, within_columns = weights(
        float(constant[across]), float(by_column[across]), frame.shape[1], grid.shape[across], order
    )
    height = constant[through : through + 1]
    at_height = sampling_matrix(height, grid.shape[through], step=1.0, order=order)[0]
    reaches = bool(inside(height, grid.shape[through])[0])
    return _Lines(down, across, through, vertical, horizontal, at_height, within_rows, within_columns, reaches)


def _points(
    grid: ModelGrid, pixel_to_grid: NDArray[np.float64], frame: SourceFrame
) -> tuple[list[NDArray[np.float64]], BoolArray]:
    """Where each pixel of a frame lies in the grid, by its axes, and whether inside it."""
    rows, columns = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in frame.shape), indexing="ij")
    at = [
        pixel_to_grid[axis, 0] * columns + pixel_to_grid[axis, 1] * rows + pixel_to_grid[axis, 3] for axis in range(3)
    ]
    within = np.ones(frame.shape, np.bool_)
    for axis in range(3):
        within &= inside(at[axis], grid.shape[axis])
    return at, within


def _point_by_point(
    channels: NDArray[Any], grid: ModelGrid, pixel_to_grid: NDArray[np.float64], frame: SourceFrame, order: int
) -> tuple[FloatArray, BoolArray]:
    at, within = _points(grid, pixel_to_grid, frame)
    sampled = np.stack(
        [map_coordinates(channel.astype(np.float32), at, order=order, mode="nearest") for channel in channels]
    )
    return sampled, within
