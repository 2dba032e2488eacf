"""What a case's place among the references is worth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from whyray.explain import LatentPosition
from whyray.explain.latent import (
    ENOUGH,
    ReferenceIndex,
    index_of,
    local_trustworthiness,
    normed,
    percentile,
    required_embedding,
)
from whyray.quality.card import Grade, Measurement
from whyray.quality.cases import randomised_neighbours
from whyray.quality.typed import Question, assesses, recomputed

TOLD_APART, NOT_TOLD_APART = 0.9, 0.7
UNUSUAL = 95.0
STEADY, UNSTEADY = 10.0, 30.0
_MOST = 1000


@assesses("latent-position")
def latent_position(explanation: LatentPosition, question: Question) -> Iterator[Measurement]:
    """Measurements of a place. One forward pass; the figures of the space were measured when the index was made."""
    index = index_of(question.model, method=explanation.method)
    yield recomputed(_apart(explanation, index, question), "the percentile, as a share,")
    yield _outliers(explanation, index)
    yield from randomised_neighbours(index)
    yield _plane(explanation)
    yield _own_neighbourhood(explanation, index, question)
    yield _steady(explanation, index, question)
    yield _usual(explanation)


def _apart(explanation: LatentPosition, index: ReferenceIndex, question: Question) -> float:
    name = explanation.distance_is
    distance = float(index.distances(required_embedding(question.model, question.case.run)[None])[name][0])
    return abs(explanation.percentile - percentile(distance, index.usual[name])) / 100


def _outliers(explanation: LatentPosition, index: ReferenceIndex) -> Measurement:
    kinds = index.details["outliers"][explanation.distance_is]
    value = float(np.mean(list(kinds.values())))
    worst = min(kinds, key=lambda outlier_kind: float(kinds[outlier_kind]))
    grade = Grade.GREEN if value >= TOLD_APART else Grade.AMBER if value >= NOT_TOLD_APART else Grade.RED
    rule = (
        f"AUROC of {explanation.distance_is} distance, planted outliers against held-out references, mean of "
        f"{', '.join(kinds)}; worst: {worst} {float(kinds[worst]):.2f}; green from {TOLD_APART}, "
        f"red below {NOT_TOLD_APART}"
    )
    return Measurement("outliers told apart", "fidelity", value, 0.5, grade, rule, "Lee et al. 2018, section 3")


def _plane(explanation: LatentPosition) -> Measurement:
    value = explanation.trustworthiness
    grade = Grade.GREEN if value >= ENOUGH else Grade.AMBER
    rule = f"of the {explanation.plane} plane at 10 neighbours; green from {ENOUGH}, below no plot is made"
    return Measurement("trustworthiness", "fidelity", value, 0.5, grade, rule, "Venna and Kaski 2001, eq. 1")


def _own_neighbourhood(explanation: LatentPosition, index: ReferenceIndex, question: Question) -> Measurement:
    """Trustworthiness of this case's own surroundings on the plane: a layout places new cases with an error."""
    step = max(1, -(-len(index) // _MOST))
    vector = normed(index.space, required_embedding(question.model, question.case.run)[None])[0]
    place = np.asarray(explanation.position, np.float32)
    value = local_trustworthiness(vector, place, index.normed[::step], explanation.references[::step])
    rule = f"trustworthiness of the case's own neighbours on the plane; green from {ENOUGH}"
    grade = Grade.GREEN if value >= ENOUGH else Grade.AMBER
    return Measurement("own neighbourhood on the plane", "robustness", value, 0.5, grade, rule, "Venna and Kaski 2001")


def _steady(explanation: LatentPosition, index: ReferenceIndex, question: Question) -> Measurement:
    model, x = question.model, question.case.x
    vector = required_embedding(model, model.session.run(np.ascontiguousarray(np.roll(x, 1, axis=-1))))
    name = explanation.distance_is
    moved = percentile(float(index.distances(vector[None])[name][0]), index.usual[name])
    value = abs(moved - explanation.percentile)
    grade = Grade.GREEN if value <= STEADY else Grade.AMBER if value <= UNSTEADY else Grade.RED
    rule = f"change of the percentile when the image moves by a pixel; green up to {STEADY:g}, red above {UNSTEADY:g}"
    return Measurement("steadiness of the percentile", "robustness", value, 0.0, grade, rule, "WhyRay", 1)


def _usual(explanation: LatentPosition) -> Measurement:
    value = explanation.percentile
    grade = Grade.GREEN if value <= UNUSUAL else Grade.AMBER
    rule = (
        f"percentile of its {explanation.distance_is} distance among held-out references; above the {UNUSUAL:.0f}th "
        "the model was hardly made for such an image"
    )
    source = "Lee et al. 2018, section 2"
    return Measurement("distance from the references", "case", value, UNUSUAL, grade, rule, source)
