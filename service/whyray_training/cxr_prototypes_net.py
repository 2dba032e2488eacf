"""A ProtoPNet-form network (Chen et al. 2019) on frozen features: evidence, places, prototypes, maximum, linear."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyray_training.cxr_activations import GRID
from whyray_training.cxr_data import FINDINGS
from whyray_training.cxr_student import WIDTH, Judge
from whyray_training.efficientnet_lite import DenseFeatures, dense_imagenet_features

TARGETS = ("Cardiomegaly", "Effusion", "Abnormal")
EVIDENCE = len(FINDINGS) + 1
"""Maps of evidence: one a finding of ChestX-ray14, and one for any of them."""
EPSILON = 0.05


@dataclass(frozen=True)
class Recipe:
    """The numbers that a run can change.

    copies: augmented copies of each radiograph that are learned from; one more is measured on. cells: side of the
    neighbourhood, in cells of the 14 × 14 grid, that evidence is averaged over. place: half the width of the image in
    units of the evidence's spread. candidates: radiographs of each class that prototypes are looked for in. sparsity:
    penalty by which prototypes are chosen; ridge: that of the last layer. presence, absence: prototypes of a target.
    """

    copies: int = 2
    imitation_ridge: float = 100.0
    plain_weight: float = 4.0
    cells: int = 5
    place: float = 1.0
    candidates: int = 150
    sparsity: float = 4.0
    ridge: float = 2.0
    presence: int = 6
    absence: int = 4

    @property
    def per_target(self) -> int:
        """Prototypes of one target."""
        return self.presence + self.absence


class PrototypeNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 304, 14, 14) frozen activations to logits (N, T), maps (N, P, 14, 14) and similarities (N, P).

    Points: 15 maps of evidence, averaged over a neighbourhood and scaled, and where the place is. similarity of a point
    and a prototype = log((d² + 1) / (d² + 0.05)) with d² the mean squared difference (eq. 1 of the paper); of an image,
    the maximum over places; logits = last(similarities), in which a target hears only its own prototypes.
    """

    def __init__(self, judge: Judge, recipe: Recipe) -> None:
        super().__init__()
        self.judge, self.cells = judge, recipe.cells
        self.evidence = nn.Conv2d(WIDTH, EVIDENCE, 1, bias=False)
        count = recipe.per_target * len(TARGETS)
        self.last = nn.Linear(count, len(TARGETS))
        line = torch.linspace(-1, 1, GRID) * recipe.place
        self.places: Tensor
        self.spread: Tensor
        self.prototypes: Tensor
        across, down = line[None].expand(GRID, GRID), line[:, None].expand(GRID, GRID)
        self.register_buffer("places", torch.stack([across, down])[None])
        self.register_buffer("spread", torch.ones(EVIDENCE, 1, 1))
        self.register_buffer("prototypes", torch.zeros(count, EVIDENCE + 2, 1, 1))

    def averaged(self, frozen: Tensor) -> Tensor:
        """(N, 15, 14, 14): evidence averaged over neighbourhoods, in logits."""
        maps = self.evidence(self.judge(frozen)[1])
        return functional.avg_pool2d(maps, self.cells, 1, self.cells // 2, count_include_pad=False)

    def points(self, frozen: Tensor) -> Tensor:
        """(N, 17, 14, 14): scaled evidence and place."""
        scaled = self.averaged(frozen) / self.spread
        return torch.cat([scaled, self.places.expand(scaled.shape[0], -1, -1, -1)], dim=1)

    def compared(self, points: Tensor) -> Tensor:
        """(N, P, 14, 14): similarity of each place to each prototype."""
        return similarity(points, self.prototypes)

    def forward(self, frozen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, maps, similarities."""
        maps = self.compared(self.points(frozen))
        similarities = maps.flatten(2).amax(dim=2)
        return self.last(similarities), maps, similarities


class Whole(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, 224, 224) in 0..1 to logits, maps, similarities, and features (N, 304, 14, 14): what is shipped."""

    def __init__(self, backbone: DenseFeatures, net: PrototypeNet) -> None:
        super().__init__()
        self.backbone, self.net = backbone, net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits, maps, similarities, features."""
        features = self.backbone(image)[0]
        logits, maps, similarities = self.net(features)
        return logits, maps, similarities, features


def similarity(points: Tensor, prototypes: Tensor) -> Tensor:
    """(N, D, 14, 14) and (P, D, 1, 1) to (N, P, 14, 14)."""
    own = (points**2).sum(dim=1, keepdim=True)
    products = functional.conv2d(points, prototypes)
    squared = functional.relu(own - 2 * products + (prototypes**2).sum(dim=1)[None]) / prototypes.shape[1]
    return torch.log((squared + 1) / (squared + EPSILON))


def whole(net: PrototypeNet) -> Whole:
    """The net behind the frozen backbone."""
    network = Whole(dense_imagenet_features(), net)
    network.eval()
    return network
