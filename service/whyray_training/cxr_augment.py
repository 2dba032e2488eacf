"""What one radiograph may look like on another machine: pose, aspect, borders, window, sharpness, noise.

No flips: the side of the heart is evidence. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def plain(images: Tensor, size: int) -> Tensor:
    """(N, H, W) uint8 to (N, 1, size, size) in 0..1, unchanged otherwise."""
    return functional.interpolate(images[:, None].float() / 255, size=(size, size), mode="bilinear", antialias=True)


def augment(images: Tensor, size: int, random: torch.Generator) -> Tensor:
    """(N, H, W) uint8 to (N, 1, size, size) in 0..1."""
    count = len(images)
    pixels = _another_window(images[:, None].float() / 255, random)
    pixels = _another_sharpness(pixels, random)
    poses = functional.affine_grid(_poses(count, random), [count, 1, size, size], align_corners=False)
    pixels = functional.grid_sample(pixels, poses, align_corners=False)
    noise = torch.randn(pixels.shape, generator=random) * _uniform(count, 0.0, 0.03, random)
    return (_collimated(pixels, random) + noise).clamp(0, 1)


def augment_with_marks(images: Tensor, marks: Tensor, size: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """As `augment`, with marks (N, K, H, W) in 0..1 that move with the pixels; half of the images are mirrored.

    For findings that either side can have. Borders hide pixels, but no marks.
    """
    count = len(images)
    poses = _poses(count, random)
    flipped = torch.rand(count, generator=random) < 0.5
    pixels = _another_sharpness(_another_window(images[:, None].float() / 255, random), random)
    grid = functional.affine_grid(poses, [count, 1, size, size], align_corners=False)
    pixels = functional.grid_sample(pixels, grid, align_corners=False)
    moved = functional.grid_sample(marks, grid, align_corners=False)
    pixels = _collimated(pixels, random)
    noise = torch.randn(pixels.shape, generator=random) * _uniform(count, 0.0, 0.03, random)
    pixels = (pixels + noise).clamp(0, 1)
    pixels[flipped], moved[flipped] = pixels[flipped].flip(-1), moved[flipped].flip(-1)
    return pixels, moved


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
    """(N, 2, 3), output to input: rotation to 8 degrees, scale 0.8 to 1.18, aspect to 16 %, shift to 8 %."""
    angle = _uniform(count, -8.0, 8.0, random).flatten() * math.pi / 180
    scale = _uniform(count, 0.8, 1.18, random).flatten()
    aspect = torch.exp(_uniform(count, -0.16, 0.16, random).flatten())
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
