"""RISE (Petsiuk et al. 2018): the answer to randomly masked images, averaged where they were shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import DoubleArray, FloatArray
from whyray.explain.case import Attribution, Case
from whyray.explain.fill import Fill, filled
from whyray.explain.masks import ShiftedGrids
from whyray.explain.perturbed_image import MaskSums, PerturbedImage
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.repeat import top_dice
from whyray.explain.types import Tier
from whyray.inference import MaskNumbers


class RiseParameters(MethodParameters):
    """Defaults of the paper's section 4.1 (4,000 masks, 7 cells an axis, half of them kept).

    `centred` subtracts the mean score and the mean mask, which takes out the score's level and the masks' uneven
    coverage (a control variate of the same expectation, up to a constant); False is the published estimator.
    """

    masks: int = Field(default=4000, ge=2)
    cells: int = Field(default=7, ge=1)
    keep: float = Field(default=0.5, gt=0, lt=1)
    fill: Fill = "mean"
    centred: bool = True
    seed: int = 0


@register
class Rise(AttributionMap):
    """Randomised input sampling (Petsiuk et al. 2018, eq. 6), in 2-D and 3-D.

    Published estimator: sum_i f(x * M_i) M_i / (N keep). Centred: sum_i (f_i - mean f)(M_i - mean M) / (N keep
    (1 - keep)), signed: in units of the score per mask.
    """

    name: ClassVar[str] = "rise"
    title: ClassVar[str] = "RISE"
    tier: ClassVar[Tier] = "T0"
    signed: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = RiseParameters

    def cost(self, parameters: Any) -> int:
        """One a mask."""
        return int(parameters.masks)

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; one forward pass a mask, shared by all targets."""
        assert isinstance(parameters, RiseParameters)
        p = parameters
        family = ShiftedGrids(case.shape, p.cells)
        perturbed = PerturbedImage(case, family, case.x, filled(case.x, p.fill))
        rng = np.random.default_rng(p.seed)
        drawn = (mask_numbers(family, p.keep, chunk.stop - chunk.start, rng) for chunk in case.chunks(p.masks, parts=2))
        running = (_RunningSums(case, perturbed.sums()), _RunningSums(case, perturbed.sums()))
        for number, (scores, masks) in enumerate(perturbed.scored(drawn, p.masks)):
            running[number % 2].add(scores, masks)
        halves = (running[0].sums(), running[1].sums())
        maps = (halves[0] + halves[1]).maps(p)
        repeats = [top_dice(*pair) for pair in zip(halves[0].maps(p), halves[1].maps(p), strict=True)]
        return [
            Attribution(heatmap.astype(np.float32), evidence={"split_half_dice": repeat})
            for heatmap, repeat in zip(maps, repeats, strict=True)
        ]


class _RunningSums:
    """Sums as the passes come. Scores are relative to the whole image's, for precision."""

    def __init__(self, case: Case, masks: MaskSums) -> None:
        self._level = case.score.astype(np.float64)
        self._masks = masks
        self._scores = np.zeros(len(case.targets))
        self._count = 0

    def add(self, scores: FloatArray, masks: Any) -> None:
        relative = (scores - self._level).astype(np.float32)
        self._masks.add(relative, masks)
        self._scores += relative.sum(axis=0, dtype=np.float64)
        self._count += len(scores)

    def sums(self) -> _Sums:
        return _Sums(self._level, *self._masks.values(), self._scores, self._count)


@dataclass(frozen=True)
class _Sums:
    """Sums over masks from which either estimator follows."""

    level: DoubleArray
    weighted: DoubleArray
    masks: DoubleArray
    scores: DoubleArray
    count: int

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.level,
            self.weighted + other.weighted,
            self.masks + other.masks,
            self.scores + other.scores,
            self.count + other.count,
        )

    def maps(self, p: RiseParameters) -> FloatArray:
        """(targets, *spatial)."""
        axes = (-1, *[1] * self.masks.ndim)
        if p.centred:
            outer = (self.scores / self.count).reshape(axes) * (self.masks / self.count)
            return np.asarray((self.weighted / self.count - outer) / (p.keep * (1 - p.keep)), np.float32)
        return np.asarray((self.weighted + self.level.reshape(axes) * self.masks) / (self.count * p.keep), np.float32)


def mask_numbers(family: ShiftedGrids, keep: float, count: int, rng: np.random.Generator) -> MaskNumbers:
    """The numbers of so many random masks: cells that are 1 with the chance `keep`, at random offsets."""
    cells, starts = zip(*(family.drawn(keep, rng) for _ in range(count)), strict=True)
    return {"cells": np.stack(cells), "starts": np.array(starts, np.int64)}


def masks(shape: tuple[int, ...], cells: int, keep: float, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Endless masks in 0..1: a coarse random grid, upsampled, at a random offset below one cell (section 3.2)."""
    family = ShiftedGrids(shape, cells)
    while True:
        yield family.one(*family.drawn(keep, rng))
