"""The structured answer about one target as numbers with names: all that a narrative may say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.explain.anatomy.shares_by_region import RegionShares
from whyray.explain.case import Case
from whyray.explain.cases.case_matches import CaseMatches
from whyray.explain.concepts.concept_scores import ConceptScores
from whyray.explain.context import PriorExplanation
from whyray.explain.counterfactual.counterfactual import Counterfactual
from whyray.explain.language.statements import Narrative
from whyray.explain.latent.position import LatentPosition
from whyray.explain.typed import Structure, TypedExplanation
from whyray.explain.types import Heatmap
from whyray.explain.units.unit_effects import UnitReport

GRADES = {"green": 0.0, "amber": 1.0, "red": 2.0}
ROWS, COLUMNS, STACK = ("upper", "middle", "lower"), ("left", "centre", "right"), ("first", "central", "last")


@dataclass(frozen=True)
class Facts:
    """Numbers by path, e.g. 'answer.probability' or 'grad-cam.zone.lower-left'; words by path; shown methods in order.

    `shown` are methods whose explanation of the target was made and not withheld.
    """

    numbers: Mapping[str, float]
    words: Mapping[str, str]
    shown: tuple[str, ...]
    withheld: tuple[str, ...]


def facts_of(case: Case) -> Facts:
    """The facts about the case's one target, from its answer and from what was said of it before.

    Explanations that were withheld give no number but that they were.
    """
    [target] = case.target_names
    numbers = _answer(case)
    words: dict[str, str] = {}
    shown: list[str] = []
    withheld: list[str] = []
    for made in case.context.made:
        explanation = made.explanation
        if explanation.target != target or isinstance(explanation, Narrative):
            continue
        numbers[f"{explanation.method}.grade"] = GRADES[made.grade]
        numbers[f"{explanation.method}.withheld"] = float(made.withheld)
        (withheld if made.withheld else shown).append(explanation.method)
        if made.withheld:
            continue
        words[f"{explanation.method}.reasons"] = "; ".join(reason.partition(":")[0] for reason in made.reasons)
        numbers.update({f"{explanation.method}.{name}": value for name, value in _of(made, case).items()})
    return Facts(numbers, words, tuple(dict.fromkeys(shown)), tuple(dict.fromkeys(withheld)))


def zones(shares: NDArray[np.float64]) -> dict[str, float]:
    """Shares of the ninths of an image (or of the 27 parts of a stack of slices), by name as one sees them.

    `shares` (3, 3) from above and left, or (3, 3, 3) from the first slice on.
    """
    axes: tuple[Sequence[str], ...] = (ROWS, COLUMNS) if shares.ndim == 2 else (STACK, ROWS, COLUMNS)
    return {
        "-".join(names[place] for names, place in zip(axes, index, strict=True)): float(shares[index])
        for index in np.ndindex(shares.shape)
    }


def _answer(case: Case) -> dict[str, float]:
    model, [target] = case.model, case.targets
    spec = model.manifest.targets[target]
    numbers = {"answer.threshold": float(spec.threshold)}
    if model.task == "segmentation":
        regions = case.image.regions
        assert regions is not None
        return {"answer.share": float(regions[target].mean())}
    value = float(model.answer(case.run.logits)[0, target])
    numbers["answer.value" if model.task == "regression" else "answer.probability"] = value
    side = _patient_sides(case.context.directions)
    if side:
        numbers[f"answer.side.{side}"] = 1.0
    return numbers


def _patient_sides(directions: Sequence[str] | None) -> str | None:
    """'left-is-right' where the image's left is the patient's right, 'left-is-left' for the reverse; else None."""
    last = directions[-1] if directions else ""
    return {"L": "left-is-right", "R": "left-is-left"}.get(last[:1])


def _of(made: PriorExplanation, case: Case) -> dict[str, float]:
    explanation = made.explanation
    if isinstance(explanation, Heatmap):
        return _heatmap(explanation, case)
    for kind, tell in _TYPES:
        if isinstance(explanation, kind):
            return tell(explanation)
    return {}


def _heatmap(heatmap: Heatmap, case: Case) -> dict[str, float]:
    """Where what speaks for the target lies: ninths of the image, and structures where the study brought some."""
    positive = np.clip(heatmap.values.astype(np.float64), 0, None)
    valid = np.ones(positive.shape, bool) if case.context.valid is None else case.context.valid
    positive = np.where(valid, positive, 0.0)
    whole = positive.sum()
    if whole <= 0 or not valid.any():
        return {}
    shares = {f"zone.{name}": share for name, share in zones(_parts(positive, valid) / whole).items()}
    for structure in case.context.structures:
        shares |= _structure(structure, positive, valid)
    return shares


def _structure(structure: Structure, positive: NDArray[np.float64], valid: NDArray[np.bool_]) -> dict[str, float]:
    inside = structure.mask & valid
    return {
        f"share.{structure.name}": float(positive[inside].sum() / positive.sum()),
        f"area.{structure.name}": float(inside.sum() / valid.sum()),
    }


def _parts(positive: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sums over thirds along each axis of the box that holds the image."""
    sums = positive
    for axis in range(positive.ndim):
        others = tuple(other for other in range(valid.ndim) if other != axis)
        filled = np.flatnonzero(valid.any(axis=others))
        edges = np.linspace(filled[0], filled[-1] + 1, 4).round().astype(int)
        parts = [sums.take(range(a, b), axis).sum(axis, keepdims=True) for a, b in pairwise(edges)]
        sums = np.concatenate(parts, axis)
    return sums


def _concepts(explanation: ConceptScores) -> dict[str, float]:
    return {f"score.{concept.name}": float(concept.score) for concept in explanation.concepts if concept.reliable}


def _cases(explanation: CaseMatches) -> dict[str, float]:
    weighted = [match for match in explanation.matches if match.weight is not None]
    if weighted:
        return {f"contribution.{match.label}": float(match.similarity * (match.weight or 0)) for match in weighted}
    known = [match.known for match in explanation.matches if match.known is not None]
    return {"known": float(len(known)), "with-finding": float(sum(known))}


def _counterfactual(explanation: Counterfactual) -> dict[str, float]:
    return {
        "flipped": float(explanation.flipped),
        "before": float(explanation.answers[explanation.start]),
        "after": float(explanation.answers[explanation.end]),
    }


def _latent(explanation: LatentPosition) -> dict[str, float]:
    return {"percentile": float(explanation.percentile)}


def _regions(explanation: RegionShares) -> dict[str, float]:
    numbers = {f"share.{region.structure.name}": float(region.share) for region in explanation.regions}
    numbers |= {f"area.{region.structure.name}": float(region.area) for region in explanation.regions}
    return numbers | {"flagged": float(explanation.flagged)}


def _units(explanation: UnitReport) -> dict[str, float]:
    numbers = {f"unit.{unit.unit}": float(unit.contribution) for unit in explanation.units}
    first = explanation.units[0]
    if first.concept is not None and first.iou is not None:
        numbers[f"detects.{first.concept}"] = float(first.iou)
    return numbers


_TYPES: tuple[tuple[type[TypedExplanation], Callable[[Any], dict[str, float]]], ...] = (
    (ConceptScores, _concepts),
    (CaseMatches, _cases),
    (Counterfactual, _counterfactual),
    (LatentPosition, _latent),
    (RegionShares, _regions),
    (UnitReport, _units),
)
