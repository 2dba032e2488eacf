"""Perturbation methods of one package twice: images made in numpy, and made where the model runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from explain.references import close
from inference import nets
from whyray.explain import Case, explain, explainable, explained_image, heatmaps
from whyray.inference import Model
from whyray.quality.budget import Budget
from whyray.quality.fidelity import fidelity

METHODS: dict[str, dict[str, Any]] = {
    "rise": {"masks": 50},
    "occlusion": {},
    "score-cam": {},
    "lime": {"samples": 60, "segments": 12},
    "kernel-shap": {"samples": 60, "segments": 12},
    "extremal-perturbation": {"rounds": 2, "population": 8},
}


def found_targets(name: str) -> list[str]:
    """Two targets of that net that can be explained on its image."""
    model = nets.loaded(name)
    image = explained_image(model, nets.image(name).numpy())
    return list(explainable(image))[:2] if model.task == "segmentation" else ["one", "two"]


def maps_alike(host: Model, device: Model, name: str, method: str, tolerance: float, **parameters: Any) -> None:
    """Maps and evidence of the method are the same both ways."""
    x, targets = nets.image(name).numpy(), found_targets(name)
    parameters = {**METHODS[method], **parameters}
    expected = heatmaps(host, x, target=targets, method=method, **parameters)
    maps = heatmaps(device, x, target=targets, method=method, **parameters)
    for one, other in zip(maps, expected, strict=True):
        close(one.values, other.values, tolerance)
        assert one.evidence == pytest.approx(other.evidence, rel=tolerance, abs=tolerance)


def cards_alike(host: Model, device: Model, name: str, tolerance: float) -> None:
    """Deletion and insertion of a map are the same both ways, with padding and without."""
    x, target = nets.image(name).numpy(), found_targets(name)[0]
    heatmap = explain(host, x, target=target, method="occlusion")
    padded = np.ones(host.spatial_shape, bool)
    padded[..., :5] = False
    for valid in (None, padded):
        cards = [
            fidelity(Case(model, explained_image(model, x), [0]), heatmap, Budget(), 3, valid)
            for model in (host, device)
        ]
        for one, other in zip(cards[1][0], cards[0][0], strict=True):
            assert (one.name, one.grade, one.forwards) == (other.name, other.grade, other.forwards)
            assert one.value == pytest.approx(other.value, rel=tolerance, abs=tolerance)
        close(cards[1][1].whole, cards[0][1].whole, tolerance)
