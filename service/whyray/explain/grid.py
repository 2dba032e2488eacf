"""From the grid of feature maps, windows or masks to the grid of the input: linear, separable, half-pixel centres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from whyray.inference import AxisPlacement, MapPlacement, axis_taps, axis_weights

__all__ = ["axis_weights", "upsample", "upsample_sum"]


def upsample(
    values: NDArray[np.float32], shape: Sequence[int], placement: MapPlacement | None = None
) -> NDArray[np.float32]:
    """Linear interpolation of the last len(shape) axes of `values` to `shape`, in 2-D or 3-D.

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

    A cell none of whose places is on the image, as paddings have them, gives what it holds to the nearest that has one.
    """
    shared = values
    for axis, size, at in _axes(values, shape, placement):
        places = axis_weights(shared.shape[axis], size, at).sum(axis=0)
        seen = places > 0
        if not seen.all():
            shared = _gathered(shared, seen, axis)
        shares = np.where(seen, places, 1).astype(np.float32)
        shared = shared / shares.reshape(-1, *[1] * (values.ndim - axis - 1))
    return upsample(shared, shape, placement)


def _axes(
    values: NDArray[np.float32], shape: Sequence[int], placement: MapPlacement | None
) -> Iterator[tuple[int, int, AxisPlacement | None]]:
    axes = [None] * len(shape) if placement is None else placement.axes
    return zip(range(values.ndim - len(shape), values.ndim), shape, axes, strict=True)


def _gathered(values: NDArray[np.float32], seen: NDArray[np.bool_], axis: int) -> NDArray[np.float32]:
    """What cells that are not seen hold, in the nearest that are."""
    cells = np.flatnonzero(seen)
    nearest = cells[np.abs(np.arange(len(seen))[:, None] - cells).argmin(axis=1)]
    moved = np.zeros_like(values)
    np.add.at(np.moveaxis(moved, axis, 0), nearest, np.moveaxis(values, axis, 0))
    return moved
