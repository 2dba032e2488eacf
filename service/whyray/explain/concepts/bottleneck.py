"""`concept-bottleneck`: packages that answer from concepts say which concepts made the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.base.errors import ArtefactMissing, PackageError, WhyRayError
from whyray.explain.case import Case
from whyray.explain.concepts.bank import LEAST_AUC, MAKE, find_bank
from whyray.explain.concepts.concept_scores import ConceptScore, ConceptScores, Intervention
from whyray.explain.concepts.shapley import contributions
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.types import Kind, Tier
from whyray.inference import Model, parity_gap
from whyray.packages import ConceptsSpec


@dataclass(frozen=True)
class Bottleneck:
    """The concepts of one image as the graph computes them, and what they are compared with, each (K,).

    `values` and `reference` are the tensor as it is; `absent` and `present` what an intervention sets.
    """

    spec: ConceptsSpec
    values: FloatArray
    reference: FloatArray
    absent: FloatArray
    present: FloatArray
    auc: FloatArray
    reference_is: str

    def shown(self, tensor: FloatArray) -> FloatArray:
        """From the tensor (K,) or (N, K) as it is to probabilities, in the same shape."""
        if self.spec.activation == "none":
            return tensor
        return np.asarray(0.5 * (1 + np.tanh(0.5 * tensor)), np.float32)


class BottleneckParameters(MethodParameters):
    """`reference`: what concepts are compared with: their `mean` over the reference images of the artefact 'concepts'
    (without one: neutral), or `neutral` (probability 0.5). `interventions`: of so many concepts, those with the
    largest scores. `orders`: random orders of Shapley values where the head is not affine.
    """

    reference: Literal["mean", "neutral"] = "mean"
    interventions: int = Field(default=5, ge=0)
    orders: int = Field(default=64, ge=1)
    seed: int = 0


@register
class ConceptBottleneck(MethodDefaults):
    """Concepts that the answer was computed from, and what each did to it (Koh et al. 2020, sections 3 and 4.2).

    Score: the concept's part in the logit against its reference; base + all scores = logit, exactly for an affine head,
    by Shapley values for others. Interventions set one concept to absent (0, or its 5th percentile over the references
    where the head takes logits), present (1, the 95th percentile) or its mean, and run the head again.
    """

    name: ClassVar[str] = "concept-bottleneck"
    title: ClassVar[str] = "Concepts that the answer is made of"
    tier: ClassVar[Tier] = "T0"
    kind: ClassVar[Kind] = "concept learning"
    signed: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label", "regression")
    Parameters: ClassVar[type[MethodParameters]] = BottleneckParameters

    def why_not(self, model: Model) -> WhyRayError | None:
        """The package's graph computes no concepts, or concepts that the answer passes by."""
        spec = model.manifest.concepts
        if spec is None:
            has_bank = find_bank(model) is not None
            return ArtefactMissing(
                f"{self.name} needs a package whose graph computes concepts, and {model.identity} names none",
                advice="Take post-hoc-concepts, which reads concepts from the embedding."
                if has_bank
                else f"Take post-hoc-concepts instead. {MAKE.format(name=model.identity)}",
            )
        try:
            if spec.output not in model.network.graph.producer:
                raise PackageError(f"{model.network.graph.where}: concepts.output says {spec.output!r}: no such tensor")
            model.network.head_from(spec.output)
        except PackageError as error:
            return error
        return None

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[ConceptScores]:
        """One explanation a target; no more than the run that gave the answer, and runs of the head."""
        assert isinstance(parameters, BottleneckParameters)
        bottleneck = bottleneck_of(case, parameters.reference)
        head = concept_head(case.model)
        again = head(bottleneck.values[None])
        gap = parity_gap(again, case.run.logits)
        scores, base, exact = contributions(
            head, bottleneck.values, bottleneck.reference, list(case.targets), parameters.orders, parameters.seed
        )
        used = {**parameters.model_dump(), "reference": bottleneck.reference_is}
        return [
            self._explanation(
                case, target, bottleneck, scores[place], float(base[place]), used, {"head_parity": gap, "exact": exact}
            )
            for place, target in enumerate(case.targets)
        ]

    def _explanation(
        self,
        case: Case,
        target: int,
        bottleneck: Bottleneck,
        scores: FloatArray,
        base: float,
        used: dict[str, object],
        evidence: dict[str, float],
    ) -> ConceptScores:
        total = float(case.run.logits[0, target])
        order = np.argsort(-np.abs(scores), kind="stable")
        names, shown = bottleneck.spec.names, bottleneck.shown(bottleneck.values)
        count = used["interventions"]
        assert isinstance(count, int)
        return ConceptScores(
            target=case.model.targets[target],
            method=self.name,
            parameters=used,
            evidence={
                **{name: float(value) for name, value in evidence.items()},
                "additivity_gap": abs(base + float(scores.sum()) - total),
            },
            unit=self.unit,
            base=base,
            total=total,
            concepts=tuple(
                ConceptScore(
                    name=names[concept].name,
                    code=names[concept].code,
                    value=float(shown[concept]),
                    score=float(scores[concept]),
                    held_out=None if np.isnan(bottleneck.auc[concept]) else float(bottleneck.auc[concept]),
                    reliable=bool(bottleneck.auc[concept] >= LEAST_AUC),
                )
                for concept in order
            ),
            interventions=_interventions(case.model, target, bottleneck, order[:count]),
        )


