"""The card tells a right map from wrong ones: on a model whose reason is known, and on the trained chest package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from inference import nets
from whyray.explain import Heatmap, explain
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.packages import copy_package, find_package
from whyray.quality import Grade, assess

RANK = {Grade.GREEN: 0, Grade.AMBER: 1, Grade.RED: 2}
ON_CPU = RuntimeOptions(device="cpu", intra_op_threads=1)


class BrightCorner(nn.Module):
    """Its first target rises with what is bright in the upper left, and its second with the lower right."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.conv = conv(1, 2, 3, padding=1, bias=False)
        with torch.no_grad():
            self.conv.weight.fill_(1 / 3**dims)
        shape = nets.KINDS["plain" if dims == 2 else "plain-3d"].shape
        masks = torch.zeros(1, 2, *shape)
        first = tuple(slice(0, size // 3) for size in shape[-2:])
        last = tuple(slice(-(size // 3), None) for size in shape[-2:])
        masks[(0, 0, ..., *first)] = 1
        masks[(0, 1, ..., *last)] = 1
        self.register_buffer("masks", masks)
        self.linear = nn.Linear(2, 3)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[40.0, 0], [0, 40.0], [-20.0, 20.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear((torch.relu(self.conv(x)) * self.masks).flatten(2).mean(dim=2))


def sign_flipped(values: np.ndarray) -> np.ndarray:
    return -values


def transposed(values: np.ndarray) -> np.ndarray:
    return np.flip(values, axis=(-2, -1)).copy()


def shifted(values: np.ndarray) -> np.ndarray:
    return np.roll(values, [size // 2 for size in values.shape[-2:]], axis=(-2, -1))


def random(values: np.ndarray) -> np.ndarray:
    return np.random.default_rng(11).random(values.shape).astype(np.float32)


MUTATIONS = [sign_flipped, transposed, shifted, random]


@pytest.mark.parametrize("kind", ["plain", "plain-3d"])
def test_where_the_reason_is_known_the_right_map_is_shown_and_every_mutated_one_withheld(
    tmp_path: Path, kind: str
) -> None:
    net = BrightCorner(len(nets.KINDS[kind].shape)).eval()
    model = load_package(nets.pack(tmp_path, kind, net), options=ON_CPU)
    generator = np.random.default_rng(0)
    x = generator.uniform(0.5, 1, model.network.input_shape).astype(np.float32)
    x[..., : x.shape[-2] // 3, : x.shape[-1] // 3] += 1
    right = explain(model, x, target="one", method="occlusion")
    card = assess(model, x, right)
    assert card.grade is not Grade.RED, card.reasons
    for mutate in MUTATIONS:
        wrong = assess(model, x, replace(right, values=mutate(right.values)))
        assert wrong.withheld, mutate.__name__


def _graded(model: Model, x: np.ndarray, heatmap: Heatmap, mutate: Callable[[np.ndarray], np.ndarray] | None) -> int:
    values = heatmap.values if mutate is None else np.ascontiguousarray(mutate(heatmap.values))
    return RANK[assess(model, x, replace(heatmap, values=values)).grade]


def test_on_real_radiographs_trained_maps_grade_better_than_mutated_ones(shared_data: Path, tmp_path: Path) -> None:
    """Without the report that comes along: it withholds this package's maps by Grad-CAM, which hit 1 box of 119."""
    import csv

    from PIL import Image

    model = load_package(copy_package(find_package("cxr-findings@1", ()), tmp_path), options=ON_CPU)
    with (shared_data / "nih-cxr" / "labels.csv").open() as file:
        ill = [row["Image Index"] for row in csv.DictReader(file) if row["Finding Labels"] != "No Finding"][8:14]
    own, mutated = [], {mutation.__name__: [] for mutation in MUTATIONS}
    for name in ill:
        picture = Image.open(shared_data / "nih-cxr" / "images" / name).convert("L").resize(model.spatial_shape[::-1])
        x = (np.asarray(picture, np.float32) / 255).reshape(model.network.input_shape)
        answer = model.predict(x)[0]
        target = max(model.targets, key=lambda candidate: answer[model.target_index(candidate)])
        heatmap = explain(model, x, target=target, method="grad-cam")
        own.append(_graded(model, x, heatmap, None))
        for mutate in MUTATIONS:
            mutated[mutate.__name__].append(_graded(model, x, heatmap, mutate))
    assert np.mean(own) < 1.5, own
    for name, grades in mutated.items():
        assert np.mean(grades) > np.mean(own), (name, grades, own)


def test_maps_that_say_nothing_are_red_with_a_reason_and_cost_nothing() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    heatmap = explain(model, x, target="one", method="occlusion")
    before = model.session.forwards
    for values, words in (
        (np.full((32, 32), np.nan), "NaN"),
        (np.zeros((32, 32)), "zero"),
        (np.ones((32, 32)), "same"),
    ):
        card = assess(model, x, replace(heatmap, values=values.astype(np.float32)))
        assert card.withheld
        assert words in card.reasons[0]
    assert model.session.forwards == before
