"""Similar cases: the nearest references are of the image's kind, contrasts of another, and nothing is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from indexed import REFERENCES, load, with_index
from planted_cases import TARGETS, cases_package, image_of, images_of
from whyray.base.errors import ArtefactMissing, ConfigError, PackageError
from whyray.explain import CaseMatches, explain, method_named, why_not
from whyray.explain.cases import neighbours_of_all, search_for
from whyray.explain.latent import index_of
from whyray.inference import Model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return with_index(cases_package(tmp_path_factory.mktemp("packages")))


def similar(model: Model, place: str, target: str, **parameters: object) -> CaseMatches:
    explanation = explain(
        model, image_of(place, np.random.default_rng(99)), target=target, method="similar-cases", **parameters
    )
    assert isinstance(explanation, CaseMatches)
    return explanation


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weighting", ["contribution", "none"])
def test_neighbours_are_of_the_same_kind_and_contrasts_are_not(model: Model, target: str, weighting: str) -> None:
    explanation = similar(model, target, target, weighting=weighting)
    assert [match.known for match in explanation.matches] == [True] * 5
    assert [contrast.known for contrast in explanation.contrasts] == [False] * 3
    assert all((match.answer or 0) >= 0.5 for match in explanation.matches)
    order = [match.similarity for match in explanation.matches]
    assert order == sorted(order, reverse=True)
    assert explanation.matches[-1].similarity > explanation.contrasts[0].similarity
    assert explanation.evidence["answered alike"] == 1
    assert explanation.reference_count == len(REFERENCES)


def test_contributions_ask_what_counts_for_the_target_and_embeddings_ask_for_the_whole(model: Model) -> None:
    # both of these are dark in the lower right corner: for that target they are alike
    first, second = (np.concatenate(images_of([place], seed=5)) for place in ("upper left", "upper right"))
    index = index_of(model, method="a test")
    vectors = np.stack([model.embedding(image)[0] for image in (first, second)])

    def alike(weighting: str) -> float:
        search = search_for(index, model, 1, metric="euclidean", weighting=weighting)  # type: ignore[arg-type]
        ready = search.prepared(vectors)
        usual = np.median(search.similarities(search.prepared(index.embeddings), search.prepared(index.embeddings)))
        return float(search.similarities(ready[:1], ready[1:])[0, 0] / usual)

    assert alike("contribution") < alike("none")


def test_an_image_that_is_a_reference_itself_is_not_shown_as_similar_to_itself(model: Model) -> None:
    x = images_of(REFERENCES)[7]
    explanation = explain(model, x, target=TARGETS[0], method="similar-cases")
    assert explanation.evidence["left out as the same"] == 1
    assert all(match.similarity < 1 - 1e-6 for match in explanation.matches)


def test_search_is_exact(model: Model) -> None:
    index = index_of(model, method="a test")
    for metric in ("cosine", "euclidean"):
        search = search_for(index, model, 0, metric=metric, weighting="contribution")  # type: ignore[arg-type]
        weighted = (index.embeddings - index.space.mean) * search.weights
        if metric == "cosine":
            weighted = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
        apart = np.linalg.norm(weighted[:, None] - weighted[None], axis=2)
        np.fill_diagonal(apart, np.inf)
        expected = np.sort(apart, axis=1)[:, :4]
        distances = np.take_along_axis(apart, neighbours_of_all(search, 4), axis=1)
        np.testing.assert_allclose(distances, expected, atol=1e-3)


def test_pictures_are_given_where_the_index_keeps_them_and_are_not_called_synthetic(model: Model) -> None:
    match = similar(model, "upper left", "upper left").matches[0]
    assert match.picture is not None
    assert match.picture.shape == (32, 32)
    assert not match.synthetic
    bright = np.unravel_index(match.picture.argmax(), match.picture.shape)
    assert max(bright) < 16


def test_an_index_without_pictures_and_labels_serves_too(tmp_path: Path) -> None:
    bare = with_index(cases_package(tmp_path), pictures=False, labelled=False)
    explanation = similar(bare, "upper left", "upper left")
    assert all(match.picture is None and match.known is None for match in explanation.matches)
    assert "known to be so" not in explanation.evidence
    assert all((contrast.answer or 1) < 0.5 for contrast in explanation.contrasts)


def test_without_an_index_the_method_says_how_to_make_one(tmp_path: Path) -> None:
    bare = with_index(cases_package(tmp_path))
    (bare.package.folder / "onboarding" / "reference-index.npz").unlink()
    refusal = why_not(method_named("similar-cases"), bare)
    assert isinstance(refusal, ArtefactMissing)
    assert "whyray package index planted-cases" in refusal.advice


def test_an_index_of_another_graph_is_refused(tmp_path: Path) -> None:
    old = with_index(cases_package(tmp_path))
    cases_package(tmp_path, seed=1)
    refusal = why_not(method_named("similar-cases"), load(old.package.folder))
    assert isinstance(refusal, PackageError)
    assert "another graph" in refusal.message


def test_a_calibration_that_is_changed_later_changes_what_is_said_of_references(tmp_path: Path) -> None:
    folder = with_index(cases_package(tmp_path)).package.folder
    before = similar(load(folder), "upper left", "upper left")
    manifest = yaml.safe_load((folder / "model.yaml").read_text())
    manifest["targets"][0]["calibration"] = [1e-9, 0.0]
    (folder / "model.yaml").write_text(yaml.safe_dump(manifest))
    after = similar(load(folder), "upper left", "upper left")
    assert [match.label for match in after.matches] == [match.label for match in before.matches]
    assert {round(match.answer, 6) for match in after.matches} == {0.5}


def test_a_model_that_has_only_feature_maps_is_searched_by_their_mean(tmp_path: Path) -> None:
    pooled = with_index(cases_package(tmp_path, embedding=False))
    index = index_of(pooled, method="a test")
    assert index.embeddings.shape == (len(REFERENCES), 6)
    assert similar(pooled, "upper left", "upper left").parameters["weighting"] == "none"


def test_parameters_that_make_no_sense_are_refused(model: Model) -> None:
    with pytest.raises(ConfigError):
        similar(model, "upper left", "upper left", neighbours=0)
    with pytest.raises(ConfigError):
        similar(model, "upper left", "upper left", metric="manhattan")
