"""The check of Adebayo et al. 2018, on some images: a method's maps must change when the weights are randomised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.explain import Heatmap, heatmaps
from whyray.explain.refusal import ends_all
from whyray.inference import Model
from whyray.packages.randomisation_report import FEWEST_IMAGES, IMAGES, ORDER_KEPT
from whyray.quality import alike, order_kept, random_pair_similarity

MOST_IMAGES = FEWEST_IMAGES
"""So many are enough for a card to say something, and each takes a map by four networks."""


def randomisation_check(
    name: str,
    images: Sequence[FloatArray],
    maps: Sequence[Heatmap],
    changed: Sequence[tuple[str, Model]],
    parameters: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """By stage of `changed`, how alike the method's maps are to `maps`, those of the model as it is.

    SSIM, beside that of maps of different images, says whether the check is passed as it was published; the rank
    correlation, which neither a blank background nor a smooth map raises, says whether there is any dependence at all
    (`whyray.packages.randomisation_report`). Stages at which no map could be made are None.
    """
    unrelated = random_pair_similarity([heatmap.values for heatmap in maps], np.random.default_rng(seed))
    pairs = list(zip(images, maps, strict=True))[:MOST_IMAGES]
    stages: dict[str, float | None] = {}
    orders: dict[str, float | None] = {}
    fewest = len(pairs)
    for stage, other in changed:
        similarities, kept = [], []
        for x, heatmap in pairs:
            try:
                again = heatmaps(other, x, target=[heatmap.target], method=name, **parameters)[0]
            except Exception as error:  # a randomised net may be one that a method refuses, or fails on
                if ends_all(error):
                    raise
                continue
            similarities.append(alike(heatmap.values, again.values))
            kept.append(order_kept(heatmap.values, again.values))
        stages[stage] = round(float(np.mean(similarities)), 4) if similarities else None
        orders[stage] = round(float(np.mean(kept)), 4) if kept else None
        fewest = min(fewest, len(kept))
    last = next((similarity for similarity in reversed(stages.values()) if similarity is not None), None)
    return {
        "SSIM by share of weights randomised": stages,
        "SSIM of unrelated maps": round(unrelated, 4),
        ORDER_KEPT: orders,
        IMAGES: fewest,
        "passed": last is not None and last <= unrelated,
        "rule": "the last SSIM is at most that of unrelated maps (Adebayo et al. 2018; Arun et al. 2021)",
    }
