"""RISE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from whyray.explain.case import Attribution, Case, FloatArray
from whyray.explain.fill import Fill, filled
from whyray.explain.grid import axis_weights
from whyray.explain.registry import AttributionMap, MethodParameters, register
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
    tier: ClassVar[Tier] = "T0"
    signed: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = RiseParameters

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; one forward pass a mask, shared by all targets."""
        assert isinstance(parameters, RiseParameters)
        p = parameters
        sampler = masks(case.shape, p.cells, p.keep, np.random.default_rng(p.seed))
        hidden = filled(case.x, p.fill)
        weighted = np.zeros((len(case.targets), *case.shape))
        summed = np.zeros(case.shape)
        score_sum = np.zeros(len(case.targets))
        current: list[FloatArray] = []

        def shown() -> Iterator[FloatArray]:
            for chunk in case.chunks(p.masks):
                drawn = np.stack([next(sampler) for _ in range(chunk.stop - chunk.start)])
                current.append(drawn)
                yield hidden + (case.x - hidden) * drawn[:, None]

        for scores in case.scores(shown(), p.masks):
            drawn = current.pop()
            # Relative to the score of the whole image, so that float32 sums lose nothing.
            weighted += np.tensordot((scores - case.score).T, drawn, axes=1)
            score_sum += (scores - case.score).sum(axis=0, dtype=np.float64)
            summed += drawn.sum(axis=0)
        mean_mask, mean_score = summed / p.masks, score_sum / p.masks
        if p.centred:
            outer = mean_score.reshape(-1, *[1] * len(case.shape)) * mean_mask
            maps = (weighted / p.masks - outer) / (p.keep * (1 - p.keep))
        else:
            maps = (weighted + case.score.reshape(-1, *[1] * len(case.shape)) * summed) / (p.masks * p.keep)
        return [Attribution(each.astype(np.float32)) for each in maps]


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
