"""A small 3-D U-Net (Çiçek et al. 2016) for slices that are thicker than their pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _convolution(inputs: int, outputs: int, stride: tuple[int, int, int] = (1, 1, 1)) -> nn.Sequential:
    """3 x 3 x 3, with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU()
    )


class UNet3d(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, D, H, W) to logits (N, classes, D, H, W) and the last activation before them (N, ending, D, H, W).

    D is a multiple of 4, H and W of 8. The levels work on pixels of twice the size and more; the image itself joins
    them again at the end, where edges are drawn, so that little is computed at full resolution. The first step down
    leaves the slices alone, so that voxels become more nearly cubes; steps are strided convolutions, whose gradients
    every engine can compute.
    """

    STEPS = ((2, 2, 2), (2, 2, 2))

    def __init__(self, classes: int, widths: tuple[int, int, int] = (12, 24, 32), ending: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(1, widths[0], (1, 2, 2)), _convolution(widths[0], widths[0]))
        self.down, self.up, self.join = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, step in enumerate(self.STEPS):
            narrow, wide = widths[level], widths[level + 1]
            self.down.append(nn.Sequential(_convolution(narrow, wide, step), _convolution(wide, wide)))
            self.up.append(nn.ConvTranspose3d(wide, narrow, step, stride=step))
            self.join.append(_convolution(2 * narrow, narrow))
        self.spread = nn.ConvTranspose3d(widths[0], ending - 1, (1, 2, 2), stride=(1, 2, 2))
        self.ending = _convolution(ending, ending)
        self.head = nn.Conv3d(ending, classes, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features."""
        skips = [self.stem(image)]
        for block in self.down:
            skips.append(block(skips[-1]))
        x = skips.pop()
        for level in reversed(range(len(self.STEPS))):
            x = self.join[level](torch.cat([skips.pop(), self.up[level](x)], dim=1))
        features = self.ending(torch.cat([image, self.spread(x)], dim=1))
        return self.head(features), features
