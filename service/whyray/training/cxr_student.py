"""The chest student: ImageNet backbone, global average pooling, one linear layer; and how it is taught."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from whyray.training.cxr_augment import augment, expected_regions, plain
from whyray.training.cxr_data import FINDINGS, FloatArray, Radiographs
from whyray.training.efficientnet_lite import FEATURES, imagenet_backbone

INPUT_SIZE = 224
GRID = INPUT_SIZE // 16


@dataclass(frozen=True)
class Recipe:
    """How long and how hard: the numbers that a run can change."""

    epochs: int = 7
    batch: int = 16
    small_share: float = 0.2
    backbone_rate: float = 2.5e-4
    head_rate: float = 1.5e-3
    weight_decay: float = 0.02
    ridge: float = 100.0
    dropout: float = 0.3
    imitation: float = 0.3
    elsewhere: float = 0.05
    average_decay: float = 0.98
    frozen_blocks: int = 5


class Student(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, 224, 224) in 0..1 to logits (N, 14), features (N, 304, 14, 14) and embedding (N, 304).

    logits = weight @ mean(features) + bias, so that Grad-CAM of a finding is its weights times the features.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = imagenet_backbone()
        self.head = nn.Linear(FEATURES, len(FINDINGS))
        self.dropout = dropout
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, features, embedding."""
        features = self.backbone((image.expand(-1, 3, -1, -1) * 255 - 127) / 128)
        embedding = features.mean(dim=(2, 3))
        standard = functional.dropout((embedding - self.centre) / self.spread, self.dropout, self.training)
        return self.head(standard), features, embedding

    def train(self, mode: bool = True) -> Student:
        """As in torch, but batch normalisation keeps ImageNet's statistics: a few hundred images would spoil them."""
        super().train(mode)
        self.backbone.eval()
        return self

    def folded(self) -> Student:
        """The same function with the standardisation of the embedding inside the linear layer."""
        twin = copy.deepcopy(self)
        with torch.no_grad():
            twin.head.weight.copy_(self.head.weight / self.spread)
            twin.head.bias.copy_(self.head.bias - (self.head.weight / self.spread) @ self.centre)
            twin.centre.zero_()
            twin.spread.fill_(1.0)
        twin.eval()
        return twin


def teach(
    data: Radiographs, small: Radiographs | None, recipe: Recipe, seed: int, tell: Callable[[int, float], None]
) -> Student:
    """Train one student on `data`, and in each epoch on a random share of `small`; `tell(epoch, loss)` after each."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    student = Student(recipe.dropout).to(memory_format=torch.channels_last)
    student.backbone.freeze_first(recipe.frozen_blocks)
    goal = goals(data)
    _begin_with_ridge(student, data, goal, recipe.ridge)
    pools = [(torch.from_numpy(data.images), goal)]
    if small is not None and recipe.small_share > 0:
        pools.append((torch.from_numpy(small.images), goals(small, data)))
    images, goal = torch.cat([pool[0] for pool in pools]), _joined([pool[1] for pool in pools])
    extra = int(recipe.small_share * len(data)) if len(pools) > 1 else 0
    steps = recipe.epochs * math.ceil((len(data) + extra) / recipe.batch)
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in student.backbone.parameters() if p.requires_grad], "lr": recipe.backbone_rate},
            {"params": student.head.parameters(), "lr": recipe.head_rate},
        ],
        weight_decay=recipe.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [recipe.backbone_rate, recipe.head_rate], total_steps=steps + 1, pct_start=0.15
    )
    average = torch.optim.swa_utils.AveragedModel(
        student, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.average_decay)
    )
    regions = expected_regions()
    for epoch in range(recipe.epochs):
        student.train()
        order = torch.randperm(len(data), generator=random)
        if extra:
            chosen = torch.randperm(len(images) - len(data), generator=random)[:extra] + len(data)
            order = torch.cat([order, chosen])[torch.randperm(len(data) + len(chosen), generator=random)]
        losses = []
        for rows in order.split(recipe.batch):
            batch, moved = augment(images[rows], regions, INPUT_SIZE, GRID, random)
            loss = _loss(student, batch, moved, goal.rows(rows), recipe)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(student)
            losses.append(float(loss.detach()))
        tell(epoch, float(np.mean(losses)))
    taught: Student = average.module
    taught.eval()
    return taught


def logits(student: Student, images: FloatArray | np.ndarray) -> FloatArray:
    """(N, H, W) uint8 to (N, 14)."""
    with torch.no_grad():
        parts = [student(plain(part, INPUT_SIZE))[0] for part in torch.from_numpy(images).split(32)]
    return np.asarray(torch.cat(parts).double().numpy())


@dataclass(frozen=True)
class Goals:
    """What each image should give: mixed label in 0..1, the teacher's recalibrated logit, and where there is one."""

    mixed: Tensor
    imitated: Tensor
    known: Tensor
    spread: Tensor

    def rows(self, rows: Tensor) -> Goals:
        """The goals of these images."""
        return Goals(self.mixed[rows], self.imitated[rows], self.known[rows], self.spread)


