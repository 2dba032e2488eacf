"""Kernel SHAP for images and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whyray.base.errors import ConfigError
from whyray.explain.case import Attribution, Case
from whyray.explain.fill import Fill, filled
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.segments import coalition_scores, superpixels
from whyray.explain.types import Tier


class KernelShapParameters(MethodParameters):
    """`samples` 0 takes 2 * segments + 2048, as the shap package does; fewer than two a segment are refused."""

    samples: int = Field(default=0, ge=0)
    segments: int = Field(default=50, ge=2)
    compactness: float = Field(default=0.1, gt=0)
    fill: Fill = "mean"
    seed: int = 0


@register
class KernelShap(AttributionMap):
    """Shapley values of SLIC segments by weighted least squares (Lundberg and Lee 2017, theorem 2).

    Coalitions are enumerated by size from the outside in, as far as the samples reach, the rest drawn in pairs with
    their complements. Values of all segments sum exactly to f(x) - f(all hidden), spread evenly over each segment's
    voxels, so the map sums to it as well.
    """

    name: ClassVar[str] = "kernel-shap"
    title: ClassVar[str] = "Kernel SHAP"
    tier: ClassVar[Tier] = "T0"
    signed: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True
    unit: ClassVar[str] = "logit per voxel"
    Parameters: ClassVar[type[MethodParameters]] = KernelShapParameters

    def cost(self, parameters: Any) -> int:
        """One a coalition."""
        return int(parameters.samples) or 2 * int(parameters.segments) + 2048

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; one forward pass a coalition, shared by all targets."""
        assert isinstance(parameters, KernelShapParameters)
        p = parameters
        labels = superpixels(case.x, p.segments, p.compactness)
        count = int(labels.max()) + 1
        samples = p.samples or 2 * count + 2048
        if samples < min(2 * count, 2**count - 2):
            # the least squares would have many solutions, and the one that numpy takes is as wrong as any
            raise ConfigError(
                f"{self.name}: {samples} samples don't tell {count} segments apart",
                advice=f"Give it {2 * count} samples or more, fewer segments, or leave samples out.",
            )
        coalitions, weights = sample_coalitions(count, samples, np.random.default_rng(p.seed))
        ends = np.zeros((1, count), bool)
        scores = coalition_scores(case, labels, np.concatenate([ends, coalitions]), filled(case.x, p.fill))
        values = shapley_values(coalitions, weights, scores[1:], scores[0], case.score.astype(np.float64))
        voxels = np.bincount(labels.ravel(), minlength=count)
        return [Attribution((value / voxels)[labels].astype(np.float32)) for value in values]


def sample_coalitions(
    count: int, samples: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Coalitions (n, count) of `count` players without the empty and the whole one, and their kernel weights (n,).

    n is at most `samples`, and 0 for an only player.
    """
    sizes = np.arange(1, count)
    mass = (count - 1) / (sizes * (count - sizes))  # of all coalitions of a size together
    mass /= mass.sum()
    coalitions = [np.zeros((0, count), bool)]
    weights = [np.zeros(0)]
    left, open_sizes = samples, set(range(1, count))
    for size in range(1, count // 2 + 1):
        both = {size, count - size}
        needed = comb(count, size) * len(both)
        if needed > left:
            break
        picked = np.array(list(combinations(range(count), size)))
        rows = np.zeros((len(picked), count), bool)
        rows[np.arange(len(picked))[:, None], picked] = True
        for rows_of_size in [rows] if len(both) == 1 else [rows, ~rows]:
            coalitions.append(rows_of_size)
            weights.append(np.full(len(rows), mass[size - 1] / len(rows)))
        left -= needed
        open_sizes -= both
    if open_sizes and left >= 2:
        drawn = _draw_pairs(count, left // 2, sorted(open_sizes), mass, rng)
        coalitions.append(drawn)
        weights.append(np.full(len(drawn), sum(mass[size - 1] for size in open_sizes) / len(drawn)))
    return np.concatenate(coalitions), np.concatenate(weights)


def shapley_values(
    coalitions: NDArray[np.bool_],
    weights: NDArray[np.float64],
    scores: NDArray[np.float64],
    empty: NDArray[np.float64],
    whole: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(targets, players): weighted least squares under the constraint that values sum to whole - empty."""
    design = coalitions.astype(np.float64)
    gain = whole - empty
    last = design[:, -1:]
    reduced = design[:, :-1] - last
    aim = scores - empty - last * gain
    root = np.sqrt(weights)[:, None]
    solution = np.linalg.lstsq(reduced * root, aim * root, rcond=None)[0]
    return np.concatenate([solution, (gain - solution.sum(axis=0))[None]]).T


def _draw_pairs(
    count: int, pairs: int, sizes: list[int], mass: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    chances = np.array([mass[size - 1] for size in sizes])
    drawn = rng.choice(sizes, size=pairs, p=chances / chances.sum())
    ranks = rng.random((pairs, count)).argsort(axis=1).argsort(axis=1)
    rows = ranks < drawn[:, None]
    return np.concatenate([rows, ~rows])
