"""What one radiograph may look like on another machine: pose, aspect, borders, window, sharpness, noise.

No flips: the side of the heart is evidence. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from whyray.training.cxr_data import FINDINGS

REGION_GRID = 64
_CHEST = (0.08, 0.06, 0.92, 0.90)
_REGIONS = {
    "Cardiomegaly": (0.28, 0.36, 0.88, 0.86),
    "Effusion": (0.06, 0.25, 0.94, 0.96),
    "Pneumothorax": (0.06, 0.03, 0.94, 0.90),
    "Pleural_Thickening": (0.05, 0.04, 0.95, 0.92),
    "Hernia": (0.25, 0.40, 0.80, 0.98),
}
"""Where on a frontal radiograph a finding can lie: left, top, right, bottom as shares of the image; else the chest."""


def expected_regions() -> Tensor:
    """(14, 64, 64) in 0..1: one generous box a finding, with soft edges."""
    regions = torch.zeros(len(FINDINGS), REGION_GRID, REGION_GRID)
    for index, finding in enumerate(FINDINGS):
        left, top, right, bottom = (round(share * REGION_GRID) for share in _REGIONS.get(finding, _CHEST))
        regions[index, top:bottom, left:right] = 1.0
    return functional.avg_pool2d(regions[None], 7, stride=1, padding=3, count_include_pad=False)[0]


def plain(images: Tensor, size: int) -> Tensor:
    """(N, H, W) uint8 to (N, 1, size, size) in 0..1, unchanged otherwise."""
    return functional.interpolate(images[:, None].float() / 255, size=(size, size), mode="bilinear", antialias=True)


def augment(images: Tensor, regions: Tensor, size: int, grid: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """(N, H, W) uint8 and (14, 64, 64) to (N, 1, size, size) in 0..1 and (N, 14, grid, grid), moved together."""
    count = len(images)
    pixels = _another_window(images[:, None].float() / 255, random)
    pixels = _another_sharpness(pixels, random)
    poses = _poses(count, random)
    pixels = functional.grid_sample(
        pixels, functional.affine_grid(poses, [count, 1, size, size], align_corners=False), align_corners=False
    )
    moved = functional.grid_sample(
        regions.expand(count, -1, -1, -1),
        functional.affine_grid(poses, [count, len(regions), grid, grid], align_corners=False),
        align_corners=False,
    )
    noise = torch.randn(pixels.shape, generator=random) * _uniform(count, 0.0, 0.03, random)
    return (_collimated(pixels, random) + noise).clamp(0, 1), moved


def _uniform(count: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=random) * (high - low) + low).view(count, 1, 1, 1)


def _another_window(pixels: Tensor, random: torch.Generator) -> Tensor:
    count = len(pixels)
    gamma = torch.exp(_uniform(count, -0.45, 0.45, random))
    contrast, brightness = _uniform(count, 0.75, 1.25, random), _uniform(count, -0.12, 0.12, random)
    return ((pixels**gamma - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)


def _another_sharpness(pixels: Tensor, random: torch.Generator) -> Tensor:
    """A quarter of the images lose detail, down to 64 x 64."""
    blurred = pixels.clone()
    for index in torch.nonzero(torch.rand(len(pixels), generator=random) < 0.25).flatten().tolist():
        small = int(torch.randint(64, 176, (1,), generator=random))
        reduced = functional.interpolate(
            pixels[index : index + 1], size=(small, small), mode="bilinear", antialias=True
        )
        blurred[index] = functional.interpolate(reduced, size=pixels.shape[2:], mode="bicubic")[0]
    return blurred.clamp(0, 1)


def _poses(count: int, random: torch.Generator) -> Tensor:
    """(N, 2, 3): rotation to 8 degrees, scale 0.8 to 1.18, aspect to 12 %, shift to 8 %; output to input."""
    angle = _uniform(count, -8.0, 8.0, random).flatten() * math.pi / 180
    scale = _uniform(count, 0.8, 1.18, random).flatten()
    aspect = torch.exp(_uniform(count, -0.12, 0.12, random).flatten())
    across, down = 1 / (scale * aspect), aspect / scale
    poses = torch.zeros(count, 2, 3)
    poses[:, 0, 0], poses[:, 0, 1] = across * torch.cos(angle), -across * torch.sin(angle)
    poses[:, 1, 0], poses[:, 1, 1] = down * torch.sin(angle), down * torch.cos(angle)
    poses[:, :, 2] = (torch.rand(count, 2, generator=random) - 0.5) * 0.32
    return poses


def _collimated(pixels: Tensor, random: torch.Generator) -> Tensor:
    """One image in five gets a uniform border of up to 10 % on some sides: collimator edges, letterboxing."""
    size = pixels.shape[-1]
    for index in torch.nonzero(torch.rand(len(pixels), generator=random) < 0.2).flatten().tolist():
        top, left, bottom, right = (int(edge) for edge in torch.randint(0, size // 10, (4,), generator=random))
        inner = pixels[index, :, top : size - bottom, left : size - right].clone()
        pixels[index] = 0.0 if torch.rand(1, generator=random) < 0.8 else float(torch.rand(1, generator=random))
        pixels[index, :, top : size - bottom, left : size - right] = inner
    return pixels
