"""One-dimensional resampling as small matrices: separable, half-pixel exact, antialiased when it shrinks.

skimage's `resize` brings a whole image to a whole image; here the positions lie anywhere (spacing, cropping, padding,
slices at uneven distances), and a linear function comes out exact to the edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray


def sampling_matrix(positions: NDArray[np.float64], size: int, *, step: float, order: int = 1) -> FloatArray:
    """Weights (len(positions), size) that read a signal of `size` samples at `positions` (in sample indices).

    `step` is the distance between positions in samples. Order 1 is linear interpolation; where `step` exceeds 1 the
    triangle is widened to `step`, which averages instead of skipping samples. Near an end it is narrowed, and its first
    moment is set right, so that nothing shifts: a linear function comes out exact. Order 0 takes the nearest sample.
    Beyond the first and last sample their values hold.
    """
    samples = np.arange(size)
    if order == 0:
        return np.asarray(nearest_samples(positions, size)[:, None] == samples, dtype=np.float32)
    clamped = np.clip(positions, 0, size - 1)
    room = np.minimum(clamped + 1, size - clamped)
    reach = np.minimum(max(1.0, abs(step)), room)[:, None]
    offsets = samples - clamped[:, None]
    weights = np.maximum(0.0, 1.0 - np.abs(offsets) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    first = (weights * offsets).sum(axis=1, keepdims=True)
    spread = (weights * offsets**2).sum(axis=1, keepdims=True) - first**2
    tilt = np.where(spread > 1e-9, first / np.maximum(spread, 1e-9), 0.0)
    weights *= 1.0 - tilt * (offsets - first)
    return weights.astype(np.float32)


def even_sampling(first: float, step: float, count: int, size: int, order: int = 1) -> tuple[FloatArray, BoolArray]:
    """`sampling_matrix` (count, size) at `count` positions from `first` on, `step` apart; and which lie inside."""
    positions = np.asarray(first + step * np.arange(count), dtype=np.float64)
    return sampling_matrix(positions, size, step=step, order=order), inside(positions, size)


def nearest_samples(positions: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    """Indices of the samples, of `size`, that are nearest to positions in sample indices; the last of two as near."""
    return np.floor(np.clip(positions, 0, size - 1) + 0.5).astype(np.intp)


def stack_matrix(positions: NDArray[np.float64], slices: NDArray[np.float64], *, step: float) -> NDArray[np.float64]:
    """Weights (len(positions), len(slices)) that read unevenly spaced slices at `positions`; both in mm, ascending.

    Linear between the two slices beside a position. Where `step` (mm between positions) exceeds the distance of those
    slices, the linear interpolant is averaged over a triangle of that width, so that no slice is skipped.
    """
    linear = _linear_matrix(positions, slices)
    if len(slices) < 2:
        return linear
    lower = np.clip(np.searchsorted(slices, positions) - 1, 0, len(slices) - 2)
    coarse = step > (slices[lower + 1] - slices[lower]) * (1 + 1e-6)
    if not coarse.any():
        return linear
    finest = float(np.min(np.diff(slices)))
    count = int(np.clip(np.ceil(2 * step / finest), 8, 256))
    offsets = (np.arange(-count, count + 1) / (count + 1)) * step
    weights = 1 - np.abs(offsets) / step
    weights /= weights.sum()
    for index in np.flatnonzero(coarse):
        # A triangle that leaves the stack is narrowed, so that it stays symmetric and nothing shifts.
        room = min(positions[index] - slices[0], slices[-1] - positions[index])
        narrowed = offsets * np.clip(room / step, 0, 1)
        linear[index] = weights @ _linear_matrix(positions[index] + narrowed, slices)
    return linear


def inside(positions: NDArray[np.float64], size: int) -> BoolArray:
    """True where a position (in sample indices) lies in the area of a sample: -0.5 .. size - 0.5, rounding forgiven."""
    return (positions >= -0.5 - 1e-6) & (positions <= size - 0.5 + 1e-6)


def _linear_matrix(positions: NDArray[np.float64], slices: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.zeros((len(positions), len(slices)))
    if len(slices) == 1:
        weights[:, 0] = 1
        return weights
    clamped = np.clip(positions, slices[0], slices[-1])
    lower = np.clip(np.searchsorted(slices, clamped, side="right") - 1, 0, len(slices) - 2)
    share = (clamped - slices[lower]) / (slices[lower + 1] - slices[lower])
    rows = np.arange(len(positions))
    weights[rows, lower] = 1 - share
    weights[rows, lower + 1] += share
    return weights
