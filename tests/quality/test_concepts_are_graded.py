"""Cards of concepts: good ones pass, and every way of being wrong is caught by a measurement of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explain.concepts.planted_concepts import concept_package, examples, images, with_bank
from whyray.explain import NOTHING, ConceptScores, explain
from whyray.inference import Model
from whyray.onboarding.concept_fitting import ConceptRecipe
from whyray.quality import Grade, QualityCard, assess_typed

RECIPE = ConceptRecipe(copies=5, random=40)
X = images(1, seed=21)[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Names its concepts, and bends behind its embedding."""
    return with_bank(concept_package(tmp_path_factory.mktemp("packages"), head="curved"), recipe=RECIPE)[0]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """An affine head: what a stand-in can imitate."""
    return with_bank(concept_package(tmp_path_factory.mktemp("straight")), recipe=RECIPE)[0]


def told(model: Model, method: str, **parameters: Any) -> ConceptScores:
    explanation = explain(model, X, target="first", method=method, **parameters)
    assert isinstance(explanation, ConceptScores)
    return explanation


def card_of(model: Model, explanation: ConceptScores) -> QualityCard:
    return assess_typed(model, X, explanation, context=NOTHING)


def grade(card: QualityCard, name: str) -> Grade:
    return next(measurement.grade for measurement in card.measurements if measurement.name == name)


def rescored(explanation: ConceptScores, change: Any) -> ConceptScores:
    """The scores changed, each concept keeping its name."""
    scores = change(np.array([concept.score for concept in explanation.concepts]))
    concepts = tuple(
        replace(concept, score=float(score)) for concept, score in zip(explanation.concepts, scores, strict=True)
    )
    return replace(explanation, concepts=concepts)


@pytest.mark.parametrize("method", ["concept-bottleneck", "tcav", "rcv"])
def test_nothing_is_withheld_of_a_network_whose_concepts_are_what_they_are_called(model: Model, method: str) -> None:
    card = card_of(model, told(model, method))
    assert not card.withheld, card.reasons


def test_a_bottleneck_of_well_known_concepts_is_green(straight: Model) -> None:
    card = card_of(straight, told(straight, "concept-bottleneck"))
    assert card.grade is Grade.GREEN, card.reasons


def test_a_faithful_stand_in_is_shown(straight: Model) -> None:
    card = card_of(straight, told(straight, "post-hoc-concepts"))
    assert grade(card, "surrogate agreement") is Grade.GREEN
    assert grade(card, "random concepts are worse") is Grade.GREEN
    assert grade(card, "weight on well-known concepts") is Grade.AMBER, "a coin and noise are among its concepts"
    assert not card.withheld


@pytest.mark.parametrize("method", ["concept-bottleneck", "post-hoc-concepts", "tcav", "rcv"])
@pytest.mark.parametrize(
    "change",
    [lambda s: s[::-1], lambda s: -s, lambda s: s * 0.5, lambda s: np.where(np.arange(len(s)) == 0, np.nan, s)],
    ids=["dealt out otherwise", "signs flipped", "halved", "not a number"],
)
def test_wrong_scores_are_withheld(straight: Model, method: str, change: Any) -> None:
    card = card_of(straight, rescored(told(straight, method), change))
    assert card.withheld, card.measurements


def test_a_base_that_does_not_fit_the_scores_is_withheld(straight: Model) -> None:
    right = told(straight, "concept-bottleneck")
    assert right.base is not None
    card = card_of(straight, replace(right, base=right.base + 0.5))
    assert grade(card, "additivity gap") is Grade.RED
    assert card.withheld


def test_scores_that_only_add_up_are_withheld(straight: Model) -> None:
    """Dealt out evenly they still sum to the logit: interventions tell."""
    even = rescored(told(straight, "concept-bottleneck"), lambda s: np.full(len(s), s.mean()))
    card = card_of(straight, even)
    assert grade(card, "additivity gap") is Grade.GREEN
    assert grade(card, "interventions follow scores") is not Grade.GREEN
    assert card.grade is not Grade.GREEN


def test_a_stand_in_without_the_concepts_that_count_is_not_faithful(tmp_path: Path) -> None:
    made = examples(160)
    stay = [number for number, concept in enumerate(made.concepts) if concept.name in ("delta", "coin", "noise")]
    made = replace(made, concepts=tuple(made.concepts[number] for number in stay), values=made.values[:, stay])
    model, _ = with_bank(concept_package(tmp_path), made, RECIPE)
    card = card_of(model, told(model, "post-hoc-concepts"))
    assert grade(card, "surrogate agreement") is Grade.RED
    assert card.withheld
    assert "not faithful" in card.reasons[0]


def test_a_concept_below_the_least_auc_makes_the_card_amber_and_is_named(straight: Model) -> None:
    right = told(straight, "concept-bottleneck")
    doubtful = tuple(
        replace(concept, held_out=0.69, reliable=False) if concept.name == "beta" else concept
        for concept in right.concepts
    )
    card = card_of(straight, replace(right, concepts=doubtful))
    assert card.grade is Grade.AMBER
    assert "beta" in card.reasons[0]
    assert "alpha" not in card.reasons[0]


def test_nothing_found_is_amber(model: Model) -> None:
    card = card_of(model, told(model, "tcav", level=1e-9))
    assert grade(card, "concepts found") is Grade.AMBER


def test_derivatives_of_another_network_are_withheld(model: Model, straight: Model) -> None:
    """Scores of the straight network, shown as those of the curved one."""
    card = card_of(model, replace(told(straight, "tcav"), parameters=told(model, "tcav").parameters))
    assert grade(card, "derivatives against differences") is Grade.RED


def test_the_same_seed_gives_the_same_card(model: Model) -> None:
    explanation = told(model, "concept-bottleneck")
    first, second = (assess_typed(model, X, explanation, context=NOTHING, seed=3) for _ in range(2))
    assert first == second
