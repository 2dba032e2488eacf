"""How far the maps of a package's methods agree, over the images that they are graded on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from whyray.explain import CHANCE, Heatmap, agreement, resampled
from whyray.inference import Model
from whyray.onboarding.localisation import mean_figure

_CELLS = 64


class ComparedMaps:
    """Maps of many methods by image and target, kept on a coarse grid: all of them at once would not fit."""

    def __init__(self, model: Model) -> None:
        self._grid = tuple(min(size, _CELLS) for size in model.spatial_shape)
        self._maps: dict[tuple[int, str], list[Heatmap]] = defaultdict(list)

    def add(self, made: Mapping[tuple[int, str], Heatmap]) -> None:
        """Maps of one method, by number of the image and target."""
        for key, heatmap in made.items():
            values = resampled(heatmap.values[None], self._grid)[0]
            self._maps[key].append(replace(heatmap, values=values))

    def measured(self, seed: int) -> dict[str, Any] | None:
        """The mean agreement with its 95 % interval, by bootstrap over images; None where no two maps compare."""
        agreements = {key: agreed for key, maps in self._maps.items() if (agreed := agreement(maps)) is not None}
        if not agreements:
            return None
        values = np.array([agreed.value for agreed in agreements.values()])
        figure = mean_figure(values, np.array([image for image, _ in agreements]), seed)
        return {
            "is": "mean pairwise overlap of the strongest tenths of the maps, those of the same layer left out",
            "source": "Krishna et al. 2022, section 3.2, feature agreement",
            "methods": sorted({name for agreed in agreements.values() for name in agreed.methods}),
            "by chance": CHANCE,
            **figure.model_dump(),
        }
