"""What a unit report is worth: does it add up, does the answer hang on its units, does it hang on the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.explain import Case, ExplainedImage, UnitReport
from whyray.explain.units import ablated, ablated_together, contributions, head_gap, layer_named, read_units, strongest
from whyray.inference import Model
from whyray.quality.card import Grade, Measurement, largest_or_nan
from whyray.quality.randomisation import randomised
from whyray.quality.typed import Question, assesses

PARITY_GREEN, PARITY_RED = 1e-3, 1e-2
SUM_GREEN, SUM_RED = 1e-3, 1e-2
RANDOM_GROUPS = 19
"""With the report's own group that is rank 1 of 20: p = 0.05."""
OVERLAP_GREEN, OVERLAP_RED = 0.5, 0.8
KNOWN = 0.5
NOISE = 0.02
"""Standard deviation of the noise of the stability check, as a share of the input's range."""


@assesses("unit-report")
def unit_report(explanation: UnitReport, question: Question) -> Iterator[Measurement]:
    """Measurements of a unit report. Costs two forward passes; the others run the head alone."""
    case, model = question.case, question.model
    layer = layer_named(model, _layer(explanation))
    means = read_units(model, layer, method=explanation.method).mean
    picked = [unit.unit for unit in explanation.units]
    yield _engine(largest_or_nan([explanation.evidence.get("engine_parity", math.nan), head_gap(case, layer)]))
    yield from _sum(explanation)
    contributed = contributions(case, layer, means).values[0]
    wanted = [float(contributed[unit]) for unit in picked]
    yield _agreement(explanation, wanted, ablated(case, layer, picked, means)[0])
    yield _necessary(case, layer, picked, contributed, means, question.rng())
    yield _randomised(case, layer, picked, contributed, means, question.seed)
    yield _stable(case, layer, picked, contributed, means, question.rng())
    yield _known(explanation)


def _known(explanation: UnitReport) -> Measurement:
    """The share of the told units of which a concept is known: numbers of nameless units explain nothing."""
    value = sum(unit.concept is not None for unit in explanation.units) / max(len(explanation.units), 1)
    grade = Grade.GREEN if value >= KNOWN else Grade.AMBER
    rule = f"share of the told units of which it is known what they detect; amber below {KNOWN:g}"
    return Measurement("units that are known", "fidelity", value, None, grade, rule, "Bau et al. 2017, section 3")


def _layer(explanation: UnitReport) -> str | None:
    named = explanation.parameters.get("layer")
    return None if named is None else str(named)


def _engine(gap: float) -> Measurement:
    grade = Grade.GREEN if gap <= PARITY_GREEN else Grade.AMBER if gap <= PARITY_RED else Grade.RED
    rule = f"the head re-run on the layer as it is; green up to {PARITY_GREEN:g} of the logit, red above {PARITY_RED:g}"
    return Measurement("engine parity", "engine", gap, 0.0, grade, rule, "WhyRay: ONNX Runtime on the same input")


def _sum(explanation: UnitReport) -> Iterator[Measurement]:
    gap = explanation.evidence.get("completeness_gap")
    if gap is None:
        return
    grade = Grade.GREEN if gap <= SUM_GREEN else Grade.AMBER if gap <= SUM_RED else Grade.RED
    rule = f"base plus all contributions against the logit; green up to {SUM_GREEN:g} of it, red above {SUM_RED:g}"
    yield Measurement("contributions add up", "fidelity", gap, 0.0, grade, rule, "Sundararajan et al. 2017, section 3")


def _agreement(explanation: UnitReport, wanted: Sequence[float], changes: FloatArray) -> Measurement:
    """The report's numbers against the same, computed again: a number that was changed on the way shows."""
    scale = max(1.0, abs(explanation.total or 0.0))
    said = [(unit.contribution, unit.ablation) for unit in explanation.units]
    again = list(zip(wanted, changes.tolist(), strict=True))
    gaps = (abs(a - b) for one, two in zip(said, again, strict=True) for a, b in zip(one, two, strict=True))
    gap = largest_or_nan(gaps) / scale
    grade = Grade.GREEN if gap <= SUM_GREEN else Grade.RED
    rule = f"largest difference to the same computed again, of the logit; red above {SUM_GREEN:g}"
    return Measurement("numbers re-derived", "fidelity", gap, 0.0, grade, rule, "WhyRay")


