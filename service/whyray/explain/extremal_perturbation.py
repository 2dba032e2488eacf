"""Extremal perturbations without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whyray.base.arrays import BoolArray
from whyray.explain.case import Attribution, Case
from whyray.explain.fill import Fill, filled
from whyray.explain.grid import upsample
from whyray.explain.masks import UpsampledGrids
from whyray.explain.perturbed_image import PerturbedImage
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.repeat import top_dice
from whyray.explain.types import Tier

_ELITE = 0.2
_LEARNING = 0.5
_TRIES = 10


class ExtremalPerturbationParameters(MethodParameters):
    """`areas`: shares of the image that are kept, each searched for itself; the map is the mean of their masks.

    `cells`: cells along each axis, a mask keeps or hides whole ones (with linear edges); `rounds` of `population` masks
    each are tried for every area, half of them by each of two searches that know nothing of each other.
    """

    areas: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    cells: int = Field(default=7, ge=2)
    rounds: int = Field(default=8, ge=1)
    population: int = Field(default=32, ge=4)
    fill: Fill = "blur"
    seed: int = 0


@register
class ExtremalPerturbation(AttributionMap):
    """The part of a given area that keeps the score highest (Fong et al. 2019, eq. 3), in the paper's 'preserve' game.

    argmax over masks m of area a of f(m * x + (1 - m) * hidden). The paper climbs gradients over pixels; here masks of
    exactly a share of cells are searched by the cross-entropy method (Rubinstein 1999), so that answers are enough.
    Unit: share of areas whose mask keeps the place. Evidence: `kept_at_A`, the share of f(x) - f(all hidden) that is
    kept with area A.
    """

    name: ClassVar[str] = "extremal-perturbation"
    title: ClassVar[str] = "Smallest area that holds the answer"
    tier: ClassVar[Tier] = "T0"
    unit: ClassVar[str] = "share of masks"
    stochastic: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = ExtremalPerturbationParameters

    def cost(self, parameters: Any) -> int:
        """One a mask that is tried, for each target."""
        return len(parameters.areas) * int(parameters.rounds) * (int(parameters.population) // 2 * 2)

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; each target has its own search."""
        assert isinstance(parameters, ExtremalPerturbationParameters)
        return [self._of_one(case.for_targets([target]), parameters) for target in case.targets]

    def _of_one(self, case: Case, p: ExtremalPerturbationParameters) -> Attribution:
        hidden = filled(case.x, p.fill)
        counts = tuple(min(p.cells, size) for size in case.shape)
        seeds = np.random.default_rng([p.seed, case.targets[0]]).spawn(2)
        level = float(case.scores_of(case.model.session.logits(hidden))[0, 0])
        gain = float(case.score[0]) - level
        perturbed = PerturbedImage(case, UpsampledGrids(case.shape, counts), case.x, hidden)
        searches = [_Search(case, perturbed, counts, p, seed) for seed in seeds]
        halves, best, evidence = np.zeros((2, *case.shape), np.float32), np.zeros(case.shape, np.float32), {}
        for number, area in enumerate(p.areas):
            candidates = [search.best(area, number) for search in searches]
            masks = upsample(np.stack([mask for mask, _ in candidates]).astype(np.float32), case.shape)
            winner = int(np.argmax([score for _, score in candidates]))
            halves += masks
            best += masks[winner]
            if gain:
                evidence[f"kept_at_{area:g}"] = (candidates[winner][1] - level) / gain
        evidence["split_half_dice"] = top_dice(halves[0], halves[1])
        return Attribution(best / np.float32(len(p.areas)), evidence=evidence)


class _Search:
    """One search for the best mask of an area: random masks, then masks more and more like the best of the last.

    No mask is tried twice: where it would be, a neighbour of the best one (one cell for another) takes its place.
    """

    def __init__(
        self,
        case: Case,
        perturbed: PerturbedImage,
        counts: tuple[int, ...],
        p: ExtremalPerturbationParameters,
        rng: np.random.Generator,
    ) -> None:
        self._case, self._perturbed, self._counts, self._p, self._rng = case, perturbed, counts, p, rng

    def best(self, area: float, number: int) -> tuple[BoolArray, float]:
        """The best mask (*counts) that keeps `area`, and its score; `number` of the area, for progress."""
        cells, size = int(np.prod(self._counts)), self._p.population // 2
        kept = min(cells, max(1, round(area * cells)))
        chances = np.full(cells, kept / cells)
        best, score = self._draw(chances, kept, 1)[0], -np.inf
        tried: set[bytes] = set()
        for turn in range(self._p.rounds):
            self._case.tell(number * self._p.rounds + turn, len(self._p.areas) * self._p.rounds)
            masks = np.stack([self._untried(mask, best, tried) for mask in self._draw(chances, kept, size)])
            scores = self._scores(masks)
            elite = np.argsort(-scores, kind="stable")[: max(2, round(_ELITE * size))]
            chances = (1 - _LEARNING) * chances + _LEARNING * masks[elite].mean(axis=0)
            if scores[elite[0]] > score:
                best, score = masks[elite[0]], float(scores[elite[0]])
        return best.reshape(self._counts), score

    def _draw(self, chances: NDArray[np.float64], kept: int, size: int) -> BoolArray:
        """(size, cells): each keeps exactly `kept` cells, drawn without replacement by their odds (Gumbel top-k)."""
        safe = np.clip(chances, 1e-3, 1 - 1e-3)
        keys = np.log(safe / (1 - safe)) + self._rng.gumbel(size=(size, len(chances)))
        masks = np.zeros(keys.shape, bool)
        np.put_along_axis(masks, np.argpartition(-keys, kept - 1, axis=1)[:, :kept], True, axis=1)
        return masks

    def _untried(self, mask: BoolArray, best: BoolArray, tried: set[bytes]) -> BoolArray:
        for _ in range(_TRIES):
            if mask.tobytes() not in tried or best.all():
                break
            mask = best.copy()
            mask[self._rng.choice(np.flatnonzero(best))] = False
            mask[self._rng.choice(np.flatnonzero(~best))] = True
        tried.add(mask.tobytes())
        return mask

    def _scores(self, masks: BoolArray) -> NDArray[np.float64]:
        cells = masks.reshape(-1, *self._counts).astype(np.float32)
        numbers = ({"cells": cells[chunk]} for chunk in self._case.chunks(len(cells)))
        return np.concatenate(list(self._perturbed.scores(numbers, None)))[:, 0].astype(np.float64)