def bottleneck_of(case: Case, reference: str = "mean") -> Bottleneck:
    """The concepts of a case, with the references of the artefact where there is one and it is asked for."""
    spec = case.model.manifest.concepts
    assert spec is not None, "why_not refuses such packages"
    tensor = case.image.tapped(spec.output)
    values = tensor.reshape(-1)
    count = len(spec.names)
    if len(values) != count:
        raise PackageError(
            f"{case.model.identity}: concepts.output has {len(values)} values for {count} names",
            advice="Name each concept in model.yaml, in the order of the tensor.",
        )
    neutral, absent, present = (0.0, -4.0, 4.0) if spec.activation == "sigmoid" else (0.5, 0.0, 1.0)
    bank = find_bank(case.model)
    outputs = None if bank is None else bank.outputs
    claimed = np.array([np.nan if name.held_out_auc is None else name.held_out_auc for name in spec.names], np.float32)
    full = [np.full(count, level, np.float32) for level in (neutral, absent, present)]
    if outputs is None or bank is None:
        return Bottleneck(spec, values, full[0], full[1], full[2], claimed, "neutral")
    by_mean = reference == "mean"
    logits = spec.activation == "sigmoid"
    return Bottleneck(
        spec,
        values,
        outputs.mean if by_mean else full[0],
        outputs.low if logits else full[1],
        outputs.high if logits else full[2],
        np.where(np.isnan(outputs.auc), claimed, outputs.auc),
        f"mean of {bank.count} images, {bank.origin}" if by_mean else "neutral",
    )


class ConceptHead:
    """(N, K) concepts to (N, T) logits, by ONNX Runtime."""

    def __init__(self, model: Model, tensor: str) -> None:
        self._run = model.network.head_from(tensor)
        item = model.network.graph.shapes.get(tensor, ())[1:]
        self._item = tuple(size for size in item if size is not None)
        """The tensor may have axes of one element behind the concepts."""

    def __call__(self, concepts: FloatArray) -> FloatArray:
        """As in the class; concepts go in the shape that the graph has them in."""
        fits = prod(self._item) == concepts.shape[1]
        shaped = concepts.reshape(len(concepts), *self._item) if fits and self._item else concepts
        answer = self._run(np.ascontiguousarray(shaped, np.float32))
        return answer.reshape(len(concepts), -1)


def concept_head(model: Model) -> ConceptHead:
    """The head behind a package's concepts."""
    spec = model.manifest.concepts
    assert spec is not None, "why_not refuses such packages"
    tensor = spec.output
    return model.once(("concept head",), lambda: ConceptHead(model, tensor))


def _interventions(
    model: Model, target: int, bottleneck: Bottleneck, concepts: NDArray[np.int64]
) -> tuple[Intervention, ...]:
    made: list[Intervention] = []
    for concept in concepts:
        for value in (bottleneck.absent[concept], bottleneck.reference[concept], bottleneck.present[concept]):
            changed = bottleneck.values.copy()
            changed[concept] = value
            logits = concept_head(model)(changed[None])
            made.append(
                Intervention(
                    concept=bottleneck.spec.names[concept].name,
                    set_to=float(bottleneck.shown(np.array([value], np.float32))[0]),
                    logit=float(logits[0, target]),
                    answer=float(model.answer(logits)[0, target]),
                )
            )
    return tuple(made)
