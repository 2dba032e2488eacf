"""Teach one head the 14 findings, each inside its own region: labels, a teacher's opinion, and boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from whyray.base.arrays import BoolArray
from whyray_training.cxr_boxed_data import BoxedRadiographs
from whyray_training.cxr_data import FINDINGS, Radiographs
from whyray_training.cxr_goals import goals
from whyray_training.cxr_head_fit import Cycle, stacked, teach
from whyray_training.cxr_local_net import FLOOR, Head, local_evidence
from whyray_training.cxr_local_views import View
from whyray_training.cxr_opacity_fit import OPACITY_MARKS, OTHER_MARKS

OPAQUE = ("Infiltration", "Pneumonia", "Consolidation")
"""Findings that an opacity's boxes teach, where the image has the label."""


@dataclass(frozen=True)
class Recipe(Cycle):
    """The numbers that a run can change."""

    epochs: int = 7
    width: int = 64
    healthy_weight: float = 0.3
    box_weight: float = 1.0


@dataclass(frozen=True)
class Lesson:
    """Views of all radiographs, the first as they are; the data; what the boxes mark.

    boxed: (N, 14) where boxes teach places.
    """

    views: tuple[View, ...]
    data: BoxedRadiographs
    boxed: BoolArray


def lesson(views: tuple[View, ...], data: BoxedRadiographs) -> Lesson:
    """With what the boxes of RSNA's and the NIH's readers teach about labelled findings."""
    marks = views[0].marks[[views[0].at[row] for row in range(len(data))]]
    marked = np.asarray((marks.amax(dim=(2, 3)) > 0).any(dim=1).numpy())
    opaque = np.isin(FINDINGS, OPAQUE)
    return Lesson(views, data, (data.labels > 0) & opaque & marked[:, None])


def fitted(taught: Lesson, rows: NDArray[np.int64], recipe: Recipe, seed: int) -> Head:
    """A head taught by the radiographs `rows` (AdamW, one cycle); the same seed gives the same head."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    head = Head(len(FINDINGS), recipe.width)
    data = taught.data
    known = goals(Radiographs(data.images[rows, :1, :1], data.labels[rows], data.teacher[rows], data.patients[rows]))
    wanted = torch.zeros(len(data), len(FINDINGS))
    wanted[torch.from_numpy(rows)] = known.mixed
    return teach(
        head,
        recipe,
        max(1, len(rows) // recipe.batch),
        lambda: random.permutation(rows),
        lambda part: _loss(head, taught, part, wanted[torch.from_numpy(part)], recipe, random),
    )


def _loss(
    head: Head, taught: Lesson, rows: NDArray[np.int64], wanted: Tensor, recipe: Recipe, random: np.random.Generator
) -> Tensor:
    drawn = [taught.views[int(random.integers(len(taught.views)))] for _ in rows]
    features, places, field, marks = stacked(drawn, rows)
    local = head(features, places)
    pooled = local_evidence(local, field).sum(dim=(2, 3)) + FLOOR
    by_image = functional.binary_cross_entropy_with_logits(head.image_logit(pooled), wanted)
    healthy = torch.from_numpy(taught.data.healthy[rows]).float().reshape(-1, 1, 1, 1)
    nothing = functional.softplus(local) * field * healthy
    boxed = torch.from_numpy(taught.boxed[rows]).float()[:, :, None, None]
    there = torch.maximum(marks[:, OPACITY_MARKS], marks[:, OTHER_MARKS])[:, None].expand_as(local)
    surprise = functional.binary_cross_entropy_with_logits(local, there, reduction="none") * boxed * field
    return (
        by_image * len(FINDINGS) / 2
        + recipe.healthy_weight * nothing.sum() / ((field * healthy).sum() + 1)
        + recipe.box_weight * surprise.sum() / ((boxed * field).sum() + 1)
    )
