"""Concepts of the bundled chest packages on real films."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from whyray.demo.studies import sample
from whyray.explain import NOTHING, ConceptScores, explain, method_named, why_not
from whyray.explain.concepts import find_bank
from whyray.imaging import read_images, to_model, wrap_picture
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.quality import Grade, assess_typed

OPTIONS = RuntimeOptions(device="cpu", intra_op_threads=1)


@pytest.fixture(scope="module")
def findings() -> Model:
    return load_package("cxr-findings@1", options=OPTIONS)


@pytest.fixture(scope="module")
def abnormal() -> Model:
    return load_package("cxr-abnormal", options=OPTIONS)


def film(model: Model, path: Path) -> np.ndarray:
    source = wrap_picture(path) if path.suffix == ".png" else dcmread(path)
    (image,) = read_images([source]).or_raise()
    return to_model(image, model.manifest.input).tensor


def test_the_answer_about_a_real_film_is_taken_apart_without_a_rest(abnormal: Model) -> None:
    x = film(abnormal, sample("RG1_UNCR.dcm"))
    told = explain(abnormal, x, target="Abnormal", method="concept-bottleneck")
    assert isinstance(told, ConceptScores)
    assert len(told.concepts) == 14
    assert told.evidence["exact"] == 1.0
    assert told.base is not None
    total = told.base + sum(concept.score for concept in told.concepts)
    assert total == pytest.approx(float(abnormal.logits(x)[0, 0]), abs=1e-4)
    card = assess_typed(abnormal, x, told, context=NOTHING)
    assert not card.withheld, card.reasons
    assert card.grade is Grade.AMBER, "most of its concepts are not known well, and that is said"
    reliable = {concept.name for concept in told.concepts if concept.reliable}
    assert reliable >= {"Effusion", "Edema", "Emphysema"}
    assert not reliable & {"Mass", "Nodule", "Atelectasis"}, "not told well on other patients"


def test_films_with_findings_are_more_abnormal_than_films_without(abnormal: Model, shared_data: Path) -> None:
    """A check that the whole path is right, not a figure: the card has those of images that training had not seen."""
    import csv

    rows = list(csv.DictReader((shared_data / "nih-cxr" / "labels.csv").open()))
    sick = [row for row in rows if row["Finding Labels"].count("|") >= 2][:6]
    well = [row for row in rows if row["Finding Labels"] == "No Finding"][:6]
    answers = [
        [
            float(abnormal.predict(film(abnormal, shared_data / "nih-cxr" / "images" / row["Image Index"]))[0, 0])
            for row in of
        ]
        for of in (sick, well)
    ]
    assert np.mean(answers[0]) > np.mean(answers[1])


@pytest.mark.parametrize(
    ("target", "along"), [("Effusion", "Effusion"), ("Mass", "Nodule"), ("Emphysema", "Emphysema")]
)
def test_the_chest_package_moves_along_the_findings_that_it_answers_about(
    findings: Model, target: str, along: str
) -> None:
    x = film(findings, sample("RG1_UNCR.dcm"))
    told = explain(findings, x, target=target, method="tcav")
    assert isinstance(told, ConceptScores)
    by_name = {concept.name: concept for concept in told.concepts}
    assert by_name[along].reliable
    assert by_name[along].score > 0
    assert by_name[along].class_score == 1.0
    card = assess_typed(findings, x, told, context=NOTHING)
    assert not card.withheld, card.reasons


def test_measures_of_the_chest_package_are_told_with_units(findings: Model) -> None:
    x = film(findings, sample("RG1_UNCR.dcm"))
    told = explain(findings, x, target="Mass", method="rcv")
    assert isinstance(told, ConceptScores)
    assert {"age [a]", "contrast"} <= {concept.name for concept in told.concepts}
    assert not assess_typed(findings, x, told, context=NOTHING).withheld


def test_a_stand_in_that_is_not_faithful_is_withheld_with_the_reason(findings: Model) -> None:
    bank = find_bank(findings)
    assert bank is not None
    assert bank.surrogate is not None
    x = film(findings, sample("RG1_UNCR.dcm"))
    for number, target in enumerate(findings.targets[:3]):
        told = explain(findings, x, target=target, method="post-hoc-concepts")
        card = assess_typed(findings, x, told, context=NOTHING)  # type: ignore[arg-type]
        assert card.withheld == (bank.surrogate.agreement[number] < 0.9)
        assert not card.withheld or "not faithful" in card.reasons[0]


def test_each_of_the_methods_says_of_every_bundled_package_whether_it_can_explain_it() -> None:
    can = {
        name: {
            method
            for method in ("concept-bottleneck", "post-hoc-concepts", "tcav", "rcv")
            if why_not(method_named(method), load_package(name, options=OPTIONS)) is None
        }
        for name in ("cxr-findings@1", "cxr-abnormal", "head-ct-tissue")
    }
    assert can == {
        "cxr-findings@1": {"post-hoc-concepts", "tcav", "rcv"},
        "cxr-abnormal": {"concept-bottleneck"},
        "head-ct-tissue": set(),
    }
