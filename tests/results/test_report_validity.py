"""Every kind of report that can be made, judged by PixelMed's DicomSRValidator and by dciodvfy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dciodvfy import errors_of
from pixelmed import report_errors
from results.answers import CARDIOMEGALY, NODULE, a_map, answer_about, blob, centre_of
from results.sources import image_named, read
from results.test_told import METHODS, told_about
from results.test_validity import rich_answer
from whyray.quality import Grade
from whyray.results import ALL_KINDS, Finding, build_results, encode

RADIOGRAPH, MAMMOGRAM, VOLUME, MULTI_FRAME = (
    "real chest CR",
    "MG, Cyrillic",
    "tilted CT, Japanese",
    "enhanced MR volume",
)


def all_negative(image):
    return answer_about(image, [Finding(each, present=False, probability=0.02) for each in (CARDIOMEGALY, NODULE)])


def all_withheld(image):
    withheld = a_map(image, blob(image, centre_of(image)), grade=Grade.RED)
    return answer_about(
        image, [Finding(each, present=True, probability=0.9, maps=(withheld,)) for each in (CARDIOMEGALY, NODULE)]
    )


def no_finding(image):
    return answer_about(image, [])


def segmentation(image):
    mask = blob(image, centre_of(image)) > 0.4
    return answer_about(image, [Finding(NODULE, present=True, probability=None, value=3.5, mask=mask)])


def all_types(_):
    """All nine types of explanation about one finding."""
    answers = [told_about(method) for method in METHODS]
    first, *others = answers[0].findings
    told = {one.method: one for answer in answers for one in answer.findings[0].told}
    maps = {(one.method, one.part): one for answer in answers for one in answer.findings[0].maps}
    finding = replace(first, told=tuple(told.values()), maps=tuple(maps.values()))
    return replace(answers[0], findings=(finding, *others))


KINDS = {
    "classification of a radiograph": (answer_about, RADIOGRAPH),
    "classification of a mammogram": (answer_about, MAMMOGRAM),
    "classification of a volume": (answer_about, VOLUME),
    "everything, radiograph": (rich_answer, RADIOGRAPH),
    "everything, volume": (rich_answer, MULTI_FRAME),
    "segmentation, radiograph": (segmentation, RADIOGRAPH),
    "segmentation, volume": (segmentation, VOLUME),
    "all nine types": (all_types, RADIOGRAPH),
    "all negative": (all_negative, RADIOGRAPH),
    "all withheld": (all_withheld, VOLUME),
    "no finding at all": (no_finding, RADIOGRAPH),
}


@pytest.fixture(scope="module")
def reports(templates):
    """A file of each kind of report; 'wrong' is one with a relationship that no template allows."""
    made = {
        kind: encode(build_results(make(image_named(source)), ALL_KINDS, templates)[-1].dataset)
        for kind, (make, source) in KINDS.items()
    }
    wrong = read(made["all negative"])
    (tracking, *_) = [
        each
        for each in walk(wrong)
        if "ConceptNameCodeSequence" in each and each.ConceptNameCodeSequence[0].CodeMeaning == "Tracking Identifier"
    ]
    tracking.RelationshipType = "CONTAINS"
    return {**made, "wrong": encode(wrong)}


@pytest.fixture(scope="module")
def pixelmed_errors(reports):
    """What the validator says of each."""
    return dict(zip(reports, report_errors(list(reports.values())), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_validators_find_no_error_in_any_kind_of_report(kind, reports, pixelmed_errors):
    assert errors_of(reports[kind]) == []
    assert pixelmed_errors[kind] == []


def test_the_validator_is_heard(pixelmed_errors):
    """A judge that never objects judges nothing."""
    (line,) = pixelmed_errors["wrong"]
    assert "Incorrect relationship - expected HAS OBS CONTEXT - found CONTAINS" in line


@pytest.mark.parametrize("make", [all_negative, all_withheld, no_finding])
def test_a_report_without_anything_to_show_still_says_what_was_run_and_what_came(make, templates):
    answer = make(image_named(RADIOGRAPH))
    report = read(encode(build_results(answer, ["sr"], templates)[0].dataset))
    said = [each for each in walk(report) if each.ValueType == "TEXT"]
    assert any(answer.package.title in each.TextValue for each in said)
    names = [each.ConceptNameCodeSequence[0].CodeMeaning for each in walk(report) if "ConceptNameCodeSequence" in each]
    assert names.count("Measurement Group") == len(answer.findings)
    # PS3.3 C.17.3: an empty container says nothing, so there is none
    assert all(each.get("ContentSequence") for each in walk(report) if each.ValueType == "CONTAINER")


def walk(item):
    for each in item.get("ContentSequence", []):
        yield each
        yield from walk(each)
