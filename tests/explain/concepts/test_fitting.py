"""Fitting concepts: readings, splits, surrogates and the artefact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from explain.concepts.planted_concepts import concept_package, examples, images, model_of, with_bank
from whyray.base.errors import ConfigError, PackageError
from whyray.base.statistics import auc
from whyray.explain import ConceptScores, explain
from whyray.explain.concepts import Concept, find_bank
from whyray.explain.concepts.linear import PENALTIES, folds, held_out, ridge
from whyray.explain.concepts.surrogate import fit_surrogate
from whyray.onboarding import fit_bank
from whyray.onboarding.concept_fitting import ConceptRecipe

QUICK = ConceptRecipe(copies=2, random=20)


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_readings_equal_scikit_learns_ridge_and_the_penalty_is_the_best_left_out(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) * rng.uniform(0.5, 3, shape[1]) + 2
    y = x[:, :3].sum(axis=1) + rng.normal(size=len(x))
    fitted = ridge(x, y[:, None])
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    reference = Ridge(alpha=float(fitted.penalties[0]) * shape[1]).fit(standard, y)
    np.testing.assert_allclose(fitted(x)[:, 0], reference.predict(standard), atol=1e-6)

    def left_out(penalty: float) -> float:
        centred = y - y.mean()
        hat = standard @ np.linalg.solve(standard.T @ standard + penalty * shape[1] * np.eye(shape[1]), standard.T)
        return float(np.mean(((centred - hat @ centred) / (1 - np.diag(hat) - 1 / len(x))) ** 2))

    assert fitted.penalties[0] == min(PENALTIES, key=left_out)


def test_unknown_values_have_no_part_in_a_reading() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 20)), rng.normal(size=(60, 2))
    holes = y.copy()
    holes[::3, 1] = np.nan
    known = np.isfinite(holes[:, 1])
    fitted, apart = ridge(x, holes), ridge(x[known], y[known][:, 1:])
    np.testing.assert_allclose(fitted.weights[1], apart.weights[0], atol=1e-9)
    np.testing.assert_allclose(fitted.weights[0], ridge(x, y[:, :1]).weights[0], atol=1e-9)


def test_what_is_held_out_has_no_part_in_its_reading() -> None:
    """Noise in more dimensions than images is learned by heart, and worth nothing held out."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(80, 200)), (rng.random(80) > 0.5).astype(float)[:, None]
    assert auc(y[:, 0], ridge(x, y)(x)[:, 0]) > 0.95
    assert 0.3 < auc(y[:, 0], held_out(x, y, folds(np.arange(80), 5, rng))[:, 0]) < 0.7


def test_images_of_one_patient_are_in_one_fold() -> None:
    groups = np.random.default_rng(3).integers(0, 20, 100)
    fold_of = folds(groups, 5, np.random.default_rng(0))
    assert all(len(set(fold_of[groups == group])) == 1 for group in groups)
    assert set(fold_of) == set(range(5))


def test_too_few_examples_are_refused_with_counts(tmp_path: Path) -> None:
    made = examples(60)
    rare = made.values.copy()
    rare[:, 0] = np.arange(60) < 4
    with pytest.raises(ConfigError, match="alpha needs 10 images with it and 10 without, found 4 and 56"):
        fit_bank(model_of(concept_package(tmp_path)), replace(made, values=rare), QUICK, lambda *_: None)


def test_a_layer_that_there_is_not_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="'nowhere'"):
        fit_bank(model_of(concept_package(tmp_path)), examples(60), replace(QUICK, layer="nowhere"), lambda *_: None)


def test_the_same_examples_and_seed_give_the_same_bank_and_the_artefact_brings_it_back(tmp_path: Path) -> None:
    path = concept_package(tmp_path, named=True)
    model, first = with_bank(path, examples(80), QUICK)
    second = fit_bank(model, examples(80), QUICK, lambda *_: None)
    back = find_bank(model)
    assert back is not None
    for part in ("outputs", "surrogate", "directions"):
        for name, value in vars(getattr(first, part)).items():
            np.testing.assert_array_equal(value, getattr(getattr(second, part), name), err_msg=f"{part}.{name}")
            np.testing.assert_array_equal(value, getattr(getattr(back, part), name), err_msg=f"{part}.{name}")
    assert back.concepts == first.concepts
    assert back.origin.startswith("concepts ")


