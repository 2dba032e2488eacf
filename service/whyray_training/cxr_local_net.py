"""Networks that answer by local evidence: frozen features, where the lungs lie, a small head, attention pooling.

What the graph says of an image is the sum of what it says of places, exactly: logit = floor + sum of evidence.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from whyray.packages import find_package
from whyray_training.cxr_anatomy_labels import CLASSES
from whyray_training.efficientnet_lite import EfficientNetLite0, imagenet_backbone
from whyray_training.unet2d import UNet2d

INPUT_SIZE = 448
GRID = INPUT_SIZE // 16
CHANNELS = 40 + 80 + 112 + 192
PLACES = 7 + len(CLASSES) - 1
FLOOR = -6.0
"""The logit of a place that says nothing for a finding: evidence is counted from here, so that it is not negative.

The lower it is, the less a map stresses its peaks; a package may set its own, and the answers stay the same.
"""
_TAKEN = {4: True, 7: False, 10: False, 13: False}
_LIMIT = 6.0
_NORM_EPS = 1e-5


class DenseStages(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, H, W) in 0..1 to (N, 424, H / 16, W / 16): what stages three to six of EfficientNet-Lite0 end with.

    Stage three, on a grid twice as fine, is averaged over 2 x 2.
    """

    def __init__(self, backbone: EfficientNetLite0) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """As in the class."""
        x = (image.expand(-1, 3, -1, -1) * 255 - 127) / 128
        x = functional.relu6(self.backbone._bn0(self.backbone._conv_stem(x)))
        taken = []
        for index, block in enumerate(self.backbone._blocks):
            x = block(x)
            if index in _TAKEN:
                taken.append(functional.avg_pool2d(x, 2) if _TAKEN[index] else x)
        return (torch.cat(taken, dim=1),)


