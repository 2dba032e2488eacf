"""The quality card of an explanation that is not a heatmap: each method's own measurements, found by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.errors import ExplanationError
from whyray.explain import Case, Context, ExplainedImage, Progress, TypedExplanation, explained_image
from whyray.inference import Model
from whyray.quality.budget import Budget
from whyray.quality.card import Grade, Measurement, QualityCard
from whyray.quality.case_space import case_distance
from whyray.quality.known_answers import answers_as_known
from whyray.quality.learned_weights import weights_that_learned
from whyray.quality.scope_check import ScopeCheck, scope_measured

RECOMPUTED_WITHIN = 1e-3


@dataclass(frozen=True)
class Question:
    """What an assessor is given: the case that was explained (for one target), what may be spent, and a seed."""

    case: Case
    budget: Budget
    seed: int

    @property
    def model(self) -> Model:
        """The model that was explained."""
        return self.case.model

    def rng(self) -> np.random.Generator:
        """A generator that the same seed starts alike."""
        return np.random.default_rng(self.seed)


def recomputed(gap: float, what: str) -> Measurement:
    """Red where what was told differs from what is so now, by a `gap` of 0..1 in `what`: it is of another image."""
    grade = Grade.GREEN if gap <= RECOMPUTED_WITHIN else Grade.RED
    rule = f"largest difference of {what} to what the method says now; red above {RECOMPUTED_WITHIN:g}"
    return Measurement("told again", "sanity", gap, 0.0, grade, rule, "WhyRay: what is told of another image differs")


Assessor = Callable[[Any, Question], Iterable[Measurement]]
_ASSESSORS: dict[str, Assessor] = {}


def assesses(*names: str) -> Callable[[Assessor], Assessor]:
    """Decorator: the function measures explanations by these methods.

    It takes the explanation and a Question, and gives measurements; red in engine, fidelity or sanity withholds.
    """

    def register(assessor: Assessor) -> Assessor:
        for name in names:
            if name in _ASSESSORS:
                raise ValueError(f"two assessors measure {name}")
            _ASSESSORS[name] = assessor
        return assessor

    return register


def assess_typed(
    model: Model,
    x: NDArray[np.float32] | ExplainedImage,
    explanation: TypedExplanation,
    *,
    context: Context,
    budget: Budget | None = None,
    seed: int = 0,
    scope: ScopeCheck | None = None,
    progress: Progress | None = None,
) -> QualityCard:
    """Measure how far an explanation can be trusted; the same seed gives the same card.

    Raises ExplanationError where nobody knows how to measure this method: nothing is shown unmeasured.
    """
    assessor = _ASSESSORS.get(explanation.method)
    if assessor is None:
        raise ExplanationError(f"{explanation.method} has no evaluation, so it can't be shown")
    case = Case(
        model,
        explained_image(model, x),
        [model.target_index(explanation.target)],
        context=context,
        progress=progress,
        words="quality",
    )
    question = Question(case, budget or Budget.for_model(model), seed)
    measured = tuple(assessor(explanation, question))
    if not measured:
        return QualityCard(())
    of_model = (answers_as_known(model, case.image), *weights_that_learned(model))
    return QualityCard((*measured, *of_model, *scope_measured(scope), *case_distance(case)))


def assessed_methods() -> frozenset[str]:
    """Names of all methods that can be measured."""
    return frozenset(_ASSESSORS)
