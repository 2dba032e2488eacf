"""Teach a head where opacities lie: boxes place by place, and the pooled answer image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from whyray_training.cxr_head_fit import Cycle, stacked, teach
from whyray_training.cxr_local_net import Head, local_evidence
from whyray_training.cxr_local_views import View
from whyray_training.cxr_opacity_truth import OpacityTruth

FLOOR = -10.0
"""From where the package counts its evidence: a place's probability of 0.00005."""
OPACITY_MARKS, OTHER_MARKS = 0, 1
"""In `View.marks`: RSNA's boxes, and the NIH's, which mark one place of perhaps several."""


@dataclass(frozen=True)
class Recipe(Cycle):
    """The numbers that a run can change. normals, unsure: so many of each are drawn for an epoch."""

    epochs: int = 8
    seeds: int = 2
    normals: int = 240
    unsure: int = 120
    place_weight: float = 2.0
    box_weight: float = 2.0
    overlap_weight: float = 1.0
    image_weight: float = 0.8
    outside_nih_box: float = 0.2


@dataclass(frozen=True)
class Lesson:
    """What a head is taught from: views of all radiographs, the first as they are; more of the boxed; what is known."""

    views: tuple[View, ...]
    more: tuple[View, ...]
    truth: OpacityTruth


def fitted(lesson: Lesson, rows: NDArray[np.int64], recipe: Recipe, seed: int) -> Head:
    """A head taught by the radiographs `rows` (AdamW, one cycle); the same seed gives the same head."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    head = Head()
    steps = len(_epoch(lesson.truth, rows, recipe, random)) // recipe.batch
    return teach(
        head,
        recipe,
        steps,
        lambda: _epoch(lesson.truth, rows, recipe, random),
        lambda part: _loss(head, lesson, part, recipe, random),
    )


def local_logits(heads: list[Head], view: View, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Logits of places (n, 1, 28, 28), averaged over heads, and where they count (n, 1, 28, 28)."""
    places = [view.at[int(row)] for row in rows]
    parts = []
    with torch.no_grad():
        for start in range(0, len(places), 64):
            part = places[start : start + 64]
            features = view.features[part].float()
            parts.append(torch.stack([head(features, view.places[part]) for head in heads]).mean(dim=0))
    return torch.cat(parts), view.field[places]


def _epoch(
    truth: OpacityTruth, rows: NDArray[np.int64], recipe: Recipe, random: np.random.Generator
) -> NDArray[np.int64]:
    def drawn(chosen: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
        pool = rows[chosen[rows]]
        return random.choice(pool, min(most, len(pool)), replace=False)

    boxed = rows[truth.opacity[rows]]
    order = np.concatenate(
        [
            boxed,
            boxed,
            rows[truth.marked[rows]],
            rows[truth.other[rows]],
            drawn(truth.normal, recipe.normals),
            drawn(truth.unsure & ~truth.marked, recipe.unsure),
        ]
    )
    random.shuffle(order)
    return order


def _loss(head: Head, lesson: Lesson, rows: NDArray[np.int64], recipe: Recipe, random: np.random.Generator) -> Tensor:
    truth = lesson.truth
    features, places, field, marks = _drawn(lesson, rows, random)
    local = head(features, places)
    opacity, marked, expected, weight, known = (
        torch.from_numpy(np.asarray(labels[rows], np.float32))
        for labels in (truth.opacity, truth.marked, truth.expected, truth.weight, ~truth.unsure | truth.marked)
    )
    is_nih = marked.reshape(-1, 1, 1, 1)
    wanted = torch.where(is_nih > 0, marks[:, OTHER_MARKS, None], marks[:, OPACITY_MARKS, None])
    counts = (0.9 * field + 0.1) * (1 - (1 - recipe.outside_nih_box) * is_nih * (wanted < 0.5))
    surprise = functional.binary_cross_entropy_with_logits(local, wanted, reduction="none")
    by_place = (surprise * counts).sum(dim=(1, 2, 3)) / counts.sum(dim=(1, 2, 3))
    answer, axes = torch.sigmoid(local), (1, 2, 3)
    overlap = 1 - (2 * (answer * wanted * field).sum(dim=axes) + 1) / (
        ((answer**2 + wanted**2) * field).sum(dim=axes) + 1
    )
    pooled = local_evidence(local, field, FLOOR).sum(dim=(2, 3)) + FLOOR
    by_image = functional.binary_cross_entropy_with_logits(head.image_logit(pooled)[:, 0], expected, reduction="none")
    return (
        recipe.place_weight * (by_place * known * (1 + (recipe.box_weight - 1) * opacity)).mean()
        + recipe.overlap_weight * (overlap * opacity).mean()
        + recipe.image_weight * (by_image * weight).mean()
    )


def _drawn(
    lesson: Lesson, rows: NDArray[np.int64], random: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    drawn: list[View] = []
    for row in rows:
        views = lesson.views + (lesson.more if lesson.truth.opacity[row] else ())
        drawn.append(views[int(random.integers(len(views)))])
    return stacked(drawn, rows)
