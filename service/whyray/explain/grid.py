"""From the grid of feature maps, windows or masks to the grid of the input: linear, separable, half-pixel centres."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def upsample(values: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Linear interpolation of the last len(shape) axes of `values` to `shape`, in 2-D or 3-D.

    Sample positions are those of torch's interpolate with align_corners=False and of OpenCV's INTER_LINEAR: the
    centre of cell i lies at (i + 0.5) * ratio - 0.5, edges are repeated. No normalisation. Two taps an axis and no
    matrix product: threads of BLAS and those of ONNX Runtime, which wait in a loop, would get into each other's way.
    """
    result = values
    for axis, size in zip(range(values.ndim - len(shape), values.ndim), shape, strict=True):
        if result.shape[axis] == size:
            continue
        below, above, part = _taps(result.shape[axis], size)
        share = part.reshape(-1, *[1] * (values.ndim - axis - 1))
        result = np.take(result, below, axis) * (1 - share) + np.take(result, above, axis) * share
    return np.ascontiguousarray(result, dtype=np.float32)


def upsample_sum(values: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """As `upsample` to a grid that is no coarser, but what a cell holds is spread over its places: sums stay."""
    shared = values
    for axis, size in zip(range(values.ndim - len(shape), values.ndim), shape, strict=True):
        places = axis_weights(values.shape[axis], size).sum(axis=0)
        shared = shared / places.reshape(-1, *[1] * (values.ndim - axis - 1))
    return upsample(shared, shape)


@lru_cache(maxsize=64)
def axis_weights(source: int, target: int) -> NDArray[np.float32]:
    """(target, source) matrix of one axis."""
    below, above, part = _taps(source, target)
    weights = np.zeros((target, source), np.float32)
    weights[np.arange(target), below] += 1 - part
    weights[np.arange(target), above] += part
    weights.setflags(write=False)
    return weights


@lru_cache(maxsize=64)
def _taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each of `target` samples the cells below and above it, and how far it lies towards the one above."""
    position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    below = np.minimum(np.floor(position).astype(np.intp), source - 1)
    return below, np.minimum(below + 1, source - 1), (position - below).astype(np.float32)
