"""RISE (Petsiuk et al. 2018): the answer to randomly masked images, averaged where they were shown."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.explain.case import Attribution, Case
from whyray.explain.fill import Fill, filled
from whyray.explain.grid import axis_weights
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.repeat import top_dice
from whyray.explain.types import Tier


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
        sampler = masks(case.shape, p.cells, p.keep, np.random.default_rng(p.seed))
        hidden = filled(case.x, p.fill)
        visible = case.x - hidden
        drawn: list[FloatArray] = []

        def shown() -> Iterator[FloatArray]:
            for chunk in case.chunks(p.masks):
                drawn.append(np.stack([next(sampler) for _ in range(chunk.stop - chunk.start)]))
                batch = visible * drawn[-1][:, None]
                batch += hidden
                yield batch

        halves = (_Sums(case), _Sums(case))
        for number, scores in enumerate(case.scores(shown(), p.masks)):
            halves[number % 2].add(scores, drawn.pop())
        maps = (halves[0] + halves[1]).maps(p)
        repeats = (
            [top_dice(*pair) for pair in zip(halves[0].maps(p), halves[1].maps(p), strict=True)]
            if halves[1].count
            else [0.0] * len(maps)
        )
        return [
            Attribution(heatmap.astype(np.float32), evidence={"split_half_dice": repeat})
            for heatmap, repeat in zip(maps, repeats, strict=True)
        ]


class _Sums:
    """Sums over masks from which either estimator follows. Scores are relative to the whole image's, for precision."""

    def __init__(self, case: Case) -> None:
        self._level = case.score.astype(np.float64)
        self._weighted = np.zeros((len(case.targets), *case.shape))
        self._masks = np.zeros(case.shape)
        self._scores = np.zeros(len(case.targets))
        self.count = 0

    def add(self, scores: FloatArray, drawn: FloatArray) -> None:
        relative = (scores - self._level).astype(np.float32)
        self._weighted += np.tensordot(relative.T, drawn, axes=1)
        self._scores += relative.sum(axis=0, dtype=np.float64)
        self._masks += drawn.sum(axis=0)
        self.count += len(drawn)

    def __add__(self, other: _Sums) -> _Sums:
        both = copy.copy(self)
        both._weighted = self._weighted + other._weighted
        both._masks = self._masks + other._masks
        both._scores = self._scores + other._scores
        both.count = self.count + other.count
        return both

    def maps(self, p: RiseParameters) -> FloatArray:
        """(targets, *spatial)."""
        axes = (-1, *[1] * self._masks.ndim)
        if p.centred:
            outer = (self._scores / self.count).reshape(axes) * (self._masks / self.count)
            return np.asarray((self._weighted / self.count - outer) / (p.keep * (1 - p.keep)), np.float32)
        return np.asarray(
            (self._weighted + self._level.reshape(axes) * self._masks) / (self.count * p.keep), np.float32
        )


def masks(shape: tuple[int, ...], cells: int, keep: float, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Endless masks in 0..1: a coarse random grid, upsampled, at a random offset below one cell (section 3.2)."""
    counts = [min(cells, size) for size in shape]
    sizes = [-(-size // count) for size, count in zip(shape, counts, strict=True)]
    while True:
        mask = (rng.random(counts) < keep).astype(np.float32)
        offsets = [int(rng.integers(0, size)) for size in sizes]
        for axis, (count, size, offset, length) in enumerate(zip(counts, sizes, offsets, shape, strict=True)):
            weights = axis_weights(count, (count + 1) * size)[offset : offset + length]
            mask = np.moveaxis(np.tensordot(mask, weights, axes=([axis], [1])), -1, axis)
        yield np.ascontiguousarray(mask, dtype=np.float32)
