"""What the chest autoencoder learns from: radiographs as they are and lightly changed, and what the classifier says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whyray.base.arrays import FloatArray
from whyray.explain import resampled
from whyray.inference import Model
from whyray_training.cxr_augment import augment, plain
from whyray_training.cxr_autoencoder_net import SIZE
from whyray_training.cxr_data import Radiographs
from whyray_training.efficientnet_lite import FEATURES

BATCH = 8


@dataclass(frozen=True)
class Lesson:
    """M pictures on both grids.

    seen: (M, 128, 128) float16 in 0..1, the autoencoder's own grid; full: (M, 224, 224) uint8, the classifier's;
    features: (M, 304, 14, 14), the classifier's frozen maps of `full`; pooled: (M, E), the means of all its last
    features; logits: (M, 14) about `full`.
    """

    seen: npt.NDArray[np.float16]
    full: npt.NDArray[np.uint8]
    features: npt.NDArray[np.float16]
    pooled: FloatArray
    logits: FloatArray

    def __len__(self) -> int:
        return len(self.seen)


class Observer:
    """The explained classifier as the autoencoder's teacher: its features, differentiable and from ONNX Runtime."""

    def __init__(self, model: Model) -> None:
        from whyray.inference.converters import to_torch

        head = model.network.head
        if head is None or head.kind != "pooled" or model.network.features_name is None:
            raise ValueError(f"{model.identity}: expected global average pooling and a linear layer at the end")
        self.model = model
        self.size = model.spatial_shape[0]
        self._features = to_torch(model.network.graph.cut(model.network.graph.input, model.network.features_name))
        self.weight, self.bias = torch.from_numpy(head.weight), torch.from_numpy(head.bias)

    def __call__(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 1, 224, 224) to features (N, E, 14, 14), their means (N, E) and logits (N, 14)."""
        tensors: Any = self._features(pictures)
        features = tensors[0] if isinstance(tensors, (tuple, list)) else tensors
        pooled = features.mean(dim=(2, 3))
        return features, pooled, pooled @ self.weight.T + self.bias

    def answers(self, full: FloatArray) -> tuple[npt.NDArray[np.float16], FloatArray, FloatArray]:
        """(N, 224, 224) to features, pooled features and logits as in Lesson, one by one through ONNX Runtime."""
        runs = [self.model.session.run(picture[None, None]) for picture in full]
        features = np.concatenate([np.asarray(run.features) for run in runs])
        logits = np.concatenate([run.logits for run in runs])
        return features[:, :FEATURES].astype(np.float16), features.mean(axis=(2, 3)), logits


def lesson(data: Radiographs, copies: int, seed: int, observer: Observer, tell: Callable[[int], None]) -> Lesson:
    """Each radiograph as it is and `copies` augmented ones, on both grids, with the classifier's answers."""
    random = torch.Generator().manual_seed(seed)
    parts: list[tuple[Any, ...]] = []
    for copy in range(1 + copies):
        for batch in torch.from_numpy(data.images).split(BATCH):
            pixels = augment(batch, observer.size, random) if copy else plain(batch, observer.size)
            full = (pixels[:, 0].numpy() * 255 + 0.5).astype(np.uint8)
            shown = full.astype(np.float32) / 255
            parts.append((resampled(shown, (SIZE, SIZE)).astype(np.float16), full, *observer.answers(shown)))
            tell(len(batch))
    return Lesson(*(np.concatenate(batches) for batches in zip(*parts, strict=True)))
