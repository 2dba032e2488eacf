"""From the grid of feature maps, windows or masks to the grid of the input: linear, separable, half-pixel centres."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def upsample(values: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Linear interpolation of the last len(shape) axes of `values` to `shape`, in 2-D or 3-D.

    Sample positions are those of torch's interpolate with align_corners=False and of OpenCV's INTER_LINEAR: the
    centre of cell i lies at (i + 0.5) * ratio - 0.5, edges are repeated. No normalisation.
    """
    result = values
    for axis, size in zip(range(values.ndim - len(shape), values.ndim), shape, strict=True):
        if result.shape[axis] == size:
            continue
        weights = axis_weights(result.shape[axis], size)
        result = np.moveaxis(np.tensordot(result, weights, axes=([axis], [1])), -1, axis)
    return np.ascontiguousarray(result, dtype=np.float32)


@lru_cache(maxsize=64)
def axis_weights(source: int, target: int) -> NDArray[np.float32]:
    """(target, source) matrix of one axis."""
    position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    below = np.minimum(np.floor(position).astype(int), source - 1)
    above = np.minimum(below + 1, source - 1)
    part = (position - below).astype(np.float32)
    weights = np.zeros((target, source), np.float32)
    weights[np.arange(target), below] += 1 - part
    weights[np.arange(target), above] += part
    weights.setflags(write=False)
    return weights
