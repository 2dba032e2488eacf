"""`concept-bottleneck`: contributions are what the head does, they add up, and interventions run the head again."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from explain.concepts.planted_concepts import (
    BIAS,
    CELL,
    CELLS,
    GRID,
    WEIGHTS,
    concept_package,
    examples,
    images,
    model_of,
    with_bank,
)
from whyray.base.errors import ArtefactMissing, ExplanationError
from whyray.explain import ConceptScores, explain, method_named, why_not
from whyray.explain.concepts import bottleneck_of
from whyray.explain.concepts.shapley import contributions

NUMBERS = st.floats(-5, 5, width=32)


def told(model: object, x: np.ndarray, target: str = "first", **parameters: object) -> ConceptScores:
    explanation = explain(model, x, target=target, method="concept-bottleneck", **parameters)  # type: ignore[call-overload]
    assert isinstance(explanation, ConceptScores)
    return explanation


@given(
    weights=arrays(np.float32, (2, 5), elements=NUMBERS),
    values=arrays(np.float32, 5, elements=NUMBERS),
    reference=arrays(np.float32, 5, elements=NUMBERS),
)
@settings(max_examples=60, deadline=None)
def test_contributions_to_an_affine_head_are_weight_times_difference_and_add_up(
    weights: np.ndarray, values: np.ndarray, reference: np.ndarray
) -> None:
    def head(z: np.ndarray) -> np.ndarray:
        return z @ weights.T + np.float32(0.5)

    scores, base, exact = contributions(head, values, reference, [0, 1], 1, 0)
    assert exact
    np.testing.assert_allclose(scores, weights * (values - reference), atol=2e-3)
    np.testing.assert_allclose(base + scores.sum(axis=1), head(values[None])[0], atol=2e-3)


@given(
    inner=arrays(np.float32, (6, 4), elements=NUMBERS),
    outer=arrays(np.float32, (1, 6), elements=NUMBERS),
    values=arrays(np.float32, 4, elements=NUMBERS),
)
@settings(max_examples=40, deadline=None)
def test_contributions_to_any_head_add_up(inner: np.ndarray, outer: np.ndarray, values: np.ndarray) -> None:
    def head(z: np.ndarray) -> np.ndarray:
        return (np.tanh(z @ inner.T) @ outer.T).astype(np.float32)

    scores, base, _ = contributions(head, values, np.zeros(4, np.float32), [0], 3, 0)
    assert abs(float(base[0] + scores.sum()) - float(head(values[None])[0, 0])) < 1e-3


def test_contributions_to_a_curved_head_are_near_the_exact_shapley_values() -> None:
    rng = np.random.default_rng(0)
    inner, outer = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(1, 6)).astype(np.float32)
    values = rng.normal(size=4).astype(np.float32)

    def head(z: np.ndarray) -> np.ndarray:
        return np.maximum(z @ inner.T, 0) @ outer.T

    exact = np.zeros(4)
    for order in permutations(range(4)):
        z = np.zeros(4, np.float32)
        for concept in order:
            before = head(z[None])[0, 0]
            z[concept] = values[concept]
            exact[concept] += (head(z[None])[0, 0] - before) / 24
    effects, _, is_exact = contributions(head, values, np.zeros(4, np.float32), [0], 400, 0)
    assert not is_exact
    np.testing.assert_allclose(effects[0], exact, atol=0.05)


def test_each_planted_concept_has_its_weight_times_its_distance_from_the_reference(tmp_path: Path) -> None:
    model, _ = with_bank(concept_package(tmp_path))
    x, levels = images(1, seed=11)
    explanation = told(model, x)
    reference = bottleneck_of(_case(model, x)).reference
    scores = {concept.name: concept.score for concept in explanation.concepts}
    wanted = WEIGHTS[0] * (12 * (levels[0] - 0.5) - reference)
    # the noise of the image moves a cell's mean a little
    np.testing.assert_allclose([scores[name] for name in CELLS], wanted, atol=0.5)
    assert explanation.base is not None
    assert explanation.total == pytest.approx(explanation.base + sum(scores.values()), abs=1e-4)
    assert explanation.total == pytest.approx(float(model.logits(x)[0, 0]), abs=1e-5)
    assert [abs(concept.score) for concept in explanation.concepts] == sorted(
        (abs(s) for s in scores.values()), reverse=True
    )
    assert all(
        concept.held_out == pytest.approx(1.0, abs=0.02) and concept.reliable for concept in explanation.concepts
    )


def test_an_intervention_answers_as_an_image_in_which_that_cell_is_so(tmp_path: Path) -> None:
    model, _ = with_bank(concept_package(tmp_path, head="curved"))
    x, _ = images(1, seed=12)
    explanation = told(model, x, interventions=4)
    assert len(explanation.interventions) == 12
    for intervention in explanation.interventions:
        level = 0.5 + np.log(intervention.set_to / (1 - intervention.set_to)) / 12
        row, column = divmod(CELLS[intervention.concept], GRID)
        changed = x.copy()
        changed[0, 0, row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = level
        assert intervention.logit == pytest.approx(float(model.logits(changed)[0, 0]), abs=0.01)
        assert intervention.answer == pytest.approx(float(model.predict(changed)[0, 0]), abs=0.01)


def test_without_references_concepts_are_compared_with_neutral_and_said_to_be(tmp_path: Path) -> None:
    model = model_of(concept_package(tmp_path))
    x, levels = images(1, seed=13)
    explanation = told(model, x)
    assert explanation.parameters["reference"] == "neutral"
    assert explanation.base == pytest.approx(float(BIAS[0]), abs=1e-5)
    assert [concept.held_out for concept in explanation.concepts] == [None] * 4
    assert not any(concept.reliable for concept in explanation.concepts), "nobody has measured these concepts"
    alpha = next(concept for concept in explanation.concepts if concept.name == "alpha")
    assert alpha.score == pytest.approx(3 * 12 * (levels[0, 0] - 0.5), abs=0.7)


def test_a_package_without_concepts_is_refused_by_name_and_told_what_would_work(tmp_path: Path) -> None:
    path = concept_package(tmp_path, named=False)
    refusal = why_not(method_named("concept-bottleneck"), model_of(path))
    assert isinstance(refusal, ArtefactMissing)
    assert "concept-bottleneck" in refusal.message
    assert "cells@1.0.0" in refusal.message
    assert "whyray concepts fit" in refusal.advice
    model, _ = with_bank(path, examples(120))
    refusal = why_not(method_named("concept-bottleneck"), model)
    assert refusal is not None
    assert refusal.advice.startswith("Take post-hoc-concepts")
    assert why_not(method_named("post-hoc-concepts"), model) is None


def test_a_tensor_that_the_answer_passes_by_is_no_bottleneck(tmp_path: Path) -> None:
    path = concept_package(tmp_path)
    text = (path / "model.yaml").read_text().replace("output: concepts", "output: bypassed")
    (path / "model.yaml").write_text(text)
    refusal = why_not(method_named("concept-bottleneck"), model_of(path))
    assert refusal is not None
    assert "bypassed" in refusal.message
    with pytest.raises(type(refusal)):
        told(model_of(path), images(1)[0])
    assert not isinstance(refusal, ExplanationError)


def _case(model: object, x: np.ndarray) -> object:
    from whyray.explain import Case

    return Case(model, x, [0])  # type: ignore[arg-type]
