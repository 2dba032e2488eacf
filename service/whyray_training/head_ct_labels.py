"""Tissue labels of head CT, derived from HU and shape, so that a network has more to learn than thresholds.

background: everything outside the head, air in it, and the table and head holder, whatever their HU.
bone: with marrow and thin plates closed, without specks. soft-tissue: the rest of the head, brain included; where bone
meets air with nothing thicker than a rim between them, that rim is what the scanner blurred, and no tissue.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from whyray.base.arrays import BoolArray

CLASSES = ("background", "soft-tissue", "bone")
BACKGROUND, SOFT_TISSUE, BONE = range(3)

TISSUE_HU = -300.0
BONE_HU = 220.0
HOLDER_MM, EARS_MM = 2.6, 4.0
MARROW_MM, MARROW_HU, SMALLEST_BONE_MM3 = 1.5, -100.0, 80.0
RIM_MM, REACH_MM, HALF_HU = 1.2, 3.0, 0.0


def derive_labels(hu: npt.NDArray[np.float32], pixel: float, distance: float) -> npt.NDArray[np.uint8]:
    """(S, R, C) HU to labels 0..2; `pixel` mm in the slices, `distance` mm between them (the mean, if it changes)."""
    head = _head(hu > TISSUE_HU, pixel)
    bone = _bone(hu, head, pixel, distance)
    soft = head & ~bone
    rim = soft & ~_opened(soft, RIM_MM, pixel) & _dilated(bone, REACH_MM, pixel)
    labels = np.full(hu.shape, BACKGROUND, np.uint8)
    labels[soft & ~rim] = SOFT_TISSUE
    # half way between air and bone lies the border that both sides of the blur share
    labels[bone | (rim & (hu > HALF_HU) & _dilated(~head, RIM_MM, pixel))] = BONE
    labels[rim & (hu > HALF_HU) & (labels != BONE)] = SOFT_TISSUE
    return labels


def _head(tissue: BoolArray, pixel: float) -> BoolArray:
    """The largest thick thing, with its thin parts: table and head holder are thin shells and fall away."""
    filled = np.stack([ndimage.binary_fill_holes(part) for part in tissue])
    core = _largest(_opened(filled, HOLDER_MM, pixel))
    return np.asarray(_dilated(core, EARS_MM, pixel) & tissue)


def _bone(hu: npt.NDArray[np.float32], head: BoolArray, pixel: float, distance: float) -> BoolArray:
    dense = (hu > BONE_HU) & head
    closed = _eroded(_dilated(dense, MARROW_MM, pixel), MARROW_MM, pixel) & (hu > MARROW_HU)
    parts, _ = ndimage.label(closed, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())
    keep = sizes * pixel * pixel * distance >= SMALLEST_BONE_MM3
    keep[0] = False
    return np.asarray((dense | closed) & keep[parts])


def _largest(mask: BoolArray) -> BoolArray:
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax())


def _opened(mask: BoolArray, radius: float, pixel: float) -> BoolArray:
    return _dilated(_eroded(mask, radius, pixel), radius, pixel)


def _dilated(mask: BoolArray, radius: float, pixel: float) -> BoolArray:
    """By a disc of `radius` mm in each slice."""
    return np.asarray(_distance(~mask, pixel) <= radius)


def _eroded(mask: BoolArray, radius: float, pixel: float) -> BoolArray:
    return np.asarray(_distance(mask, pixel) > radius)


def _distance(mask: BoolArray, pixel: float) -> npt.NDArray[np.float64]:
    """mm in the slice to the nearest False; infinite where a slice has none."""
    slices = mask if mask.ndim == 3 else mask[None]
    distances = [
        np.full(part.shape, np.inf) if part.all() else ndimage.distance_transform_edt(part, sampling=pixel)
        for part in slices
    ]
    return np.stack(distances).reshape(mask.shape)
