"""Holes filled smoothly from what surrounds them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.explain.grid import upsample


def inpainted(x: FloatArray, hole: NDArray[np.bool_]) -> FloatArray:
    """x (C, *spatial) with `hole` (*spatial) filled from around it by push and pull (Gortler et al. 1996, section 5.2).

    What is known is averaged over blocks of twice the width again and again until blocks cover the hole; then each
    place that is not known takes what the coarser level says. Smooth, without texture, and without anything of what
    was in the hole. Nothing known at all gives the mean of x.
    """
    if hole.all():
        return np.broadcast_to(x.mean(axis=tuple(range(1, x.ndim)), keepdims=True), x.shape).astype(np.float32)
    return _pulled(x, (~hole).astype(np.float32))


def _pulled(values: FloatArray, weight: FloatArray) -> FloatArray:
    if weight.all() or max(weight.shape) == 1:
        return values
    total, share = _blocks(values * weight), _blocks(weight[None])[0]
    coarse = np.where(share > 0, total / np.maximum(share, 1e-6), 0).astype(np.float32)
    known = np.minimum(share, 1.0).astype(np.float32)
    wider = upsample(_pulled(coarse, known), [2 * size for size in coarse.shape[1:]])
    within = wider[(slice(None), *(slice(size) for size in weight.shape))]
    return np.asarray(weight * values + (1 - weight) * within, np.float32)


def _blocks(values: FloatArray) -> FloatArray:
    """Sums over blocks of two along each spatial axis of (C, *spatial); what an odd size lacks counts as nothing."""
    sums = np.pad(values, [(0, 0), *((0, size % 2) for size in values.shape[1:])])
    for axis in range(1, values.ndim):
        shape = (*sums.shape[:axis], sums.shape[axis] // 2, 2, *sums.shape[axis + 1 :])
        sums = sums.reshape(shape).sum(axis=axis + 1)
    return np.asarray(sums, np.float32)
