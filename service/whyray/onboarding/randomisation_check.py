"""The check of Adebayo et al. 2018, on some images: a method's maps must change when the weights are randomised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whyray.base.arrays import BoolArray, FloatArray
from whyray.explain import Heatmap, explained_image, heatmaps, method_named
from whyray.explain.anatomy import allowed_in
from whyray.explain.refusal import ends_all
from whyray.inference import Model
from whyray.onboarding.questions import Question
from whyray.packages.randomisation_report import ALL, FEWEST_IMAGES, HALF, IMAGES, ORDER_KEPT, SIMILARITY
from whyray.quality import alike, order_kept, random_pair_similarity, silent_places

MOST_IMAGES = FEWEST_IMAGES
"""So many are enough for a card to say something, and each takes a map by four networks."""


def randomisation_check(
    model: Model,
    name: str,
    questions: Sequence[Question],
    maps: Sequence[Heatmap],
    changed: Sequence[tuple[str, Model]],
    parameters: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """By stage of `changed`, how alike the method's maps are to `maps`, those of `model`.

    SSIM, beside that of maps of different images, says whether the check is passed as it was published; the rank
    correlation, which neither a blank background nor a smooth map raises, says whether there is any dependence at all
    (`whyray.packages.randomisation_report`). Stages at which no map could be made are None. Of each image one map
    counts, whatever number of targets it was asked for; maps that are 0 everywhere don't: nothing of them could stay.
    """
    of_image: dict[int, tuple[FloatArray, Heatmap]] = {}
    for question, heatmap in zip(questions, maps, strict=True):
        if heatmap.values.any():
            of_image.setdefault(question.image, (question.x, heatmap))
    different = [heatmap.values for _, heatmap in of_image.values()] or [maps[0].values]
    unrelated = random_pair_similarity(different, np.random.default_rng(seed))
    pairs = list(of_image.values())[:MOST_IMAGES]
    silent = [_silent(model, name, x, heatmap.target) for x, heatmap in pairs]
    stages: dict[str, float | None] = {}
    orders: dict[str, float | None] = {}
    fewest = len(pairs)
    for stage, other in changed:
        similarities, kept = [], []
        for (x, heatmap), nothing in zip(pairs, silent, strict=True):
            try:
                again = heatmaps(other, x, target=[heatmap.target], method=name, **parameters)[0]
            except Exception as error:  # a randomised net may be one that a method refuses, or fails on
                if ends_all(error):
                    raise
                continue
            similarities.append(alike(heatmap.values, again.values))
            kept.append(order_kept(heatmap.values, again.values, nothing))
        stages[stage] = round(float(np.mean(similarities)), 4) if similarities else None
        orders[stage] = round(float(np.mean(kept)), 4) if kept else None
        if stage in (HALF, ALL):  # those that the card goes by
            fewest = min(fewest, len(kept))
    last = stages.get(ALL)
    return {
        SIMILARITY: stages,
        "SSIM of unrelated maps": round(unrelated, 4),
        ORDER_KEPT: orders,
        IMAGES: fewest,
        "passed": last is not None and last <= unrelated,
        "rule": "SSIM with all weights shuffled is at most that of unrelated maps "
        "(Adebayo et al. 2018; Arun et al. 2021)",
    }


def _silent(model: Model, name: str, x: FloatArray, target: str) -> BoolArray:
    """Where the method's map of this image is 0 whatever the model: beside the image, or where it was kept off."""
    silent = silent_places(model.network.checked_input(x))
    if method_named(name).kind != "anatomical prior":
        return silent
    allowed = allowed_in(model, explained_image(model, x), target)
    return silent if allowed is None else silent | ~allowed
