"""A small 3-D U-Net (Çiçek et al. 2016) for slices that are thicker than their pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _block(inputs: int, outputs: int, stride: tuple[int, int, int] = (1, 1, 1)) -> nn.Sequential:
    """Two 3 x 3 x 3 convolutions, each with batch normalisation and ReLU; the first may stride."""
    layers: list[nn.Module] = []
    for channels, step in ((inputs, stride), (outputs, (1, 1, 1))):
        layers += [
            nn.Conv3d(channels, outputs, 3, stride=step, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class UNet3d(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, D, H, W) to logits (N, classes, D, H, W) and the last decoder activation (N, widths[0], D, H, W).

    D is a multiple of 4, H and W of 8. The first step down leaves the slices alone, so that voxels become more nearly
    cubes; steps are strided convolutions, whose gradients every engine can compute.
    """

    STEPS = ((1, 2, 2), (2, 2, 2), (2, 2, 2))

    def __init__(self, classes: int, widths: tuple[int, int, int, int] = (8, 16, 32, 48)) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(1, widths[0])])
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        for level, step in enumerate(self.STEPS):
            self.down.append(_block(widths[level], widths[level + 1], step))
            self.up.append(nn.ConvTranspose3d(widths[level + 1], widths[level], step, stride=step))
            self.join.append(_block(2 * widths[level], widths[level]))
        self.head = nn.Conv3d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features."""
        skips = []
        x = image
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(len(self.STEPS))):
            x = self.join[level](torch.cat([skips.pop(), self.up[level](x)], dim=1))
        return self.head(x), x