class Anatomy(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, 448, 448) in 0..1 to probabilities (N, 5, 56, 56) of background, lungs, heart and mediastinum."""

    def __init__(self, network: UNet2d) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """As in the class."""
        halved = self.network.halved_logits(functional.avg_pool2d(image, 2))[0]
        enlarged = functional.interpolate(halved, scale_factor=2, mode="bilinear", align_corners=False)
        return (functional.avg_pool2d(enlarged.softmax(dim=1), 4),)


class Head(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Features (N, G, G, 424), standardised, and places (N, 11, G, G) to logits of places (N, answers, G, G).

    1 x 1 to `width` channels, then depthwise 5 x 5 residual blocks: about a fifth of the image is seen from a place.
    """

    def __init__(self, answers: int = 1, width: int = 64, blocks: int = 2, hidden: float = 0.4) -> None:
        super().__init__()
        self.hidden = hidden
        self.reduce = nn.Linear(CHANNELS, width)
        self.place = nn.Conv2d(PLACES, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.ModuleList([_Block(width, 1 + index % 2) for index in range(blocks)])
        self.out = nn.Conv2d(width, answers, 1)
        self.scale, self.shift = nn.Parameter(torch.zeros(answers)), nn.Parameter(torch.zeros(answers))
        nn.init.constant_(self.out.bias, -2.0)
        nn.init.normal_(self.out.weight, std=0.02)
        self.to(memory_format=torch.channels_last)

    def forward(self, features: Tensor, places: Tensor) -> Tensor:
        """As in the class; while training, a share `hidden` of the channels is left out, the same for a batch."""
        weight = self.reduce.weight
        if self.training:
            weight = weight * (torch.rand(CHANNELS) > self.hidden).float() / (1 - self.hidden)
        x = functional.linear(features, weight, self.reduce.bias).permute(0, 3, 1, 2)
        x = functional.relu(self.norm(x + self.place(places)))
        for block in self.blocks:
            x = block(x)
        if self.training:
            x = functional.dropout2d(x, 0.1)
        logits: Tensor = self.out(functional.relu(x))
        return logits

    def only(self, answers: list[int]) -> Head:
        """A copy that gives these answers alone, in this order."""
        chosen = copy.deepcopy(self)
        chosen.out = nn.Conv2d(self.out.in_channels, len(answers), 1)
        with torch.no_grad():
            chosen.out.weight.copy_(self.out.weight[answers])
            chosen.out.bias.copy_(self.out.bias[answers])
        return chosen

    def image_logit(self, pooled: Tensor) -> Tensor:
        """What training compares: pooled (N, answers), scaled and shifted. The package leaves that to calibration."""
        return pooled * torch.exp(self.scale) + self.shift


class _Block(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """x + 1 x 1 of ReLU of depthwise 5 x 5, with batch normalisation."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2 * dilation, dilation=dilation, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.pointwise = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """As in the class."""
        return x + self.pointwise(functional.relu(self.norm(self.depthwise(x))))


Field = Callable[[Tensor], Tensor]
"""Anatomy (N, 5, 56, 56) to (N, 1 or answers, 28, 28) in 0..1: where the evidence for each answer counts."""
Attention = Callable[[Tensor, Tensor], Tensor]
"""Logits of places (N, K, G, G) and where they count to how much each is listened to: positive, of any scale."""


class LocalEvidence(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, 448, 448) in 0..1 to logits (N, K), evidence (N, K, 28, 28), features (N, 424, 28, 28) and embedding.

    `heads` are averaged place by place. embedding: (N, 424), the mean of the features inside the lungs.
    """

    def __init__(
        self,
        centre: Tensor,
        spread: Tensor,
        heads: list[Head],
        field: Field | None = None,
        floor: float = FLOOR,
        attention: Attention | None = None,
    ) -> None:
        super().__init__()
        self.field, self.floor, self.attention = field or lung_field, floor, attention or by_probability
        self.stages, self.anatomy = DenseStages(imagenet_backbone()), Anatomy(bundled_anatomy())
        self.heads = nn.ModuleList(heads)
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", centre.reshape(1, -1, 1, 1).clone())
        self.register_buffer("spread", spread.reshape(1, -1, 1, 1).clone())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As in the class."""
        features = standardised(self.stages(image)[0], self.centre, self.spread)
        probabilities = self.anatomy(image)[0]
        places, lungs = positions(probabilities), lung_field(probabilities)
        channels_last = features.permute(0, 2, 3, 1)
        local = torch.stack([head(channels_last, places) for head in self.heads]).mean(dim=0)
        evidence = local_evidence(local, self.field(probabilities), self.floor, self.attention)
        embedding = (features * lungs).sum(dim=(2, 3)) / (lungs.sum(dim=(2, 3)) + 1e-3)
        return evidence.sum(dim=(2, 3)) + self.floor, evidence, features, embedding


def by_probability(local: Tensor, field: Tensor) -> Tensor:
    """Attention (N, K, G, G), not scaled: a place's own probability, times how much it counts."""
    return field * torch.sigmoid(local) + 1e-6 * field + 1e-9


def by_expected_overlap(local: Tensor, field: Tensor) -> Tensor:
    """Attention (N, K, G, G), not scaled: whether a place is of the region that is expected to overlap best, softly.

    Dice is expected to be best for the places whose probability is above half of that best Dice (Lipton, Elkan and
    Narayanaswamy 2014, for F1, which is Dice). The best is estimated by sum of p^2 / sum of p, p = field *
    sigmoid(logit), and a place's share is sigmoid(logit - logit of the cut): half at the cut.
    """
    probability = field * torch.sigmoid(local)
    total = probability.sum(dim=(2, 3), keepdim=True) + 1e-6
    cut = 0.5 * ((probability**2).sum(dim=(2, 3), keepdim=True) + 1e-9) / total
    cut = cut.clamp(1e-6, 0.5)
    return field * torch.sigmoid(local - torch.log(cut / (1 - cut))) + 1e-9


def local_evidence(local: Tensor, field: Tensor, floor: float = FLOOR, attention: Attention = by_probability) -> Tensor:
    """Logits of places (N, K, G, G) and where they count (N, 1 or K, G, G), 0..1, to evidence (N, K, G, G).

    Evidence = a * (logit - floor), with a = `attention` of the places, scaled to the sum 1. So the sum of the evidence
    plus `floor` is the mean of the places' logits, weighted by their attention.
    """
    weight = attention(local, field)
    return weight * (local - floor) / weight.sum(dim=(2, 3), keepdim=True)


def standardised(features: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    """(features - centre) / spread, held to -6..6."""
    return ((features - centre) / spread).clamp(-_LIMIT, _LIMIT)


def lung_field(probabilities: Tensor) -> Tensor:
    """Anatomy (N, 5, 56, 56) to (N, 1, 28, 28) in 0..1: the lungs and a seam of a twelfth of the image around them.

    An opaque part of a lung is not seen as lung: on the boxed radiographs the lungs as drawn hold .62 of the boxes'
    area, with the seam .93.
    """
    lungs = probabilities[:, 1:3].sum(dim=1, keepdim=True)
    wider = functional.max_pool2d(lungs, 9, 1, 4)
    soft = functional.avg_pool2d(wider, 5, 1, 2, count_include_pad=False)
    return functional.avg_pool2d(soft, 2)


def positions(probabilities: Tensor) -> Tensor:
    """Anatomy (N, 5, 56, 56) to (N, 11, 28, 28): where a place lies in relation to the lungs, and which structure.

    Distances from the lungs' centre, in standard deviations of their area: sideways without sign (a heart's side is no
    evidence of an opacity), upwards with; their products; probabilities of lungs, heart and mediastinum.
    """
    coarse = functional.avg_pool2d(probabilities, 2)
    lungs = coarse[:, 1:3].sum(dim=1, keepdim=True) + 1e-4
    line = torch.linspace(-1, 1, GRID)
    total = lungs.sum(dim=(2, 3), keepdim=True)
    aside, down = (_relative(lungs, total, axis) for axis in (line.reshape(1, -1), line.reshape(-1, 1)))
    aside = aside.abs()
    products = [aside * down, aside**2 / 2, down**2 / 2, aside * aside * down / 3, aside * down * down / 3]
    grids = [grid + 0 * lungs for grid in (aside, down, *products)]
    return torch.cat([*grids, coarse[:, 1:]], dim=1)


def _relative(lungs: Tensor, total: Tensor, axis: Tensor) -> Tensor:
    middle = (lungs * axis).sum(dim=(2, 3), keepdim=True) / total
    spread = torch.sqrt((lungs * (axis - middle) ** 2).sum(dim=(2, 3), keepdim=True) / total) + 0.05
    return ((axis - middle) / spread).clamp(-3, 3)


def bundled_anatomy() -> UNet2d:
    """The network of the bundled cxr-anatomy@1, read from its graph, where batch normalisation is in the biases."""
    graph = onnx.load(find_package("cxr-anatomy@1", ()) / "model.onnx").graph
    stored = {initializer.name: np.array(onnx.numpy_helper.to_array(initializer)) for initializer in graph.initializer}
    network = UNet2d(len(CLASSES))
    state = network.state_dict()
    for name, value in state.items():
        if name in stored:
            state[name] = torch.from_numpy(stored[name])
        elif name.endswith("1.bias"):
            state[name] = torch.from_numpy(stored[f"{name.removesuffix('1.bias')}0.weight_bias"])
        elif name.endswith("running_var"):
            state[name] = torch.full_like(value, 1 - _NORM_EPS)
    network.load_state_dict(state)
    network.eval()
    return network
