"""Whether the map says what the model does: deletion and insertion, completeness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whyray.base.arrays import BoolArray
from whyray.explain import Case, Heatmap, explainable
from whyray.quality.budget import Budget
from whyray.quality.card import Grade, Measurement
from whyray.quality.cells import order_by
from whyray.quality.deletion import Curves, NullCurves, Perturbation

COMPLETE, INCOMPLETE = 0.05, 0.2
PLACED, LOST = 0.2, 0.5
BETTER = 1.0
"""Standard deviations of random orders. A map of a model that reads the right place lies far above; on one that does
not, the number says nothing of where the finding is (AUC 0.47 on radiographs with boxes, docs/trust.md)."""
_RISE = "Petsiuk et al. 2018, section 4.2, against random orders"


def fidelity(
    case: Case, heatmap: Heatmap, budget: Budget, seed: int, valid: BoolArray | None, *, made_again: bool = False
) -> tuple[list[Measurement], NullCurves]:
    """Deletion and insertion of one map. Random orders and the edge map are run once for all maps of the image.

    `made_again`: whether the map is known to be what the method gives of this image.
    """
    names = explainable(case.image)
    names = names if heatmap.target in names else (*names, heatmap.target)
    several = case.for_targets([case.model.target_index(name) for name in names])
    perturbation = Perturbation(several, valid, budget.steps)
    affordable = (budget.forwards - 2) // perturbation.forwards_per_order - 2
    orders = max(2, min(budget.random_orders, affordable))
    fresh = False

    def make() -> NullCurves:
        nonlocal fresh
        fresh = True
        return perturbation.null(orders, np.random.default_rng(seed))

    mask = None if valid is None else valid.tobytes()
    null = case.image.once(("null", names, seed, budget.steps, orders, mask), make)
    order = order_by(perturbation.cells.means(heatmap.values), np.random.default_rng(seed))
    own = perturbation.curves([order], null.whole, null.gone)[0]
    cost = perturbation.forwards_per_order + (null.forwards if fresh else 0)
    return _graded(own, null, names.index(heatmap.target), cost, made_again), null


def gap_against_random(
    own: Curves, random: Sequence[Curves], target: int, made_again: bool = False
) -> tuple[float, Grade]:
    """How many standard deviations of random orders a map's insertion minus deletion lies above them, and the grade.

    Red below BETTER; of a map that was made again amber, and red only where it is worse than random orders.
    """
    # The reverse of a random order is a random order too, with the opposite gap: the mean is 0, and the spread is this.
    spread = float(np.sqrt(np.mean([curves.gap[target] ** 2 for curves in random])))
    beyond = 0.0 if spread == 0 else float(own.gap[target]) / spread
    if beyond >= BETTER:
        return beyond, Grade.GREEN
    return beyond, Grade.AMBER if made_again and beyond >= 0 else Grade.RED


def _graded(own: Curves, null: NullCurves, target: int, cost: int, made_again: bool) -> list[Measurement]:
    beyond, grade = gap_against_random(own, null.random, target, made_again)
    gap, edges = float(own.gap[target]), float(null.edges.gap[target])
    rule = (
        f"{beyond:.1f} standard deviations better than {len(null.random)} random orders, the edge map {edges:.3g}; "
        f"green from {BETTER:g}, red below{' 0' if made_again else ''}"
    )
    deletion, insertion = (
        float(np.mean([getattr(curves, name)[target] for curves in null.random])) for name in ("deletion", "insertion")
    )
    return [
        Measurement("insertion - deletion AUC", "fidelity", gap, 0.0, grade, rule, _RISE, cost),
        Measurement(
            "deletion AUC",
            "robustness",
            float(own.deletion[target]),
            deletion,
            Grade.GREEN if own.deletion[target] < deletion else Grade.AMBER,
            "green below the mean of random orders, else amber",
            _RISE,
        ),
        Measurement(
            "insertion AUC",
            "robustness",
            float(own.insertion[target]),
            insertion,
            Grade.GREEN if own.insertion[target] > insertion else Grade.AMBER,
            "green above the mean of random orders, else amber",
            _RISE,
        ),
    ]


def completeness(heatmap: Heatmap) -> list[Measurement]:
    """The gap of methods that promise to share out the whole score; nothing for others. No forward pass."""
    source = {
        "completeness_gap": "Sundararajan et al. 2017, axiom of completeness",
        "conservation_gap": "Bach et al. 2015, conservation",
    }
    measured = [
        Measurement(
            name.replace("_gap", " gap"),
            "fidelity",
            value,
            0.0,
            Grade.GREEN if value <= COMPLETE else Grade.AMBER if value <= INCOMPLETE else Grade.RED,
            f"green up to {COMPLETE:.0%} of the score's difference, red above {INCOMPLETE:.0%}",
            source[name],
        )
        for name, value in heatmap.evidence.items()
        if name in source
    ]
    kept = heatmap.evidence.get("kept_by_biases")
    if kept is not None:
        grade = Grade.GREEN if kept <= PLACED else Grade.AMBER if kept <= LOST else Grade.RED
        rule = f"relevance without a place in the image; green up to {PLACED:.0%} of all, red above {LOST:.0%}"
        measured.append(
            Measurement(
                "kept by biases", "fidelity", kept, 0.0, grade, rule, "Bach et al. 2015, eq. 58; thresholds ours"
            )
        )
    return measured
