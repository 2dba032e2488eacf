"""What the scope network learns from: radiographs as they come, and as they must not come."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from whyray_training.cxr_scope_foreign import Bytes, foreign_picture

SIDE = 48
STORED = 96
POOL = 600
"""STORED: pixels a side of the images that are turned, cut and warped, before they are reduced to SIDE. POOL: how many
images of something else are made once and drawn from."""
CLASSES = ("ordinary", "inverted", "upside_down", "on_its_side", "mirrored", "part", "exposure", "another")
"""Targets of the package: the reasons of `whyray.quality.ScopeReason`, after the ordinary image."""
ORDINARY, INVERTED, UPSIDE_DOWN, ON_ITS_SIDE, MIRRORED, PART, EXPOSURE, FOREIGN = range(len(CLASSES))


class Examples:
    """Draws batches: half as they come, half of one of the seven other kinds, each by a severity drawn at random."""

    def __init__(self, radiographs: Bytes, photographs: list[Bytes], seed: int) -> None:
        self._radiographs = radiographs
        self._rng = np.random.default_rng(seed)
        self._foreign = np.stack([foreign_picture(radiographs, photographs, STORED, self._rng) for _ in range(POOL)])

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(size, 1, SIDE, SIDE) in 0..1 and the classes (size,)."""
        rng = self._rng
        kinds = np.where(rng.random(size) < 0.4, ORDINARY, rng.integers(1, len(CLASSES), size))
        rows = rng.integers(len(self._radiographs), size=size)
        stored = torch.from_numpy(self._radiographs[rows]).float()[:, None] / 255
        foreign = np.flatnonzero(kinds == FOREIGN)
        stored[foreign, 0] = torch.from_numpy(self._foreign[rng.integers(POOL, size=len(foreign))])
        for index in np.flatnonzero((kinds != ORDINARY) & (kinds < PART)):
            stored[index] = _turned(stored[index], int(kinds[index]), rng)
        warped = functional.avg_pool2d(_warped(stored, kinds, rng), STORED // SIDE)
        return _toned(warped, kinds, rng), torch.from_numpy(kinds)


def _turned(image: torch.Tensor, kind: int, rng: np.random.Generator) -> torch.Tensor:
    """(1, rows, columns) turned, mirrored or inverted."""
    if kind == INVERTED:
        return 1 - image
    if kind == UPSIDE_DOWN:
        return image.flip(1) if rng.random() < 0.5 else image.flip(1, 2)
    if kind == ON_ITS_SIDE:
        quarter = torch.rot90(image, 1 if rng.random() < 0.5 else 3, (1, 2))
        return quarter.flip(2) if rng.random() < 0.3 else quarter
    return image.flip(2)


def _warped(images: torch.Tensor, kinds: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Turned by up to 8 degrees, scaled, moved, letterboxed; parts of a chest are cut out and fill the image."""
    count = len(images)
    angle = np.radians(rng.normal(0, 3, count).clip(-8, 8))
    zoom = rng.uniform(0.88, 1.12, (count, 1)) * rng.uniform(0.96, 1.04, (count, 2))
    letterboxed = rng.random(count) < 0.3
    zoom[letterboxed, rng.integers(2)] *= rng.uniform(1.05, 1.35, letterboxed.sum())
    shift = rng.uniform(-0.08, 0.08, (count, 2))
    for index in np.flatnonzero(kinds == PART):
        side = rng.uniform(0.2, 0.62)
        zoom[index] = side * rng.uniform(0.85, 1.15, 2)
        shift[index] = rng.uniform(-1, 1, 2) * (1 - side)
    theta = np.zeros((count, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 1] = np.cos(angle) * zoom[:, 0], -np.sin(angle) * zoom[:, 1]
    theta[:, 1, 0], theta[:, 1, 1] = np.sin(angle) * zoom[:, 0], np.cos(angle) * zoom[:, 1]
    theta[:, :, 2] = shift
    grid = functional.affine_grid(torch.from_numpy(theta), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _toned(images: torch.Tensor, kinds: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Grey levels as machines differ in them, or beyond what a reader would accept; noise, markers."""
    count = len(images)

    def drawn(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, np.float32)).reshape(count, 1, 1, 1)

    made = images.clamp(0, 1) ** drawn(np.exp(rng.normal(0, 0.2, count)))
    made = made * drawn(rng.uniform(0.85, 1.12, count)) + drawn(rng.uniform(-0.05, 0.06, count))
    for index in np.flatnonzero(kinds == EXPOSURE):
        made[index] = _ill_exposed(made[index].clamp(0, 1), rng)
    noise = drawn(rng.uniform(0, 0.04, count) * (rng.random(count) < 0.5))
    made = (made + noise * torch.from_numpy(rng.standard_normal(made.shape).astype(np.float32))).clamp(0, 1)
    for index in np.flatnonzero(rng.random(count) < 0.3):
        top, left = rng.integers(1, SIDE - 6, 2)
        made[index, :, top : top + rng.integers(1, 5), left : left + rng.integers(1, 6)] = rng.choice([0.0, 1.0, 0.9])
    return made


def _ill_exposed(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    way = rng.integers(6)
    if way == 0:
        return image ** rng.uniform(2.6, 6)
    if way == 1:
        return image ** rng.uniform(0.1, 0.4)
    if way == 2:
        return image * rng.uniform(0.05, 0.4)
    if way == 3:
        return image * rng.uniform(1.9, 5)
    if way == 4:
        return image * rng.uniform(0.05, 0.4) + rng.uniform(0.4, 0.7)
    return image + rng.choice([-1, 1]) * rng.uniform(0.38, 0.7)
