"""The bundled reference index and prototypes: usable on a real radiograph, synthetic in every picture, of nobody."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whyray.demo.studies import sample
from whyray.explain import NOTHING, Case, CaseMatches, LatentPosition, explain
from whyray.explain.counterfactual import LatentSpace
from whyray.explain.latent import index_of
from whyray.explain.latent.traversal import traversal
from whyray.imaging import read_images, to_model
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.packages import BUNDLED, graph_digest, read_artefact
from whyray.quality import QualityCard, assess_typed


@pytest.fixture(scope="module")
def findings() -> Model:
    return load_package("cxr-findings@1", options=RuntimeOptions(intra_op_threads=1))


@pytest.fixture(scope="module")
def prototypes() -> Model:
    return load_package("cxr-prototypes", options=RuntimeOptions(intra_op_threads=1))


def tensor_of(model: Model, name: str) -> np.ndarray:
    return to_model(read_images([sample(name)]).or_raise()[0], model.manifest.input).tensor


def card_of(model: Model, x: np.ndarray, told: CaseMatches | LatentPosition) -> QualityCard:
    return assess_typed(model, x, told, context=NOTHING)


@pytest.mark.parametrize("name", ["cxr-findings/1.0.0/reference-index.npz", "cxr-prototypes/1.0.0/prototypes.npz"])
def test_every_picture_is_synthetic_and_nothing_tells_whose_it_was(findings: Model, name: str) -> None:
    path = findings.package.folder.parents[1] / name
    artefact = read_artefact(path)
    assert artefact.facts.synthetic
    assert "NIH" in artefact.facts.source
    assert max(artefact.arrays["pictures"].shape[1:]) <= 128
    with zipfile.ZipFile(path) as file:
        raw = b"".join(file.read(member) for member in file.namelist())
    assert b".png" not in raw
    assert b"0000" + b"0075" not in raw  # the first patient of the set


def test_no_picture_of_the_index_is_a_radiograph(findings: Model, shared_data: Path) -> None:
    from PIL import Image

    pictures = read_artefact(findings.package.folder / "reference-index.npz").arrays["pictures"].astype(float)
    size = pictures.shape[2], pictures.shape[1]
    sharpness = np.abs(np.diff(pictures, 2, axis=2)).mean()
    paths = sorted((shared_data / "nih-cxr" / "images").iterdir())[::20]
    for path in paths:
        real = np.asarray(Image.open(path).convert("L").resize(size), float)
        apart = np.abs(pictures - real).mean(axis=(1, 2))
        assert apart.min() > 2, "a stored picture is the radiograph itself"
    reals = [np.asarray(Image.open(path).convert("L").resize(size), float) for path in paths]
    assert sharpness < 0.8 * np.mean([np.abs(np.diff(image, 2, axis=1)).mean() for image in reals])


def test_a_real_radiograph_has_similar_cases_that_are_marked(findings: Model) -> None:
    x = tensor_of(findings, "RG1_UNCR.dcm")
    told = explain(findings, x, target="Effusion", method="similar-cases")
    assert isinstance(told, CaseMatches)
    assert len(told.matches) == 5
    assert all(case.synthetic and case.picture is not None for case in (*told.matches, *told.contrasts))
    assert not card_of(findings, x, told).withheld


def test_a_tibia_is_farther_from_the_references_than_a_chest(findings: Model) -> None:
    places = {
        name: explain(findings, tensor_of(findings, name), target="Effusion", method="latent-position")
        for name in ("RG1_UNCR.dcm", "RG3_UNCR.dcm")
    }
    chest, tibia = places["RG1_UNCR.dcm"], places["RG3_UNCR.dcm"]
    assert isinstance(chest, LatentPosition)
    assert isinstance(tibia, LatentPosition)
    assert tibia.percentile == 100
    assert tibia.distances["Mahalanobis"][0] > 1.5 * chest.distances["Mahalanobis"][0]
    assert chest.trustworthiness >= 0.9


def test_a_traversal_leads_through_the_case_as_the_autoencoder_gives_it_back(findings: Model) -> None:
    x = tensor_of(findings, "RG1_UNCR.dcm")
    told = explain(findings, x, target="Effusion", method="latent-position", steps=4)
    assert isinstance(told, LatentPosition)
    assert told.traversal is not None
    assert told.traversal.shape == (4, 224, 224)
    again = LatentSpace(findings, method="a test")
    reconstructed = again.decode(again.encode(x[:, 0]))[0]
    np.testing.assert_allclose(told.traversal[2], reconstructed, atol=1e-4)
    assert np.abs(told.traversal[0] - reconstructed).mean() > 0.01
    assert told.evidence["autoencoder gap"] <= 0.1
    assert explain(findings, x, target="Effusion", method="latent-position", steps=0).traversal is None


def test_an_index_made_with_another_autoencoder_draws_no_traversal(findings: Model) -> None:
    x = tensor_of(findings, "RG1_UNCR.dcm")
    index = index_of(findings, method="a test")
    other = replace(index, details={**index.details, "autoencoder": "cxr-autoencoder@1.0.0 000000000000"})
    case = Case(findings, x, [0])
    assert traversal(case, index, 2, "a test").frames is not None
    assert traversal(case, other, 2, "a test").frames is None


def test_prototypes_of_a_real_radiograph_add_up_and_are_not_withheld(prototypes: Model) -> None:
    x = tensor_of(prototypes, "RG1_UNCR.dcm")
    told = explain(prototypes, x, target="Effusion", method="prototypes", most=50)
    assert isinstance(told, CaseMatches)
    assert told.base is not None
    total = told.base + sum((match.weight or 0) * match.similarity for match in told.matches)
    assert total == pytest.approx(told.total, abs=1e-3)
    assert all(match.synthetic and match.known is not None for match in told.matches)
    assert not card_of(prototypes, x, told).withheld


def test_artefacts_name_the_graph_of_the_autoencoder_that_comes_along() -> None:
    """Otherwise nothing is drawn by them, silently: make the index again (whyray_training.reference_index)."""
    drawn_by = f"cxr-autoencoder@1.0.0 {graph_digest(load_package('cxr-autoencoder'))[:12]}"
    named = {
        str(path.relative_to(BUNDLED)): read_artefact(path).facts.details.get("autoencoder")
        for path in BUNDLED.glob("*/*/*.npz")
    }
    assert {path: name for path, name in named.items() if name not in (None, drawn_by)} == {}
    assert drawn_by in named.values()
