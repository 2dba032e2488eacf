"""Similar cases: references that the model sees as it sees this image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import WhyRayError
from whyray.explain.case import Case
from whyray.explain.cases.case_matches import CaseMatch, CaseMatches
from whyray.explain.cases.search import Metric, Search, Weighting, nearest, search_for
from whyray.explain.latent import KIND, ReferenceIndex, index_of, missing, required_embedding
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.types import Kind, Tier
from whyray.inference import Model


class SimilarCasesParameters(MethodParameters):
    """How many, and what makes them alike.

    neighbours: the most similar references that are shown. contrasts: the most similar of the other class.
    weighting: `contribution` compares what each dimension of the embedding adds to the target's logit (Kenny and Keane
    2019), where the head is affine in it; `none` compares embeddings, alike for all targets. metric: of both.
    """

    neighbours: int = Field(5, ge=1, le=50)
    contrasts: int = Field(3, ge=0, le=50)
    metric: Metric = "cosine"
    weighting: Weighting = "contribution"


@register
class SimilarCases(MethodDefaults):
    """The nearest references in the model's own space (Kenny and Keane 2019, section 3: twin systems).

    Exact search among a site's references. A reference's class is what is known of it, else what the model says;
    contrasts are the nearest further ones of another class than most neighbours. A reference that is this very image
    is left out. Evidence: how many neighbours the model answers alike, and how many are known to be so.
    """

    name: ClassVar[str] = "similar-cases"
    title: ClassVar[str] = "Similar cases"
    tier: ClassVar[Tier] = "T1"
    kind: ClassVar[Kind] = "case-based"
    unit: ClassVar[str] = "cosine similarity"
    signed: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label", "regression")
    Parameters: ClassVar[type[MethodParameters]] = SimilarCasesParameters

    def why_not(self, model: Model) -> WhyRayError | None:
        """The reference index, unless it is there and fits."""
        return missing(model, method=self.name)

    def explain_case(self, case: Case, parameters: SimilarCasesParameters) -> Sequence[CaseMatches]:
        """One search a target; no further forward pass."""
        index = index_of(case.model, method=self.name)
        return [self._of(case, target, index, parameters) for target in case.targets]

    def _of(self, case: Case, target: int, index: ReferenceIndex, parameters: SimilarCasesParameters) -> CaseMatches:
        model = case.model
        search = search_for(index, model, target, metric=parameters.metric, weighting=parameters.weighting)
        vector = required_embedding(model, case.run)
        similar = search.of(vector)
        others = ~search.itself(vector)
        here = bool(says(model, model.answer(case.run.logits), target)[0])
        classes, answers = class_of(index, model, target), says(model, index.answers, target)
        neighbours = nearest(similar, others, parameters.neighbours)
        usual = float(np.mean(classes[neighbours])) if len(neighbours) else 0.5
        common = here if usual == 0.5 else usual > 0.5
        shown = np.isin(np.arange(len(index)), neighbours)
        apart = nearest(similar, others & ~shown & (classes != common), parameters.contrasts)
        known = index.known[neighbours, target]
        evidence = {
            "answered alike": float(np.mean(answers[neighbours] == here)),
            "left out as the same": float((~others).sum()),
        }
        if (known >= 0).any():
            evidence["known to be so"] = float(np.mean(known[known >= 0] == here))
        return CaseMatches(
            target=model.targets[target],
            method=self.name,
            parameters={
                **parameters.model_dump(),
                "weighting": "contribution" if search.weights is not None else "none",
                KIND: index.short,
            },
            evidence=evidence,
            unit=search.unit,
            matches=tuple(_match(search, similar, reference, target) for reference in neighbours),
            contrasts=tuple(_match(search, similar, reference, target) for reference in apart),
            reference_count=len(index),
            display=case.display,
        )


def says(model: Model, answers: FloatArray, target: int) -> BoolArray:
    """(N,): whether the model reports the target, for answers (N, targets)."""
    if model.task == "classification":
        return np.asarray(answers.argmax(axis=1) == target)
    return np.asarray(answers[:, target] >= model.manifest.targets[target].threshold)


def class_of(index: ReferenceIndex, model: Model, target: int) -> BoolArray:
    """(N,): what is known of each reference about a target, else what the model says of it."""
    known = index.known[:, target]
    return np.asarray(np.where(known >= 0, known == 1, says(model, index.answers, target)))


def _match(search: Search, similar: FloatArray, number: int, target: int) -> CaseMatch:
    index = search.index
    known = int(index.known[number, target])
    picture = index.picture(int(number))
    return CaseMatch(
        label=index.name(int(number)),
        similarity=float(similar[number]),
        answer=float(index.answers[number, target]),
        known=None if known < 0 else bool(known),
        picture=picture,
        synthetic=index.synthetic and picture is not None,
    )
