"""prototypes: the terms of the package's own sum, and where the image is like each prototype."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexed import load
from planted_cases import TARGETS, cases_package, image_of, prototypes_package
from whyray.base.errors import ArtefactMissing, PackageError
from whyray.explain import NOTHING, CaseMatches, explain, method_named, why_not
from whyray.inference import Model
from whyray.packages import ArtefactFacts, graph_digest, write_artefact
from whyray.quality import Grade, assess_typed


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(prototypes_package(tmp_path_factory.mktemp("packages")))


def told(model: Model, x: np.ndarray, target: str = TARGETS[0]) -> CaseMatches:
    explanation = explain(model, x, target=target, method="prototypes")
    assert isinstance(explanation, CaseMatches)
    return explanation


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), target=st.sampled_from(TARGETS))
def test_base_and_contributions_are_the_logit_of_any_image(model: Model, seed: int, target: str) -> None:
    x = np.random.default_rng(seed).random((1, 1, 32, 32), np.float32)
    explanation = told(model, x, target)
    assert explanation.base is not None
    total = explanation.base + sum((match.weight or 0) * match.similarity for match in explanation.matches)
    assert total == pytest.approx(explanation.total, abs=1e-4)
    assert explanation.total == pytest.approx(float(model.logits(x)[0, TARGETS.index(target)]), abs=1e-5)


def test_the_map_shows_where_the_prototype_is(model: Model) -> None:
    x = image_of("lower right", np.random.default_rng(0))
    by_name = {match.label: match for match in told(model, x).matches}
    bright = by_name["prototype-01"]
    assert bright.resembles is not None
    assert bright.resembles.shape == (32, 32)
    row, column = np.unravel_index(bright.resembles.argmax(), (32, 32))
    assert row > 16
    assert column > 16
    assert float(bright.resembles.max()) == pytest.approx(bright.similarity, abs=0.05)
    assert bright.weight == pytest.approx(6)


def test_the_largest_contribution_for_or_against_comes_first(model: Model) -> None:
    explanation = told(model, image_of("lower right", np.random.default_rng(0)), TARGETS[1])
    sizes = [abs((match.weight or 0) * match.similarity) for match in explanation.matches]
    assert sizes == sorted(sizes, reverse=True)


def test_pictures_and_labels_come_from_the_artefact_and_keep_its_mark(tmp_path: Path) -> None:
    folder = prototypes_package(tmp_path)
    model = load(folder)
    facts = ArtefactFacts(
        kind="prototypes",
        graph=graph_digest(model),
        package=model.identity,
        made=date(2026, 1, 2),
        count=2,
        source="planted",
        licence="CC0",
        synthetic=True,
    )
    arrays = {
        "pictures": np.full((2, 8, 8), 51, np.uint8),
        "known": np.array([[1, 0], [0, -1]], np.int8),
        "answers": np.array([[0.9, 0.2], [0.1, 0.4]], np.float32),
    }
    write_artefact(folder / "onboarding" / "prototypes.npz", facts, arrays)
    by_name = {
        match.label: match for match in told(load(folder), image_of("lower right", np.random.default_rng(0))).matches
    }
    first, second = by_name["prototype-01"], by_name["prototype-02"]
    assert first.synthetic
    assert first.known is True
    assert second.known is False
    assert first.answer == pytest.approx(0.9)
    assert first.picture is not None
    np.testing.assert_allclose(first.picture, 0.2, atol=1e-6)


def test_a_package_without_prototypes_is_refused_by_name(tmp_path: Path) -> None:
    refusal = why_not(method_named("prototypes"), load(cases_package(tmp_path)))
    assert isinstance(refusal, ArtefactMissing)
    assert "answers by prototypes" in refusal.message


def test_a_package_whose_answer_is_no_sum_of_similarities_is_refused(tmp_path: Path) -> None:
    refusal = why_not(method_named("prototypes"), load(prototypes_package(tmp_path, additive=False)))
    assert isinstance(refusal, PackageError)
    assert "not a weighted sum" in refusal.message


def test_the_map_tells_the_place_and_a_false_sum_withholds(model: Model) -> None:
    from dataclasses import replace

    x = image_of("lower right", np.random.default_rng(0))
    explanation = told(model, x)
    card = assess_typed(model, x, explanation, context=NOTHING)
    by_name = {measurement.name: measurement for measurement in card.measurements}
    assert by_name["sum of contributions"].value < 1e-5
    assert by_name["contributions told again"].value < 1e-5
    matters = by_name["map tells the place"]
    assert matters.baseline is not None
    assert matters.value > matters.baseline
    assert matters.grade is Grade.GREEN
    first = explanation.matches[0]
    false = replace(explanation, matches=(replace(first, similarity=first.similarity + 0.5), *explanation.matches[1:]))
    assert assess_typed(model, x, false, context=NOTHING).withheld
