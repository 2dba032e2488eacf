"""ResNet-50 (He et al. 2016) and DenseNet-121 (Huang et al. 2017) with random weights: speed needs no training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Bottleneck(nn.Module):
    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(given, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)),
        )
        same = given == 4 * width and stride == 1
        self.skip = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(given, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
        )
        self.last = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x) + self.skip(x))


class ResNet50(nn.Module):
    def __init__(self, targets: int = 14) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            *(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        ]
        given = 64
        for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
            for number in range(count):
                layers.append(Bottleneck(given, width, 2 if number == 0 and width > 64 else 1))
                given = 4 * width
        self.last = nn.Sequential(*layers)
        self.linear = nn.Linear(given, targets)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(functional.adaptive_avg_pool2d(self.last(x), 1).flatten(1))


class DenseLayer(nn.Module):
    def __init__(self, given: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.BatchNorm2d(given), nn.ReLU(), nn.Conv2d(given, 128, 1, bias=False)),
            *(nn.BatchNorm2d(128), nn.ReLU(), nn.Conv2d(128, 32, 3, padding=1, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


class DenseNet121(nn.Module):
    def __init__(self, targets: int = 14) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            *(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        ]
        width = 64
        for block, count in enumerate((6, 12, 24, 16)):
            for _ in range(count):
                layers.append(DenseLayer(width))
                width += 32
            if block < 3:
                layers += [
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                    nn.Conv2d(width, width // 2, 1, bias=False),
                    nn.AvgPool2d(2),
                ]
                width //= 2
        self.last = nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU())
        self.linear = nn.Linear(width, targets)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(functional.adaptive_avg_pool2d(self.last(x), 1).flatten(1))


class _Level(nn.Sequential):
    def __init__(self, given: int, width: int) -> None:
        super().__init__(
            *(nn.Conv3d(given, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU()),
            *(nn.Conv3d(width, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU()),
        )


class UNet3D(nn.Module):
    """A 3-D U-Net (Çiçek et al. 2016) of four levels, 8 to 64 channels."""

    def __init__(self, targets: int = 3) -> None:
        super().__init__()
        widths = (8, 16, 32, 64)
        self.down = nn.ModuleList([_Level(given, width) for given, width in zip((1, *widths), widths, strict=False)])
        self.pools = nn.ModuleList([nn.MaxPool3d(2) for _ in widths[1:]])
        self.up = nn.ModuleList([nn.ConvTranspose3d(2 * width, width, 2, 2) for width in widths[-2::-1]])
        self.join = nn.ModuleList([_Level(2 * width, width) for width in widths[-2::-1]])
        self.last = nn.Identity()
        self.head = nn.Conv3d(widths[0], targets, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for number, level in enumerate(self.down):
            x = level(x if number == 0 else self.pools[number - 1](x))
            kept.append(x)
        for up, join, skip in zip(self.up, self.join, kept[-2::-1], strict=True):
            x = join(torch.cat([up(x), skip], dim=1))
        return self.head(self.last(x))