def goals(data: Radiographs, fitted_on: Radiographs | None = None) -> Goals:
    """Half NIH's label, half the teacher's probability after Platt scaling on the training images."""
    base = fitted_on or data
    mixed, imitated, spread = data.labels.copy(), np.zeros_like(data.labels), np.ones(len(FINDINGS))
    known = ~np.isnan(data.teacher)
    for index in range(len(FINDINGS)):
        usable = ~np.isnan(base.teacher[:, index])
        seen, label = base.teacher[usable, index], base.labels[usable, index]
        if len(np.unique(label)) > 1:
            fit = LogisticRegression(C=1.0).fit(seen[:, None], label)
            scale, shift = max(float(fit.coef_[0, 0]), 0.3), float(fit.intercept_[0])
        else:
            scale, shift = 1.0, 0.0
        spread[index] = max(float(np.std(scale * seen)), 0.1)
        imitated[:, index] = np.where(known[:, index], scale * np.nan_to_num(data.teacher[:, index]) + shift, 0.0)
    soft = 1 / (1 + np.exp(-imitated))
    mixed = np.where(known, 0.5 * data.labels + 0.5 * soft, 0.04 + 0.86 * data.labels)
    tensors = [torch.from_numpy(array).float() for array in (mixed, imitated, known.astype(float), spread)]
    return Goals(*tensors)


def _joined(parts: list[Goals]) -> Goals:
    return Goals(
        torch.cat([part.mixed for part in parts]),
        torch.cat([part.imitated for part in parts]),
        torch.cat([part.known for part in parts]),
        parts[0].spread,
    )


def _loss(student: Student, batch: Tensor, regions: Tensor, goal: Goals, recipe: Recipe) -> Tensor:
    """Cross entropy with the mixed label, imitation of the teacher's logit, and evidence from plausible anatomy.

    The last term (after Ross et al. 2017, 'right for the right reasons') is the share of the positive class
    activation map that lies outside the region where the finding can be at all.
    """
    answer, features, _ = student(batch)
    truth = functional.binary_cross_entropy_with_logits(answer, goal.mixed)
    imitation = (
        functional.smooth_l1_loss(answer / goal.spread, goal.imitated / goal.spread, reduction="none") * goal.known
    ).mean()
    maps = torch.einsum("kc,nchw->nkhw", student.head.weight / student.spread, features).relu()
    elsewhere = (maps * (1 - regions)).sum(dim=(2, 3)) / (maps.sum(dim=(2, 3)) + 1e-3)
    return truth + recipe.imitation * imitation + recipe.elsewhere * elsewhere.mean()


def _begin_with_ridge(student: Student, data: Radiographs, goal: Goals, ridge: float) -> None:
    """Start the head from a ridge regression on the ImageNet features: the closed form is worth many steps."""
    student.eval()
    with torch.no_grad():
        parts = [student(plain(part, INPUT_SIZE))[2] for part in torch.from_numpy(data.images).split(32)]
        embedding = torch.cat(parts)
        student.centre.copy_(embedding.mean(dim=0))
        student.spread.copy_(embedding.std(dim=0) + 1e-3)
        standard = ((embedding - student.centre) / student.spread).double()
        soft = goal.mixed.clamp(0.02, 0.98).double()
        wanted = torch.where(goal.known > 0, 0.5 * goal.imitated.double() + 0.5 * torch.logit(soft), torch.logit(soft))
        gram = standard.T @ standard + ridge * torch.eye(FEATURES, dtype=torch.float64)
        student.head.weight.copy_(torch.linalg.solve(gram, standard.T @ (wanted - wanted.mean(dim=0))).T.float())
        student.head.bias.copy_(wanted.mean(dim=0).float())
