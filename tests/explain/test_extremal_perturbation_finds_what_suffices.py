"""Extremal perturbation against an exhaustive search of all masks."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from inference import nets
from whyray.base.errors import Cancelled
from whyray.explain import explain
from whyray.explain.fill import filled
from whyray.explain.grid import upsample


@pytest.mark.parametrize(("name", "cells", "kept"), [("plain", (3, 3), 3), ("flatten", (4, 4), 2)])
def test_the_mask_found_is_the_best_of_all_masks_of_its_area(name: str, cells: tuple[int, int], kept: int) -> None:
    net, x, count = nets.make(name), nets.image(name).numpy(), cells[0] * cells[1]
    chosen = list(combinations(range(count), kept))
    masks = np.zeros((len(chosen), count), np.float32)
    for mask, places in zip(masks, chosen, strict=True):
        mask[list(places)] = 1
    masks = upsample(masks.reshape(-1, *cells), x.shape[2:])
    hidden = filled(x, "blur")
    with torch.no_grad():
        scores = net(torch.from_numpy(hidden + (x - hidden) * masks[:, None])).numpy()
        whole, level = (net(torch.from_numpy(image)).numpy()[0] for image in (x, hidden))
    maps = explain(
        nets.loaded(name), x, target="all", method="extremal-perturbation", cells=cells[0], areas=[kept / count]
    )
    for number, heatmap in enumerate(maps):
        best = int(scores[:, number].argmax())
        assert np.allclose(heatmap.values, masks[best], atol=1e-6)
        share = (scores[best, number] - level[number]) / (whole[number] - level[number])
        assert heatmap.evidence[f"kept_at_{kept / count:g}"] == pytest.approx(float(share), rel=1e-3, abs=1e-4)


def test_the_map_is_the_mean_of_the_masks_of_all_areas_and_costs_what_the_method_says() -> None:
    model, x = nets.loaded("plain-3d"), nets.image("plain-3d").numpy()
    small = {"cells": 3, "rounds": 2, "population": 8}
    parts = [
        explain(model, x, target="one", method="extremal-perturbation", areas=[0.2], **small),
        explain(model, x, target="one", method="extremal-perturbation", areas=[0.2, 0.5], **small),
    ]
    remainder = 2 * parts[1].values - parts[0].values
    assert remainder.min() >= -1e-6
    assert remainder.max() <= 1 + 1e-6
    assert remainder.mean() > parts[0].values.mean()
    again = nets.loaded("plain-3d")
    explain(again, x, target="one", method="extremal-perturbation", areas=[0.2], **small)
    assert again.session.forwards >= 16
    assert again.session.forwards <= 16 + 2 + 3 + 3  # the image, what is hidden, the proof that batches are right


def test_the_search_can_be_cancelled() -> None:
    def stop(done: int, total: int, words: str) -> None:
        if done:
            raise Cancelled("by the test")

    with pytest.raises(Cancelled):
        explain(
            nets.loaded("plain"),
            nets.image("plain").numpy(),
            target="one",
            method="extremal-perturbation",
            progress=stop,
        )
