"""Training patches: a part of a head on the package's grid, as another scanner or another pose would show it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from whyray.base.arrays import FloatArray
from whyray_training.head_ct_data import SHAPE, WINDOW, Case

PATCH = (16, 48, 48)


def patch_of(case: Case, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(1, *PATCH) in 0..1 and (*PATCH) labels from a random place; turned in the slice every other time."""
    starts = [round(random.beta(1.3, 1.3) * (full - part)) for full, part in zip(SHAPE, PATCH, strict=True)]
    window = tuple(slice(start, start + part) for start, part in zip(starts, PATCH, strict=True))
    image, labels = case.image[window], case.labels[window]
    if random.random() < 0.5:
        image, labels = _turned(case, starts, random)
    image = _as_by_another_scanner(image, random)
    for axis, share in ((2, 0.5), (1, 0.2), (0, 0.2)):
        if random.random() < share:
            image, labels = np.flip(image, axis), np.flip(labels, axis)
    return torch.from_numpy(image.copy())[None], torch.from_numpy(labels.astype(np.int64))


def _turned(case: Case, starts: list[int], random: np.random.Generator) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
    """The patch around its own middle, turned by up to 30 degrees and scaled by up to 15 % in the slices."""
    angle, zoom = random.uniform(-np.pi / 6, np.pi / 6), random.uniform(0.85, 1.15)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = np.array(PATCH[1:]) / 2
    offset = np.array(starts[1:]) + half - turn @ half
    slab = slice(starts[0], starts[0] + PATCH[0])
    matrix = np.eye(3)
    matrix[1:, 1:] = turn
    image = ndimage.affine_transform(case.image[slab], matrix, (0, *offset), PATCH, order=1)
    labels = ndimage.affine_transform(case.labels[slab], matrix, (0, *offset), PATCH, order=0)
    return image, labels


def _as_by_another_scanner(image: FloatArray, random: np.random.Generator) -> FloatArray:
    """Scale and offset of HU, blur, and noise that is coarser than a voxel."""
    grain, blur = random.uniform(0.0, 0.8), random.uniform(0.0, 0.6)
    noise = ndimage.gaussian_filter(random.normal(size=image.shape).astype(np.float32), (0.0, grain, grain), truncate=2)
    soft = ndimage.gaussian_filter(image, (0.0, blur, blur), truncate=2) if random.random() < 0.5 else image
    changed = soft * random.uniform(0.92, 1.08) + (random.uniform(-25, 25) + noise * random.uniform(0, 45)) / WINDOW[1]
    return np.asarray(np.clip(changed, 0, 1), dtype=np.float32)
