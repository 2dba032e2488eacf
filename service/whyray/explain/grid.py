"""From the grid of feature maps, windows or masks to the grid of the input: linear, separable, half-pixel centres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from whyray.inference import AxisPlacement, MapPlacement, axis_taps, axis_weights

__all__ = ["axis_weights", "upsample", "upsample_sum"]

_ROUNDED = 1e-6
"""Share by which sums may differ through rounding alone."""


def upsample(
    values: NDArray[np.float32], shape: Sequence[int], placement: MapPlacement | None = None
) -> NDArray[np.float32]:
    """(..., *shape): linear interpolation of the last len(shape) axes of `values` (..., *grid), in 2-D or 3-D.

    Without a placement, and where that is edge to edge, sample positions are those of torch's interpolate with
    align_corners=False and of OpenCV's INTER_LINEAR: the centre of cell i lies at (i + 0.5) * ratio - 0.5. Else the
    cells lie where the placement says. Edges are repeated. No normalisation. Two taps an axis and no matrix product:
    threads of BLAS and those of ONNX Runtime, which wait in a loop, would get into each other's way.
    """
    result = values
    for axis, size, at in _axes(values, shape, placement):
        if result.shape[axis] == size and at is None:
            continue
        below, above, part = axis_taps(result.shape[axis], size, at)
        share = part.reshape(-1, *[1] * (values.ndim - axis - 1))
        result = np.take(result, below, axis) * (1 - share) + np.take(result, above, axis) * share
    return np.ascontiguousarray(result, dtype=np.float32)


def upsample_sum(
    values: NDArray[np.float32], shape: Sequence[int], placement: MapPlacement | None = None
) -> NDArray[np.float32]:
    """As `upsample` to a grid that is no coarser, but what a cell holds is spread over its places: sums stay.

    A cell's length counts, not how much of it is on the image: else terms at a border that cuts cells off would look
    stronger than the same terms elsewhere. What is cut off is made up for by one factor for all that is above zero, and
    one for all below, since sums of both may cancel and then have no factor. Cells that lie off the image altogether,
    as paddings have them, count with the nearest that is on it.
    """
    inner = tuple(range(values.ndim - len(shape), values.ndim))
    parts, even = [], True
    for part in (np.maximum(values, 0), np.minimum(values, 0)):
        drawn = upsample(_per_place(part, shape, placement), shape, placement)
        held, shown = (sums.sum(axis=inner, keepdims=True, dtype=np.float64) for sums in (part, drawn))
        factor = np.divide(held, shown, out=np.ones_like(held), where=shown != 0)
        even = even and bool(np.abs(factor - 1).max() < _ROUNDED)
        parts.append((drawn, factor))
    if even:
        return upsample(_per_place(values, shape, placement), shape, placement)
    return np.asarray(sum(drawn * factor for drawn, factor in parts), np.float32)


def _per_place(
    values: NDArray[np.float32], shape: Sequence[int], placement: MapPlacement | None
) -> NDArray[np.float32]:
    """What each cell holds by its length along each axis, in places of the finer grid."""
    shared = values
    for axis, size, at in _axes(values, shape, placement):
        seen = axis_weights(shared.shape[axis], size, at).sum(axis=0) > 0
        if not seen.all():
            shared = _gathered(shared, seen, axis)
        shared = shared / np.float32(size * at.step if at is not None else size / shared.shape[axis])
    return shared


def _axes(
    values: NDArray[np.float32], shape: Sequence[int], placement: MapPlacement | None
) -> Iterator[tuple[int, int, AxisPlacement | None]]:
    axes = [None] * len(shape) if placement is None else placement.axes
    return zip(range(values.ndim - len(shape), values.ndim), shape, axes, strict=True)


def _gathered(values: NDArray[np.float32], seen: NDArray[np.bool_], axis: int) -> NDArray[np.float32]:
    """The mean of each cell that is seen and of those that are not and lie nearest to it; 0 in these."""
    cells = np.flatnonzero(seen)
    nearest = cells[np.abs(np.arange(len(seen))[:, None] - cells).argmin(axis=1)]
    moved = np.zeros_like(values)
    np.add.at(np.moveaxis(moved, axis, 0), nearest, np.moveaxis(values, axis, 0))
    counts = np.maximum(np.bincount(nearest, minlength=len(seen)), 1).astype(np.float32)
    return moved / counts.reshape(-1, *[1] * (values.ndim - axis - 1))
