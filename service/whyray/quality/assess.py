"""The quality card of one heatmap, measured within a budget of forward passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.explain import Case, Heatmap, Progress
from whyray.models import Model
from whyray.quality.card import Grade, Measurement, QualityCard
from whyray.quality.cells import edge_map, order_by
from whyray.quality.deletion import Curves, Perturbation

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
PARITY_GREEN, PARITY_RED = 1e-3, 1e-2
_RISE = "Petsiuk et al. 2018, section 4.2; random orders after Arun et al. 2021"
_OURS = "WhyRay: the graph's own answer on the same input"


@dataclass(frozen=True)
class Budget:
    """What a card may cost.

    Attributes
    ----------
    forwards
        At most so many forward passes of the model for one card.
    steps
        Points of a deletion curve; fewer where the budget is short.
    random_orders
        Random orders that deletion and insertion are compared with.
    """

    forwards: int = 100
    steps: int = 8
    random_orders: int = 4

    @classmethod
    def for_model(cls, model: Model) -> Budget:
        """The default: 100 forward passes for an image, 34 for a volume, whose passes take as many times longer."""
        return cls() if len(model.spatial_shape) == 2 else cls(forwards=34, steps=4, random_orders=3)


def assess(
    model: Model,
    x: NDArray[np.float32],
    heatmap: Heatmap,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    valid: BoolArray | None = None,
    progress: Progress | None = None,
) -> QualityCard:
    """Measure how far a heatmap can be trusted.

    `x` is the image that was explained, in the layout of the manifest; `valid` is False on padding. The same seed gives
    the same card. `progress` is called between batches and may raise Cancelled.
    """
    health = map_health(heatmap.values, valid)
    if health.grade is Grade.RED:
        return QualityCard((health,))
    budget = budget or Budget.for_model(model)
    image = model.channels_first(x)
    case = Case(model, image, [model.target_index(heatmap.target)], progress=progress, words="quality")
    fidelity = _fidelity(case, heatmap, budget, np.random.default_rng(seed), valid)
    return QualityCard((health, _engine(heatmap), *fidelity))


def map_health(values: FloatArray, valid: BoolArray | None = None) -> Measurement:
    """Whether there is a map at all: finite, not zero everywhere, not the same everywhere. No forward pass."""
    inside = values if valid is None else values[valid]
    finite = float(np.isfinite(inside).mean()) if inside.size else 0.0
    rule = "red: the map has NaN or infinite values"
    grade = Grade.RED
    if finite == 1.0:
        spread = float(inside.max() - inside.min())
        if not inside.any():
            rule = "red: the map is zero everywhere"
        elif spread <= 1e-6 * float(np.abs(inside).max()):
            rule = "red: the map is the same everywhere"
        else:
            grade, rule = Grade.GREEN, "green: finite and not constant"
    return Measurement("map health", "sanity", finite, None, grade, rule, "WhyRay")


def _engine(heatmap: Heatmap) -> Measurement:
    gap = heatmap.evidence.get("engine_parity", 0.0)
    grade = Grade.GREEN if gap <= PARITY_GREEN else Grade.AMBER if gap <= PARITY_RED else Grade.RED
    rule = f"green up to {PARITY_GREEN:g} of the largest logit, red above {PARITY_RED:g}"
    return Measurement("engine parity", "engine", gap, 0.0, grade, rule, _OURS)


def _fidelity(
    case: Case, heatmap: Heatmap, budget: Budget, rng: np.random.Generator, valid: BoolArray | None
) -> list[Measurement]:
    steps = budget.steps
    orders_wanted = budget.random_orders + 2
    while steps > 2 and 2 + orders_wanted * 2 * (steps - 1) > budget.forwards:
        steps -= 1
    perturbation = Perturbation(case, valid, steps)
    cells = perturbation.cells
    affordable = (budget.forwards - 2) // perturbation.forwards_per_order - 2
    orders = [
        order_by(cells.means(heatmap.values), rng),
        order_by(cells.means(edge_map(case.x)), rng),
        *(rng.permutation(len(cells)) for _ in range(max(1, min(budget.random_orders, affordable)))),
    ]
    own, edges, *random = perturbation.curves(orders)
    cost = 2 + len(orders) * perturbation.forwards_per_order
    return _graded(own, edges, random, cost)


def _graded(own: Curves, edges: Curves, random: list[Curves], cost: int) -> list[Measurement]:
    # The reverse of a random order is a random order too, with the opposite gap: the mean is 0, and the spread is this.
    spread = float(np.sqrt(np.mean([each.gap**2 for each in random])))
    beyond = own.gap / spread if spread > 0 else 0.0
    grade = Grade.GREEN if beyond >= 2 and own.gap >= edges.gap else Grade.AMBER if beyond >= 1 else Grade.RED
    rule = (
        f"{beyond:.1f} standard deviations better than {len(random)} random orders, an edge map {edges.gap:.3g}; "
        "green from 2 and not below the edge map, red below 1"
    )
    half = Grade.AMBER
    return [
        Measurement("insertion - deletion AUC", "fidelity", own.gap, 0.0, grade, rule, _RISE, cost),
        Measurement(
            "deletion AUC",
            "fidelity",
            own.deletion,
            mean := float(np.mean([each.deletion for each in random])),
            Grade.GREEN if own.deletion < mean else half,
            "green below the mean of random orders, else amber",
            _RISE,
        ),
        Measurement(
            "insertion AUC",
            "fidelity",
            own.insertion,
            mean := float(np.mean([each.insertion for each in random])),
            Grade.GREEN if own.insertion > mean else half,
            "green above the mean of random orders, else amber",
            _RISE,
        ),
    ]