def test_a_bank_of_another_graph_is_refused(tmp_path: Path) -> None:
    with_bank(concept_package(tmp_path / "one"), examples(80), QUICK)
    other = concept_package(tmp_path / "two", head="curved")
    (other / "onboarding").mkdir()
    source = tmp_path / "one" / "cells" / "1.0.0" / "onboarding" / "concepts.npz"
    (other / "onboarding" / "concepts.npz").write_bytes(source.read_bytes())
    with pytest.raises(PackageError, match="another graph"):
        find_bank(model_of(other))


def test_the_artefact_holds_no_image_and_nothing_of_a_single_one(tmp_path: Path) -> None:
    made = examples(80)
    path = concept_package(tmp_path)
    with_bank(path, made, QUICK)
    with np.load(path / "onboarding" / "concepts.npz") as file:
        shapes = {name: file[name].shape for name in file.files if name != "facts"}
    assert not [name for name, shape in shapes.items() if 80 in shape]


def test_a_stand_in_agrees_with_the_planted_network_and_one_of_random_concepts_does_not(tmp_path: Path) -> None:
    model, bank = with_bank(concept_package(tmp_path, named=False), recipe=QUICK)
    assert bank.surrogate is not None
    assert bank.surrogate.agreement.min() > 0.9
    assert bank.surrogate.random_agreement.max() < 0.6
    x, _ = images(1, 7)
    explanation = explain(model, x, target="first", method="post-hoc-concepts")
    assert isinstance(explanation, ConceptScores)
    assert explanation.total == pytest.approx(float(model.logits(x)[0, 0]), abs=1.0)
    assert {concept.name.partition(" ")[0] for concept in explanation.concepts[:2]} == {"alpha", "beta"}
    assert all(low <= concept.score <= high for concept in explanation.concepts[:2] for low, high in [concept.interval])


def test_images_of_one_patient_make_the_weights_of_a_stand_in_no_surer() -> None:
    rng = np.random.default_rng(8)
    embedding, noise = rng.normal(size=(40, 6)).astype(np.float32), rng.normal(size=(40, 1))
    values = (embedding[:, :2] > 0).astype(float)
    logits = (embedding[:, :1] + noise).astype(np.float32)

    def spread(images_of_each: int) -> np.ndarray:
        """Of the resampled weights, with so many images of each patient that are all alike."""
        of = np.repeat(np.arange(40), images_of_each)
        surrogate = fit_surrogate(
            "embedding",
            embedding[of],
            logits[of],
            concepts=[Concept("left", "presence", 40), Concept("right", "presence", 40)],
            values=values[of],
            goals=values[of],
            targets=["target"],
            groups=of,
            fold_of=of % 5,
            rng=np.random.default_rng(0),
            progress=lambda *_: None,
        )
        return surrogate.resampled.std(axis=0)

    assert (spread(8) > 0.9 * spread(1)).all()


def test_a_concept_that_is_called_as_the_target_has_no_part_in_its_answer(tmp_path: Path) -> None:
    made = examples(120)
    named = tuple(replace(concept, name="first") if concept.name == "alpha" else concept for concept in made.concepts)
    model, bank = with_bank(concept_package(tmp_path, named=False), replace(made, concepts=named), QUICK)
    assert bank.surrogate is not None
    assert bank.surrogate.weights[0, 0] == 0
    x, _ = images(1, 7)
    first, second = explain(model, x, target="all", method="post-hoc-concepts")
    assert isinstance(first, ConceptScores)
    assert isinstance(second, ConceptScores)
    assert "first" not in {concept.name for concept in first.concepts}
    assert "first" in {concept.name for concept in second.concepts}


def test_labels_decide_what_a_concept_is_worth_whatever_it_was_fitted_to(tmp_path: Path) -> None:
    made = examples(120)
    misled = np.full(made.values.shape, np.nan)
    misled[:, 0] = made.values[:, 1]  # alpha's reading is taught beta
    bank = fit_bank(model_of(concept_package(tmp_path)), replace(made, soft=misled), QUICK, lambda *_: None)
    assert bank.surrogate is not None
    assert bank.surrogate.held_out[0] < 0.65
    assert bank.surrogate.held_out[1] > 0.9
