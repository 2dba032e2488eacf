"""The card of a counterfactual: what does not stand for the image, or does not do what it says, is withheld."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planted import BRIGHT, planted_package
from planted_counterfactuals import Pair, linear_pair
from whyray.explain import NOTHING, Counterfactual, explain
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.quality import Budget, Grade, Measurement, QualityCard, assess_typed


def loaded(pair: Pair) -> Model:
    return load_package(pair.folder, search=[pair.folder.parents[1]], options=RuntimeOptions(intra_op_threads=1))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return linear_pair(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def model(pair: Pair) -> Model:
    return loaded(pair)


def picture(pair: Pair, seed: int) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=pair.decoder.shape[1])
    return (0.5 + pair.decoder @ z).reshape(1, 1, pair.small, pair.small).astype(np.float32)


def shifted(model: Model, x: np.ndarray, **parameters: object) -> Counterfactual:
    explanation = explain(model, x, target="one", method="latent-shift", **parameters)
    assert isinstance(explanation, Counterfactual)
    return explanation


def card_of(model: Model, x: np.ndarray, told: Counterfactual, **options: object) -> QualityCard:
    return assess_typed(model, x, told, context=NOTHING, **options)


def measured(card: QualityCard, name: str) -> Measurement:
    return next(measurement for measurement in card.measurements if measurement.name == name)


def test_a_counterfactual_that_is_right_is_green(pair: Pair, model: Model) -> None:
    x = picture(pair, 3)
    card = card_of(model, x, shifted(model, x, reach=8.0), budget=Budget(forwards=400))
    grades = {measurement.name: measurement.grade for measurement in card.measurements}
    assert set(grades) >= {
        "answers re-derived",
        "autoencoder fidelity",
        "threshold kept",
        "validity",
        "change against random",
        "difference carries over",
        "proximity",
        "sparsity",
        "realism",
        "repeatability",
    }
    assert {name for name, grade in grades.items() if grade is not Grade.GREEN} <= {"proximity", "sparsity"}
    assert measured(card, "repeatability").value == 0


def test_a_target_that_was_explained_beside_others_is_made_again_as_it_was(tmp_path: Path) -> None:
    pair = linear_pair(tmp_path, off=1.0)
    model = loaded(pair)
    x = picture(pair, 3)
    for told in explain(model, x, target="all", method="latent-shift", reach=8.0):
        assert isinstance(told, Counterfactual)
        repeated = measured(card_of(model, x, told, budget=Budget(forwards=400)), "repeatability")
        assert (repeated.value, repeated.grade) == (0, Grade.GREEN)


def test_an_answer_that_hardly_moves_is_doubtful_even_where_it_crosses_the_threshold(pair: Pair, model: Model) -> None:
    x = picture(pair, 1)
    told = shifted(model, x, reach=8.0)
    assert told.flipped
    assert abs(told.answers[-1] - told.answers[0]) < 0.01
    validity = measured(card_of(model, x, told, budget=Budget(forwards=400)), "validity")
    assert (validity.value, validity.grade) == (1.0, Grade.AMBER)


def test_an_autoencoder_that_does_not_stand_for_the_image_is_withheld(tmp_path: Path) -> None:
    pair = linear_pair(tmp_path, off=6.0)
    model = loaded(pair)
    x = picture(pair, 2)
    told = shifted(model, x, refine=0)
    assert told.evidence["reconstruction_gap"] > 0.1
    card = card_of(model, x, told)
    assert card.withheld
    assert measured(card, "autoencoder fidelity").grade is Grade.RED
    assert measured(card, "autoencoder fidelity").value == pytest.approx(told.evidence["reconstruction_gap"], abs=1e-5)


def test_a_decoder_that_gives_back_the_same_for_all_is_withheld(tmp_path: Path) -> None:
    pair = linear_pair(tmp_path, blind=True)
    model = loaded(pair)
    x = picture(pair, 2)
    told = shifted(model, x)
    assert not told.flipped
    card = card_of(model, x, told)
    assert card.withheld
    assert measured(card, "validity").grade is Grade.RED


def test_answers_that_the_model_does_not_give_are_withheld(pair: Pair, model: Model) -> None:
    x = picture(pair, 2)
    told = shifted(model, x, reach=8.0)
    answers = list(told.answers)
    answers[told.end] += 0.05
    card = card_of(model, x, replace(told, answers=tuple(answers)))
    assert card.withheld
    assert measured(card, "answers re-derived").grade is Grade.RED


def test_a_flip_that_is_none_is_withheld(pair: Pair, model: Model) -> None:
    x = picture(pair, 2)
    told = shifted(model, x, reach=8.0)
    still = replace(told, end=told.start + 1)
    card = card_of(model, x, replace(still, difference=told.frames[still.end] - told.frames[told.start]))
    assert card.withheld
    assert measured(card, "validity").grade is Grade.RED


def test_what_comes_near_without_a_flip_is_amber_and_shown(pair: Pair, model: Model) -> None:
    x = picture(pair, 0)
    told = shifted(model, x, refine=0, reach=2e-2)
    assert not told.flipped
    card = card_of(model, x, told)
    assert not card.withheld
    assert measured(card, "validity").grade is Grade.AMBER


def test_a_random_direction_of_the_same_length_is_withheld(pair: Pair, model: Model) -> None:
    """In place of the gradient: a direction along which the answer hardly changes."""
    x = picture(pair, 2)
    told = shifted(model, x, reach=8.0)
    gradient = pair.decoder.T @ pair.weights[0]
    z = np.linalg.pinv(pair.decoder) @ (x.ravel() - 0.5)
    aside = np.random.default_rng(1).normal(size=6)
    aside -= 0.97 * gradient * (aside @ gradient) / (gradient @ gradient)
    aside *= told.evidence["shift"] * np.linalg.norm(z) / np.linalg.norm(aside)
    aside *= np.sign((told.answers[told.end] - told.answers[told.start]) * (aside @ gradient))
    frames = told.frames.copy()
    frames[told.end] = (0.5 + pair.decoder @ (z + aside)).reshape(16, 16)
    answers = list(told.answers)
    answers[told.end] = float(model.predict(frames[[told.end]][None])[0, 0])
    wrong = replace(
        told, frames=frames, answers=tuple(answers), flipped=False, difference=frames[told.end] - frames[told.start]
    )
    card = card_of(model, x, wrong)
    assert card.withheld
    assert measured(card, "change against random").grade is Grade.RED


def test_the_same_seed_gives_the_same_card(pair: Pair, model: Model) -> None:
    x = picture(pair, 3)
    told = shifted(model, x)
    assert card_of(model, x, told, seed=4) == card_of(model, x, told, seed=4)


def test_the_second_making_is_left_out_where_the_budget_has_no_room(pair: Pair, model: Model) -> None:
    x = picture(pair, 3)
    card = card_of(model, x, shifted(model, x), budget=Budget(forwards=40))
    assert "repeatability" not in {measurement.name for measurement in card.measurements}


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_package(planted_package(tmp_path_factory.mktemp("packages")))


def spot() -> np.ndarray:
    x = np.full((1, 1, 64, 64), 0.2, np.float32)
    x[..., 16:32, 32:48] = 1.0
    return x


def replaced(model: Model, x: np.ndarray) -> Counterfactual:
    explanation = explain(model, x, target=BRIGHT, method="region-counterfactual", regions="grid", count=16)
    assert isinstance(explanation, Counterfactual)
    return explanation


def test_replacing_the_planted_spot_is_green_but_for_its_size(spots: Model) -> None:
    card = card_of(spots, spot(), replaced(spots, spot()))
    grades = {measurement.name: measurement.grade for measurement in card.measurements}
    assert {"no region too many", "other fillings", "change against random", "repeatability"} <= set(grades)
    assert {name for name, grade in grades.items() if grade is not Grade.GREEN} <= {"proximity"}
    assert measured(card, "no region too many").value == 2


def test_replacing_another_place_than_the_planted_one_is_withheld(spots: Model) -> None:
    told = replaced(spots, spot())
    assert told.changed is not None
    elsewhere = np.roll(told.changed, 32, axis=0)
    frames = np.stack([told.frames[0], told.frames[0]])
    answers = (told.answer_before, told.answer_before)
    wrong = replace(told, changed=elsewhere, frames=frames, answers=answers, start=0, end=1, flipped=True)
    card = card_of(spots, spot(), wrong)
    assert card.withheld
    assert measured(card, "validity").grade is Grade.RED
