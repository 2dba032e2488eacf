"""The chest student: frozen ImageNet features, what place and extremes say of them, pooling, one linear layer.

The linear layer is a ridge regression in closed form: the same data give the same weights, within seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from whyray.base.arrays import DoubleArray
from whyray_training.cxr_activations import GRID, HalfArray
from whyray_training.cxr_data import FINDINGS
from whyray_training.cxr_goals import Goals
from whyray_training.efficientnet_lite import FEATURES, DenseFeatures, dense_imagenet_features

WIDTH = 5 * FEATURES


@dataclass(frozen=True)
class Recipe:
    """The numbers that a run can change."""

    copies: int = 8
    plain_weight: float = 4.0
    ridge: float = 100.0


class Judge(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 304, 14, 14) frozen activations to logits (N, 14), features (N, 1520, 14, 14) and embedding (N, 1520).

    features: each frozen map z, standardised; z times the distance from the middle line; z times the height; and what
    of z is above 1 and below -1. logits = weight @ mean(features) + bias, so that Grad-CAM of a finding is its weights
    times the features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, len(FINDINGS))
        line = torch.linspace(-1, 1, GRID)
        self.places: Tensor
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("places", torch.stack([line.abs().expand(GRID, GRID), line[:, None].expand(GRID, GRID)]))
        self.register_buffer("centre", torch.zeros(FEATURES, 1, 1))
        self.register_buffer("spread", torch.ones(FEATURES, 1, 1))

    def forward(self, frozen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, features, embedding."""
        z = (frozen - self.centre) / self.spread
        aside, height = self.places[0], self.places[1]
        features = torch.cat([z, z * aside, z * height, functional.relu(z - 1), functional.relu(-z - 1)], dim=1)
        embedding = features.mean(dim=(2, 3))
        return self.head(embedding), features, embedding


class Student(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, 224, 224) in 0..1 to logits (N, 14), features (N, 1520, 14, 14) and embedding (N, 1520)."""

    def __init__(self, backbone: DenseFeatures, judge: Judge) -> None:
        super().__init__()
        self.backbone, self.judge = backbone, judge

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, features, embedding."""
        answer: tuple[Tensor, Tensor, Tensor] = self.judge(self.backbone(image)[0])
        return answer


def whole(judge: Judge) -> Student:
    """The judge behind the frozen backbone: what is shipped."""
    student = Student(dense_imagenet_features(), judge)
    student.eval()
    return student


def unfitted_judge(plain: HalfArray) -> Judge:
    """A judge that knows the scale of the frozen maps (from images only, no label) and nothing else."""
    judge = Judge()
    judge.eval()
    maps = torch.from_numpy(plain).float()
    judge.centre.copy_(maps.mean(dim=(0, 2, 3))[:, None, None])
    judge.spread.copy_(maps.std(dim=(0, 2, 3))[:, None, None] + 1e-3)
    return judge


def embeddings(judge: Judge, seen: HalfArray) -> DoubleArray:
    """(copies, N, 304, 14, 14) to (copies, N, 1520)."""
    with torch.no_grad():
        copies = [torch.cat([judge(torch.from_numpy(part).float())[2] for part in _batches(copy)]) for copy in seen]
    return np.asarray(torch.stack(copies).double().numpy())


def ridge_regression(
    seen: DoubleArray, answers: DoubleArray, ridge: float, plain_weight: float = 1.0
) -> tuple[DoubleArray, DoubleArray]:
    """Embeddings (copies, N, E) and answers (N, 14) to (14, E) weights and (14,) biases.

    `ridge` is in units of images and of standardised embeddings. An image's copies share its weight; the first, the
    image as it is, counts `plain_weight` times an augmented one.
    """
    copies, _, width = seen.shape
    shares = np.array([plain_weight] + [1.0] * (copies - 1))
    shares /= shares.sum()
    flat, mean = seen.reshape(-1, width), answers.mean(axis=0)
    centre, spread = flat.mean(axis=0), flat.std(axis=0) + 1e-3
    gram, moment = ridge * np.eye(width), np.zeros((width, answers.shape[1]))
    for share, copy in zip(shares, seen, strict=True):
        standard = (copy - centre) / spread
        gram += share * standard.T @ standard
        moment += share * standard.T @ (answers - mean)
    weights = (np.linalg.solve(gram, moment) / spread[:, None]).T
    return weights, mean - weights @ centre


def wanted(goal: Goals) -> DoubleArray:
    """(N, 14) logits to imitate: half the teacher's where there is one, half that of the mixed label."""
    mixed = torch.logit(goal.mixed.clamp(0.02, 0.98))
    return np.asarray(torch.where(goal.known > 0, 0.5 * goal.imitated + 0.5 * mixed, mixed).double().numpy())


def fitted(judge: Judge, weights: DoubleArray, biases: DoubleArray) -> Judge:
    """The judge with these weights in its linear layer."""
    with torch.no_grad():
        judge.head.weight.copy_(torch.from_numpy(weights))
        judge.head.bias.copy_(torch.from_numpy(biases))
    return judge


def activation_maps(judge: Judge, plain: HalfArray, weights: DoubleArray) -> DoubleArray:
    """(N, 304, 14, 14) to class activation maps (N, 14, 14, 14); their mean over places is the logit less the bias."""
    with torch.no_grad():
        rows = torch.from_numpy(weights).float()
        maps = [
            torch.einsum("kc,nchw->nkhw", rows, judge(torch.from_numpy(part).float())[1]) for part in _batches(plain)
        ]
    return np.asarray(torch.cat(maps).double().numpy())


def _batches(activations: HalfArray) -> list[HalfArray]:
    return [np.ascontiguousarray(activations[start : start + 32]) for start in range(0, len(activations), 32)]