def _necessary(
    case: Case, layer: str, picked: Sequence[int], contributed: FloatArray, means: FloatArray, rng: np.random.Generator
) -> Measurement:
    """Ablating the report's units together moves the answer more than ablating as many others.

    With the report's own group a permutation test: above all others is rank 1 of 20. Amber at best where there are not
    as many others: a smaller group changes less whatever its units are.
    """
    sides = [[unit for unit in picked if contributed[unit] > 0], [unit for unit in picked if contributed[unit] <= 0]]
    side = max(sides, key=lambda units: abs(float(contributed[units].sum())))
    others = np.setdiff1d(np.arange(len(contributed)), picked)
    draws = [rng.choice(others, min(len(side), len(others)), replace=False) for _ in range(RANDOM_GROUPS)]
    changes = np.abs(ablated_together(case, layer, [side, *(draw.tolist() for draw in draws)], means)[0])
    rank = int((~(changes[1:] < changes[0])).sum())  # so that what is no number is not above any
    baseline = float(changes[1:].mean())
    enough = len(others) >= len(side) > 0
    grade = Grade.GREEN if rank == 0 and enough else Grade.AMBER if rank <= RANDOM_GROUPS // 2 else Grade.RED
    too_few = "; amber: there are not so many others" if grade is Grade.AMBER and not enough else ""
    rule = (
        f"change of the logit without the units of one sign; green above all of {RANDOM_GROUPS} random groups of as "
        f"many other units, red below half of them{too_few}"
    )
    source = "Morcos et al. 2018, section 3.1"
    return Measurement("units needed", "fidelity", float(changes[0]), baseline, grade, rule, source)


def _randomised(
    case: Case, layer: str, picked: Sequence[int], contributed: FloatArray, means: FloatArray, seed: int
) -> Measurement:
    """Whether other weights in the last layer would have named the same units."""
    model = case.model
    other: Model = model.once(
        ("last layer randomised", seed), lambda: next(randomised(model, np.random.default_rng(seed)))[1]
    )
    before = other.session.forwards
    image = case.image.once(("last layer randomised", seed), lambda: ExplainedImage(other, case.x))
    again = contributions(Case(other, image, case.targets, context=case.context), layer, means).values[0]
    overlap = _overlap(contributed, again, picked)
    grade = Grade.GREEN if overlap <= OVERLAP_GREEN else Grade.AMBER if overlap <= OVERLAP_RED else Grade.RED
    rule = (
        "share of the same units with the same sign after the last layer's weights are shuffled; green up to "
        f"{OVERLAP_GREEN:g}, red above {OVERLAP_RED:g}"
    )
    chance = len(picked) / len(contributed) / 2
    source = "Adebayo et al. 2018, section 3"
    return Measurement(
        "changes with the weights", "sanity", overlap, chance, grade, rule, source, other.session.forwards - before
    )


def _stable(
    case: Case, layer: str, picked: Sequence[int], contributed: FloatArray, means: FloatArray, rng: np.random.Generator
) -> Measurement:
    model = case.model
    noise = rng.normal(scale=NOISE * max(float(np.ptp(case.x)), 1e-6), size=case.x.shape)
    noisy = Case(model, (case.x + noise).astype(np.float32), case.targets, context=case.context)
    before = model.session.forwards
    overlap = _overlap(contributed, contributions(noisy, layer, means).values[0], picked)
    grade = Grade.GREEN if overlap >= 0.5 else Grade.AMBER
    rule = f"share of the same units with noise of {NOISE:.0%} of the range; green from 0.5"
    source = "Yeh et al. 2019, section 3"
    return Measurement(
        "same units under noise", "robustness", overlap, None, grade, rule, source, model.session.forwards - before
    )


def _overlap(first: FloatArray, second: FloatArray, picked: Sequence[int]) -> float:
    """Share of `picked` that `second` names too, with the same sign."""
    again = set(strongest(second, len(picked)))
    return sum(int(unit in again and bool(first[unit] * second[unit] > 0)) for unit in picked) / len(picked)
