"""The quality card of one heatmap, measured within a budget of forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.explain import NOTHING, Case, Context, ExplainedImage, Heatmap, Progress, explained_image
from whyray.inference import Model
from whyray.quality.anatomy import inside_anatomy
from whyray.quality.answer import answer_against_threshold
from whyray.quality.budget import Budget
from whyray.quality.card import Grade, Measurement, QualityCard, largest_or_nan
from whyray.quality.case_space import case_distance
from whyray.quality.complexity import complexity
from whyray.quality.fidelity import completeness, fidelity
from whyray.quality.known_answers import answers_as_known
from whyray.quality.learned_weights import weights_that_learned
from whyray.quality.randomised_maps import maps_without_training
from whyray.quality.record import record_of
from whyray.quality.robustness import made_again, repeatability, stability, target_swap
from whyray.quality.scope_check import ScopeCheck, scope_measured

PARITY_GREEN, PARITY_RED = 1e-3, 1e-2


def assess(
    model: Model,
    x: NDArray[np.float32] | ExplainedImage,
    heatmap: Heatmap,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    valid: BoolArray | None = None,
    allowed: BoolArray | None = None,
    others: Sequence[Heatmap] = (),
    scope: ScopeCheck | None = None,
    context: Context = NOTHING,
    progress: Progress | None = None,
) -> QualityCard:
    """Measure how far a heatmap can be trusted.

    `x` is the image that was explained, in the layout of the manifest or held; `valid` is False on padding; `allowed`
    is where the target may be looked for, if anatomy is known (`whyray.explain.anatomy.allowed_in`); `others` are
    maps of other targets by the same method, where they were made anyway; `scope` is what was measured of the image
    before the model answered, None where nobody asked; `context` is what the method was given beside the image, so that
    it can be asked again. The same seed gives the same card. Cards of one image that is held share their random orders.
    `progress` is called between batches and may raise
    Cancelled.
    """
    health = map_health(heatmap.values, valid)
    if health.grade is Grade.RED:
        return QualityCard((health,))
    budget = budget or Budget.for_model(model)
    image = explained_image(model, x)
    known = answers_as_known(model, image)
    case = Case(
        model,
        image,
        [model.target_index(heatmap.target)],
        context=context,
        progress=progress,
        words="quality",
    )
    again = made_again(case, heatmap, affordable=budget.forwards - known.forwards - budget.least)
    budget = replace(budget, forwards=max(budget.forwards - known.forwards - again.forwards, 1))
    faithful, null = fidelity(case, heatmap, budget, seed, valid, made_again=again.grade is Grade.GREEN)
    measured = [
        health,
        known,
        *weights_that_learned(model),
        again,
        *engine(heatmap, null.parity),
        *faithful,
        *completeness(heatmap),
    ]
    measured += complexity(heatmap.values, valid)
    measured += inside_anatomy(heatmap, allowed, valid)
    measured += answer_against_threshold(case)
    measured.append(record_of(model, heatmap.method, heatmap.target, of=heatmap.parameters.get("of")))
    measured += maps_without_training(model, heatmap.method, of=heatmap.parameters.get("of"))
    measured += [*scope_measured(scope), *case_distance(case)]
    measured += repeatability(case, heatmap, affordable=0)
    if budget.repeats:
        spent = known.forwards + again.forwards  # taken off the budget above
        left = budget.forwards + spent - sum(measurement.forwards for measurement in measured)
        measured += target_swap(case, heatmap, others, affordable=left)
        left = budget.forwards + spent - sum(measurement.forwards for measurement in measured)
        measured += stability(case, heatmap, seed, affordable=left)
    return QualityCard(tuple(measured))


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


def engine(heatmap: Heatmap, batch_gap: float) -> list[Measurement]:
    """Whether what was explained is what answered: the method's engine and batches against the graph's single run."""
    gap = largest_or_nan([heatmap.evidence.get("engine_parity", 0.0), batch_gap])
    grade = Grade.GREEN if gap <= PARITY_GREEN else Grade.AMBER if gap <= PARITY_RED else Grade.RED
    rule = f"largest difference of logits; green up to {PARITY_GREEN:g} of the largest, red above {PARITY_RED:g}"
    return [Measurement("engine parity", "engine", gap, 0.0, grade, rule, "WhyRay: ONNX Runtime on the same input")]
