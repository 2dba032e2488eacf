"""A small network that tells how a radiograph of the chest lies in its image, if it is one."""

from __future__ import annotations

import torch
from torch import nn

EMBEDDING = 48
WIDTHS = (16, 32, 64)


class ScopeNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, 48, 48) in 0..1 → logits (N, 8), feature maps (N, 64, 6, 6) and an embedding (N, 48).

    Places matter here: the last maps are read place by place, not averaged over the image.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for width in WIDTHS:
            layers += [
                nn.Conv2d(before, width, 5 if before == 1 else 3, 2, 2 if before == 1 else 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            before = width
        self.body = nn.Sequential(*layers)
        self.embed = nn.Linear(before * 36, EMBEDDING)
        self.head = nn.Linear(EMBEDDING, 8)
        self.drop = nn.Dropout(0.3)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits first, as the exported graph gives them."""
        features = self.body(image)
        embedding = self.embed(self.drop(features.flatten(1)))
        return self.head(torch.relu(embedding)), features, embedding
