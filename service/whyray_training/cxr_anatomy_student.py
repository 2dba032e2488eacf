"""The anatomy student: radiographs and their labels, moved and disturbed together, and the network that learns them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from whyray_training.cxr_anatomy_labels import BACKGROUND, CLASSES, LEFT_LUNG, RIGHT_LUNG
from whyray_training.unet2d import UNet2d

INPUT_SIZE = 224
RATE, BATCH = 4e-3, 12
Labels = NDArray[np.uint8]
Images = NDArray[np.uint8]


def disturbed(images: Tensor, labels: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """(N, H, W) uint8 and their labels (N, h, w) to (N, 1, 224, 224) in 0..1 and labels (N, 112, 112).

    Pose, aspect (the NIH's files are squeezed into squares), window, sharpness, noise, opacities that hide part of a
    lung, and mirrored halves: a mirrored radiograph keeps its right lung on the left side of the image.
    """
    count = len(images)
    pixels = _another_window(images[:, None].float() / 255, random)
    hidden = torch.nonzero(torch.rand(count, generator=random) < 0.45).flatten().tolist()
    for index in hidden:
        pixels[index, 0] = _clouded(pixels[index, 0], labels[index], random)
    poses = _poses(count, random)
    grid = functional.affine_grid(poses, [count, 1, INPUT_SIZE, INPUT_SIZE], align_corners=False)
    pixels = functional.grid_sample(pixels, grid, align_corners=False)
    grid = functional.affine_grid(poses, [count, 1, INPUT_SIZE // 2, INPUT_SIZE // 2], align_corners=False)
    moved = functional.grid_sample(labels[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0].long()
    flipped = torch.rand(count, generator=random) < 0.5
    pixels[flipped] = pixels[flipped].flip(-1)
    moved[flipped] = mirrored(moved[flipped])
    blurred = torch.nonzero(torch.rand(count, generator=random) < 0.25).flatten().tolist()
    for index in blurred:
        small = int(torch.randint(56, 150, (1,), generator=random))
        less = functional.interpolate(pixels[index : index + 1], size=(small, small), mode="bilinear", antialias=True)
        pixels[index] = functional.interpolate(less, size=pixels.shape[2:], mode="bilinear")[0]
    noise = torch.randn(pixels.shape, generator=random) * _uniform(count, 0.0, 0.04, random)
    return (pixels + noise).clamp(0, 1), moved


def mirrored(labels: Tensor) -> Tensor:
    """Labels (N, h, w) of mirrored images: the right lung is the one on the left side of the image."""
    turned = labels.flip(-1)
    return torch.where(turned == RIGHT_LUNG, LEFT_LUNG, torch.where(turned == LEFT_LUNG, RIGHT_LUNG, turned))


def train(images: Images, labels: Labels, steps: int, seed: int, tell: Callable[[int, float], None]) -> UNet2d:
    """A network from scratch: AdamW, one cycle, cross entropy plus soft Dice. Images (N, 256, 256) uint8."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    network = UNet2d(len(CLASSES))
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    every, truth = torch.from_numpy(images), torch.from_numpy(labels)
    order = torch.empty(0, dtype=torch.long)
    for step in range(steps):
        if len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(images), generator=random)])
        chosen, order = order[:BATCH], order[BATCH:]
        pixels, wanted = disturbed(every[chosen], truth[chosen], random)
        loss = _loss(network.halved_logits(pixels)[0], wanted)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        tell(step, float(loss.detach()))
    network.eval()
    return network


def predicted(network: UNet2d, images: Images) -> Labels:
    """(N, 224, 224) class indices for images (N, 256, 256)."""
    batches = []
    with torch.no_grad():
        for start in range(0, len(images), 16):
            pixels = functional.interpolate(
                torch.from_numpy(images[start : start + 16])[:, None].float() / 255,
                size=(INPUT_SIZE, INPUT_SIZE),
                mode="bilinear",
                antialias=True,
            )
            batches.append(network(pixels)[0].argmax(dim=1).numpy().astype(np.uint8))
    return np.concatenate(batches)


def tidied(labels: Labels) -> Labels:
    """One image's labels with the largest region of each class alone, without holes."""
    largest = np.full(labels.shape, BACKGROUND, np.uint8)
    for index in range(1, len(CLASSES)):
        parts, count = ndimage.label(labels == index)
        if count:
            sizes = ndimage.sum_labels(np.ones_like(parts), parts, np.arange(1, count + 1))
            whole = ndimage.binary_fill_holes(parts == 1 + int(np.argmax(sizes)))
            largest[whole & (largest == BACKGROUND)] = index
    return largest


def _loss(logits: Tensor, truth: Tensor) -> Tensor:
    likely = logits.softmax(dim=1)
    wanted = functional.one_hot(truth, len(CLASSES)).movedim(-1, 1).float()
    axes = (0, 2, 3)
    overlap = 2 * (likely * wanted).sum(dim=axes) / ((likely + wanted).sum(dim=axes) + 1.0)
    return functional.cross_entropy(logits, truth, label_smoothing=0.05) + 1 - overlap.mean()


def _clouded(pixels: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
    """A soft bright ellipse somewhere on the lungs: what an effusion or a consolidation does to an outline."""
    places = torch.nonzero((labels == RIGHT_LUNG) | (labels == LEFT_LUNG))
    if not len(places):
        return pixels
    size = pixels.shape[-1]
    centre = places[int(torch.randint(len(places), (1,), generator=random))] * (size / labels.shape[-1])
    draws = torch.rand(4, generator=random)
    across, down = size * (0.05 + 0.15 * draws[0]), size * (0.05 + 0.15 * draws[1])
    line = torch.arange(size).float()
    away = ((line[:, None] - centre[0]) / down) ** 2 + ((line[None, :] - centre[1]) / across) ** 2
    cloud = torch.exp(-0.5 * away**2) * (0.3 + 0.6 * draws[2])
    return pixels * (1 - cloud) + cloud * (0.55 + 0.35 * draws[3])


def _another_window(pixels: Tensor, random: torch.Generator) -> Tensor:
    count = len(pixels)
    gamma = torch.exp(_uniform(count, -0.7, 0.7, random))
    contrast, brightness = _uniform(count, 0.6, 1.5, random), _uniform(count, -0.2, 0.2, random)
    return ((pixels**gamma - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)


def _poses(count: int, random: torch.Generator) -> Tensor:
    """(N, 2, 3), output to input: rotation to 12 degrees, scale 0.62 to 1.25, aspect to 35 %, shift to 10 %."""
    angle = _uniform(count, -12.0, 12.0, random).flatten() * math.pi / 180
    scale = torch.exp(_uniform(count, math.log(0.62), math.log(1.25), random).flatten())
    aspect = torch.exp(_uniform(count, -0.3, 0.3, random).flatten())
    across, down = 1 / (scale * torch.sqrt(aspect)), torch.sqrt(aspect) / scale
    poses = torch.zeros(count, 2, 3)
    poses[:, 0, 0], poses[:, 0, 1] = across * torch.cos(angle), -across * torch.sin(angle)
    poses[:, 1, 0], poses[:, 1, 1] = down * torch.sin(angle), down * torch.cos(angle)
    poses[:, :, 2] = (torch.rand(count, 2, generator=random) - 0.5) * 0.4
    return poses


def _uniform(count: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=random) * (high - low) + low).view(count, 1, 1, 1)
