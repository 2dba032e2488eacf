"""A small 2-D U-Net (Ronneberger et al. 2015) for outlines that are smooth and large."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3 x 3, with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class UNet2d(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, H, W) in 0..1 to logits (N, classes, H, W) and the last activation before them (N, widths[0], H/2, W/2).

    H and W are multiples of 32. Brightness and contrast are taken out of each image first. All levels work on halved
    images, where outlines of organs lose nothing; steps are strided convolutions, whose gradients all engines compute.
    """

    def __init__(self, classes: int, widths: tuple[int, ...] = (12, 24, 40, 64, 80)) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(1, widths[0]), _convolution(widths[0], widths[0]))
        self.down, self.up, self.join = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for narrow, wide in pairwise(widths):
            self.down.append(nn.Sequential(_convolution(narrow, wide, 2), _convolution(wide, wide)))
            self.up.append(nn.ConvTranspose2d(wide, narrow, 2, stride=2))
            self.join.append(_convolution(2 * narrow, narrow))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features."""
        halved, features = self.halved_logits(image)
        return functional.interpolate(halved, scale_factor=2, mode="bilinear", align_corners=False), features

    def halved_logits(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, classes, H/2, W/2) before they are enlarged, and features: what training compares."""
        halved = functional.avg_pool2d(image, 2)
        centred = halved - halved.mean(dim=(2, 3), keepdim=True)
        spread = (centred * centred).mean(dim=(2, 3), keepdim=True)
        skips = [self.stem(centred / torch.sqrt(spread + 1e-4))]
        for block in self.down:
            skips.append(block(skips[-1]))
        features = skips.pop()
        for level in reversed(range(len(self.up))):
            features = self.join[level](torch.cat([skips.pop(), self.up[level](features)], dim=1))
        return self.head(features), features
