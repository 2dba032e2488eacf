"""How an answer changes along concepts' directions in a layer: what `tcav` and `rcv` share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.base.errors import ArtefactMissing, WhyRayError
from whyray.explain.case import Case
from whyray.explain.concepts.bank import MAKE, ConceptBank, ConceptKind, Directions, require_bank
from whyray.explain.concepts.concept_scores import ConceptScore, ConceptScores
from whyray.explain.concepts.layer_to_logits import layer_to_logits, pooled
from whyray.explain.concepts.readings import shown_value, well_known
from whyray.explain.concepts.significance import Correction, corrected, single_case, two_samples
from whyray.explain.registry import Described, MethodDefaults, MethodParameters
from whyray.explain.types import Kind, Tier
from whyray.inference import Model

FEWEST_RANDOM = 20


class DirectionParameters(MethodParameters):
    """`test`: `single-case` holds the concept's mean derivative against those of the random vectors (Crawford and
    Howell 1998); `repeated` compares the scores of its resampled vectors with those of random vectors (Welch, as Kim
    et al. 2018), which finds more and also finds random concepts. `correction`: for testing many concepts. `level`:
    the corrected p-value up to which a concept is relied on.
    """

    test: Literal["single-case", "repeated"] = "single-case"
    correction: Correction = "benjamini-hochberg"
    level: float = Field(default=0.05, gt=0, lt=1)


class AlongDirections(MethodDefaults, ABC):
    """A method that asks how the answer changes along concepts' directions; it says what it makes of the class."""

    name: ClassVar[str]
    concepts: ClassVar[ConceptKind]
    tier: ClassVar[Tier] = "T1"
    kind: ClassVar[Kind] = "concept attribution"
    signed: ClassVar[bool] = True
    unit: ClassVar[str] = "logit per standard deviation"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label", "regression")
    Parameters: ClassVar[type[MethodParameters]] = DirectionParameters

    def cost(self, parameters: MethodParameters) -> int:  # noqa: ARG002
        """The run, and the way back through the layers behind the concepts' one."""
        return 2

    def why_not(self, model: Model) -> WhyRayError | None:
        """The artefact is missing or lacks what this needs."""
        return missing(model, self.name, self.concepts)

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[ConceptScores]:
        """One explanation a target."""
        assert isinstance(parameters, DirectionParameters)
        return scores_along(case, self, self.concepts, parameters, self.class_score)

    @staticmethod
    @abstractmethod
    def class_score(directions: Directions, target: int, concept: int) -> float | None:
        """What the method says of the class, whatever the image; None where that has no meaning."""


def directions_of(model: Model, method: str, kind: ConceptKind) -> tuple[ConceptBank, Directions]:
    """The artefact and its directions; ArtefactMissing where it lacks them, or has none of this kind."""
    bank = require_bank(model, method)
    advice = MAKE.format(name=model.identity)
    if bank.directions is None:
        why = str((bank.details or {}).get("no directions", "it was made without a layer"))
        raise ArtefactMissing(f"{method} needs directions, and {bank.origin} has none: {why}", advice=advice)
    if not any(concept.kind == kind for concept in bank.concepts):
        what = "concepts that are there or not" if kind == "presence" else "measures"
        raise ArtefactMissing(f"{method} needs {what}, and {bank.origin} of {model.identity} has none", advice=advice)
    if bank.directions.random.stop - bank.directions.random.start < FEWEST_RANDOM:
        raise ArtefactMissing(f"{method} needs {FEWEST_RANDOM} random vectors, {bank.origin} has fewer", advice=advice)
    return bank, bank.directions


def scores_along(
    case: Case,
    method: Described,
    kind: ConceptKind,
    parameters: DirectionParameters,
    class_score: Callable[[Directions, int, int], float | None],
) -> list[ConceptScores]:
    """One explanation a target: the derivatives along all concepts of a kind; one pass forward and one back.

    `class_score(directions, target, concept)` is what the method says of the class.
    """
    model = case.model
    bank, directions = directions_of(model, method.name, kind)
    layer = directions.tensor
    activations = case.image.tapped(layer)
    case.tell(0, 1)
    slopes, gap = layer_to_logits(model, layer).slopes(activations, case.targets)
    case.tell(1, 1)
    here = pooled(activations)[0] if activations.ndim > 2 else activations[0]
    read = directions.readings @ here + directions.offsets
    places = [number for number, concept in enumerate(bank.concepts) if concept.kind == kind]
    explanations = []
    for number, target in enumerate(case.targets):
        derivative = directions.steps @ slopes[0, number]
        p_values = class_p_values(directions, target, places, parameters)
        concepts = []
        for place, p_value in zip(places, p_values, strict=True):
            concept, held_out = bank.concepts[place], float(directions.held_out[place])
            low, high = np.percentile(derivative[directions.copies_of(place)], [2.5, 97.5])
            concepts.append(
                ConceptScore(
                    name=concept.label,
                    code=concept.code,
                    value=shown_value(concept, float(read[place]), directions.calibration[place]),
                    score=float(derivative[place]),
                    interval=(float(low), float(high)),
                    p_value=float(p_value),
                    held_out=held_out,
                    held_out_is="AUC" if kind == "presence" else "R²",
                    reliable=well_known(concept, held_out) and bool(p_value <= parameters.level),
                    class_score=class_score(directions, target, place),
                )
            )
        explanations.append(
            ConceptScores(
                target=model.targets[target],
                method=method.name,
                parameters={**parameters.model_dump(), "concepts": bank.origin, "layer": layer},
                evidence={
                    "engine_parity": gap,
                    "class_images": float(directions.class_count[target]),
                    "class_labelled": float(directions.class_is[target]),
                    "random_class_score": float(np.mean(directions.class_score[target][directions.random])),
                },
                unit=method.unit,
                concepts=tuple(sorted(concepts, key=lambda concept: -abs(concept.score))),
            )
        )
    return explanations


def missing(model: Model, method: str, kind: ConceptKind) -> WhyRayError | None:
    """What a model lacks for directions of this kind; None for nothing."""
    try:
        directions_of(model, method, kind)
    except WhyRayError as error:
        return error
    return None


def class_p_values(
    directions: Directions, target: int, places: Sequence[int], parameters: DirectionParameters
) -> FloatArray:
    """Corrected p-values, (C,) float32 in 0..1, of the class's behaviour along each concept against random vectors.

    `target` indexes the classes that the directions know; `places` are those of the C concepts among them.
    """
    if parameters.test == "single-case":
        mean = directions.class_mean[target]
        raw = [single_case(float(mean[place]), mean[directions.random]) for place in places]
    else:
        score = directions.class_score[target]
        raw = [two_samples(score[directions.copies_of(place)], score[directions.random]) for place in places]
    return np.asarray(corrected(np.array(raw), parameters.correction), np.float32)
