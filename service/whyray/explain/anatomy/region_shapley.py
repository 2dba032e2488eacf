"""`region-shapley`: the answer shared out fairly among anatomical structures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whyray.base.arrays import BoolArray, DoubleArray
from whyray.base.errors import WhyRayError
from whyray.explain.anatomy.coalitions import Players
from whyray.explain.anatomy.region_occlusion import shares_of_effects
from whyray.explain.anatomy.shares_by_region import RegionShares
from whyray.explain.anatomy.structures import AnatomyParameters, anatomy_of, missing_anatomy, structures_of
from whyray.explain.case import Case
from whyray.explain.fill import Fill
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.types import Kind, Tier
from whyray.inference import Model
from whyray.packages import CompanionRole

NAME = "region-shapley"
EXACT = 9
"""Players up to which all coalitions are asked: eight structures and the rest, 512 forward passes."""
Value = Callable[[BoolArray], DoubleArray]
"""(n, players) presence to (n, targets) scores."""


class RegionShapleyParameters(AnatomyParameters):
    """`fill` as for `region-occlusion`. Above eight structures, `permutations` random orders (and their reverses) are
    followed instead of all coalitions; `seed` draws them."""

    fill: Fill = "mean"
    permutations: int = Field(default=16, ge=1)
    seed: int = 0


@register
class RegionShapleyMethod(MethodDefaults):
    """The score shared out among anatomical structures by Shapley's rule (Lundberg and Lee 2017, eq. 8).

    Players are the structures and the rest of the image; an absent one is covered. Effects sum to f(x) minus f(all
    covered), so structures that only count together share what they bring. Exact up to eight structures.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Contribution of each structure"
    tier: ClassVar[Tier] = "T0"
    kind: ClassVar[Kind] = "anatomical prior"
    signed: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True
    companion: ClassVar[CompanionRole | None] = "anatomy"
    Parameters: ClassVar[type[MethodParameters]] = RegionShapleyParameters

    def cost(self, parameters: Any) -> int:
        """One a coalition: 2 to the number of players."""
        return 512 if parameters.zones else 32

    def why_not(self, model: Model) -> WhyRayError | None:
        """No anatomy can be had."""
        return missing_anatomy(model, NAME)

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[RegionShares]:
        """One explanation a target; forward passes are shared by all targets."""
        assert isinstance(parameters, RegionShapleyParameters)
        structures = structures_of(case, parameters, method=NAME)
        players = Players(case, structures, parameters.fill)
        if len(players) <= EXACT:
            values, error, empty, whole = exact_shapley(players.scores, len(players))
        else:
            rng = np.random.default_rng(parameters.seed)
            values, error, empty, whole = sampled_shapley(players.scores, len(players), parameters.permutations, rng)
        # Against the score that the service answered with, not the batch's own: a batch that differs shows here.
        gap = np.abs(values.sum(axis=0) - (case.score - empty)) / np.maximum(np.abs(case.score - empty), 1e-3)
        parity = np.abs(whole - case.score) / np.maximum(np.abs(case.score), 1.0)
        return [
            shares_of_effects(
                case,
                target,
                structures,
                players.masks,
                values[:, index],
                method=NAME,
                unit=self.unit,
                parameters={**parameters.model_dump(), "anatomy_from": anatomy_of(case, parameters)},
                base=float(empty[index]),
                evidence={
                    "efficiency_gap": float(gap[index]),
                    "engine_parity": float(parity[index]),
                    "largest_standard_error": float(error[:, index].max()),
                },
            )
            for index, target in enumerate(case.targets)
        ]


def exact_shapley(value: Value, players: int) -> tuple[DoubleArray, DoubleArray, DoubleArray, DoubleArray]:
    """Shapley values (players, targets) over all coalitions, their standard errors (0), f(none) and f(all)."""
    codes = np.arange(2**players)
    present = (codes[:, None] >> np.arange(players)) & 1 == 1
    scores = value(present)
    sizes = present.sum(axis=1)
    weight = np.array([factorial(size) * factorial(players - size - 1) for size in range(players)]) / factorial(players)
    shapley_values = np.zeros((players, scores.shape[1]))
    for player in range(players):
        without = codes[~present[:, player]]
        gain = scores[without | (1 << player)] - scores[without]
        shapley_values[player] = weight[sizes[without]] @ gain
    return shapley_values, np.zeros_like(shapley_values), scores[0], scores[-1]


def sampled_shapley(
    value: Value, players: int, permutations: int, rng: np.random.Generator
) -> tuple[DoubleArray, DoubleArray, DoubleArray, DoubleArray]:
    """The same from random orders and their reverses (Mitchell et al. 2022, section 4): unbiased, and its values sum
    exactly to f(all) - f(none), since the gains along each order do."""
    ends = value(np.stack([np.zeros(players, bool), np.ones(players, bool)]))
    draws = []
    for _ in range(permutations):
        order = rng.permutation(players)
        draws.append((_along(value, order, ends) + _along(value, order[::-1], ends)) / 2)
    gains = np.stack(draws)
    error = gains.std(axis=0, ddof=1) / np.sqrt(permutations) if permutations > 1 else np.full(gains.shape[1:], np.nan)
    return gains.mean(axis=0), error, ends[0], ends[1]


def _along(value: Value, order: NDArray[np.intp], ends: DoubleArray) -> DoubleArray:
    """(players, targets): what each player brings when it joins those before it in the order."""
    ranks = np.argsort(order)
    present = ranks[None, :] <= np.arange(len(order) - 1)[:, None]
    scores = np.concatenate([ends[:1], value(present), ends[1:]])
    return np.asarray(np.diff(scores, axis=0)[ranks])
