"""`post-hoc-concepts`: a concept bottleneck put behind a network that has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.base.errors import ArtefactMissing, WhyRayError
from whyray.explain.case import Case
from whyray.explain.concepts.bank import ConceptBank, Surrogate, require_bank
from whyray.explain.concepts.concept_scores import ConceptScore, ConceptScores, Intervention
from whyray.explain.concepts.layer_to_logits import pooled
from whyray.explain.concepts.readings import shown_value, well_known
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.types import Kind, Tier
from whyray.inference import Model


class PostHocParameters(MethodParameters):
    """`interventions`: of so many concepts, those with the largest scores: the surrogate's answer at their means."""

    interventions: int = Field(default=5, ge=0)


@register
class PostHocConcepts(MethodDefaults):
    """Concepts read from the embedding, and a linear head on them (Yuksekgonul et al. 2023, section 2).

    The head is fitted to the network's own logits.
    Score: the concept's part in the surrogate's logit against its mean over the references; base + all scores is the
    surrogate's logit, which is not the network's: how far both agree on images held out is part of its quality.
    Needs the artefact 'concepts'. A concept that is called as the target has no part in its explanation.
    """

    name: ClassVar[str] = "post-hoc-concepts"
    title: ClassVar[str] = "Concepts that stand in for the answer"
    tier: ClassVar[Tier] = "T1"
    kind: ClassVar[Kind] = "concept learning"
    signed: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label", "regression")
    Parameters: ClassVar[type[MethodParameters]] = PostHocParameters

    def why_not(self, model: Model) -> WhyRayError | None:
        """The artefact is missing, or was made without an embedding."""
        try:
            surrogate_of(model, self.name)
        except WhyRayError as error:
            return error
        return None

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[ConceptScores]:
        """One explanation a target; no more than the run that gave the answer."""
        assert isinstance(parameters, PostHocParameters)
        bank, surrogate = surrogate_of(case.model, self.name)
        read = surrogate.readings @ embedding_at(case, surrogate.tensor) + surrogate.offsets
        away = (read - surrogate.mean) / surrogate.spread
        return [self._explanation(case, target, bank, surrogate, read, away, parameters) for target in case.targets]

    def _explanation(
        self,
        case: Case,
        target: int,
        bank: ConceptBank,
        surrogate: Surrogate,
        read: FloatArray,
        away: FloatArray,
        parameters: PostHocParameters,
    ) -> ConceptScores:
        scores = surrogate.weights[target] * away
        ends = np.percentile(surrogate.resampled[:, target] * away, [2.5, 97.5], axis=0)
        base = float(surrogate.biases[target])
        total = base + float(scores.sum())
        order = [
            concept
            for concept in np.argsort(-np.abs(scores), kind="stable")
            if bank.concepts[concept].name != case.model.targets[target]
        ]
        logit = float(case.run.logits[0, target])
        return ConceptScores(
            target=case.model.targets[target],
            method=self.name,
            parameters={**parameters.model_dump(), "concepts": bank.origin, "read at": surrogate.tensor},
            evidence={
                "agreement": float(surrogate.agreement[target]),
                "random_agreement": float(surrogate.random_agreement[target]),
                "logit": logit,
                "gap": abs(total - logit),
            },
            unit=self.unit,
            base=base,
            total=total,
            concepts=tuple(
                ConceptScore(
                    name=bank.concepts[concept].label,
                    code=bank.concepts[concept].code,
                    value=shown_value(bank.concepts[concept], float(read[concept]), surrogate.calibration[concept]),
                    score=float(scores[concept]),
                    interval=(float(ends[0, concept]), float(ends[1, concept])),
                    held_out=float(surrogate.held_out[concept]),
                    held_out_is="AUC" if bank.concepts[concept].kind == "presence" else "R²",
                    reliable=well_known(bank.concepts[concept], float(surrogate.held_out[concept])),
                )
                for concept in order
            ),
            interventions=tuple(
                Intervention(
                    concept=bank.concepts[concept].label,
                    set_to=shown_value(
                        bank.concepts[concept], float(surrogate.mean[concept]), surrogate.calibration[concept]
                    ),
                    logit=total - float(scores[concept]),
                    answer=_answer(case, target, total - float(scores[concept])),
                )
                for concept in order[: parameters.interventions]
            ),
        )


def _answer(case: Case, target: int, logit: float) -> float:
    logits = case.run.logits[:1].copy()
    logits[0, target] = logit
    return float(case.model.answer(logits)[0, target])


def embedding_at(case: Case, tensor: str) -> FloatArray:
    """(D,): the tensor's values for the case, their mean over positions where it has any."""
    model = case.model
    if tensor == model.manifest.output.embedding and case.run.embedding is not None:
        only: FloatArray = case.run.embedding[0]
        return only
    values = case.image.tapped(tensor)
    vector: FloatArray = pooled(values)[0] if values.ndim > 2 else values[0]
    return vector


def surrogate_of(model: Model, method: str) -> tuple[ConceptBank, Surrogate]:
    """The artefact and its surrogate; ArtefactMissing where either is missing."""
    bank = require_bank(model, method)
    if bank.surrogate is None:
        raise ArtefactMissing(
            f"{method} needs an embedding, and {bank.origin} of {model.identity} was made without one",
            advice="Name output.embedding in model.yaml, then run `whyray concepts fit` again.",
        )
    return bank, bank.surrogate
