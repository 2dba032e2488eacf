"""Cards of similar cases: green where neighbours foretell the answer, withheld where the index is a wrong one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from indexed import REFERENCES, with_index
from planted_cases import TARGETS, cases_package, image_of, images_of
from whyray.explain import NOTHING, CaseMatches, LatentPosition, explain
from whyray.explain.latent import index_of
from whyray.inference import Model
from whyray.onboarding.reference_index import Collected, auroc, correlation
from whyray.quality import Grade, QualityCard, assess_typed
from whyray.quality.known_answers import PROBES


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return with_index(cases_package(tmp_path_factory.mktemp("packages")))


def card_of(model: Model, x: np.ndarray) -> QualityCard:
    explanation = explain(model, x, target=TARGETS[0], method="similar-cases")
    assert isinstance(explanation, CaseMatches)
    return assess_typed(model, x, explanation, context=NOTHING)


def test_a_usual_image_gets_a_card_that_withholds_nothing_and_costs_no_pass_of_its_own(model: Model) -> None:
    x = image_of("upper left", np.random.default_rng(3))
    card = card_of(model, x)
    told = {measurement.name: measurement for measurement in card.measurements}
    assert not card.withheld
    assert told["self-retrieval"].value == 1
    assert told["neighbours foretell the answer"].value > 0.8
    assert (told["neighbours foretell the answer"].baseline or 1) < 0.4
    assert card.forwards == PROBES, "the first card of an image tells of the known answers of its model"


def test_an_image_like_nothing_among_the_references_is_told_so(model: Model) -> None:
    strange = np.random.default_rng(0).random((1, 1, 32, 32), np.float32)
    told = {measurement.name: measurement for measurement in card_of(model, strange).measurements}
    assert told["nearest similarity"].grade is Grade.AMBER


def test_the_cases_or_the_place_of_another_image_are_withheld(model: Model) -> None:
    own, other = (image_of(place, np.random.default_rng(3)) for place in ("upper left", "lower right"))
    for method in ("similar-cases", "latent-position"):
        told = explain(model, other, target=TARGETS[0], method=method)
        assert isinstance(told, CaseMatches | LatentPosition)
        assert not assess_typed(model, other, told, context=NOTHING).withheld
        card = assess_typed(model, own, told, context=NOTHING)
        assert card.withheld
        assert "told again" in {measured.name for measured in card.concerns}


def test_an_index_whose_embeddings_belong_to_other_answers_withholds_the_cases(tmp_path: Path) -> None:
    model = with_index(cases_package(tmp_path))
    index = index_of(model, method="a test")
    order = np.random.default_rng(0).permutation(len(index))
    index.logits[:] = index.logits[order]
    card = card_of(model, image_of("upper left", np.random.default_rng(3)))
    assert card.withheld
    assert any("foretell" in words for words in card.reasons)


def test_neighbours_that_survive_random_weights_withhold_the_cases(tmp_path: Path) -> None:
    model = with_index(cases_package(tmp_path))
    index_of(model, method="a test").details["randomised"]["stages"][-1][1] = 0.95
    card = card_of(model, image_of("upper left", np.random.default_rng(3)))
    assert card.withheld
    assert any("randomised" in words for words in card.reasons)


def test_the_index_measures_that_references_find_themselves_and_change_with_the_weights(model: Model) -> None:
    details = index_of(model, method="a test").details
    assert details["self-retrieval"]["as it is"] == 1
    assert all(agreement["r"] > agreement["chance"] for agreement in details["agreement"].values())
    stages = dict(details["randomised"]["stages"])
    assert 0 <= min(stages.values()) <= max(stages.values()) <= 1


def test_the_order_in_which_images_come_and_repeats_among_them_leave_no_trace(model: Model) -> None:
    from datetime import date

    from whyray.onboarding.reference_index import IndexFacts, make_index

    images = images_of(REFERENCES[:30])

    def made(order: list[int]) -> dict[str, np.ndarray]:
        collected = Collected(model)
        for number in order:
            collected.add(images[number], {}, group=f"someone {number}")
        return make_index(collected, IndexFacts("planted", "CC0", date(2026, 1, 2), umap=False))[1]

    first, second = made(list(range(30))), made([*reversed(range(30)), 4, 4])
    assert first.keys() == second.keys()
    for name in ("embeddings", "answers", "known"):
        np.testing.assert_array_equal(first[name], second[name])


def test_auroc_and_correlation_are_scikit_learns_and_numpys() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    inside, outside = rng.integers(0, 9, 40).astype(np.float32), rng.integers(3, 12, 25).astype(np.float32)
    truth = np.r_[np.zeros(40), np.ones(25)]
    assert auroc(inside, outside) == pytest.approx(roc_auc_score(truth, np.r_[inside, outside]))
    own = rng.normal(size=300).astype(np.float32)
    figures = correlation(own, own, rng)
    assert figures["r"] == pytest.approx(1)
    assert 0.05 < figures["chance"] < 0.15
