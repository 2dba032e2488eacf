"""Every kind of report that can be made, judged by PixelMed's DicomSRValidator and by dciodvfy."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import highdicom
import pytest
from pydicom.sr.codedict import codes

from dciodvfy import errors_of
from pixelmed import report_errors
from results.answers import CARDIOMEGALY, FOUR_KINDS, NODULE, a_map, answer_about, blob, centre_of
from results.sources import image_named, read
from results.test_typed_explanations import METHODS, typed_answer
from results.test_validity import rich_answer
from whyray.quality import Grade
from whyray.results import Finding, build_results, encode

RADIOGRAPH, MAMMOGRAM, VOLUME, MULTI_FRAME = (
    "real chest CR",
    "MG, Cyrillic",
    "tilted CT, Japanese",
    "enhanced MR volume",
)


def all_negative(image):
    return answer_about(image, [Finding(target, present=False, probability=0.02) for target in (CARDIOMEGALY, NODULE)])


def all_withheld(image):
    withheld = a_map(image, blob(image, centre_of(image)), grade=Grade.RED)
    return answer_about(
        image, [Finding(target, present=True, probability=0.9, maps=(withheld,)) for target in (CARDIOMEGALY, NODULE)]
    )


def no_finding(image):
    return answer_about(image, [])


def segmentation(image):
    mask = blob(image, centre_of(image)) > 0.4
    return answer_about(image, [Finding(NODULE, present=True, probability=None, value=3.5, mask=mask)])


def all_types(_):
    """All nine types of explanation about one finding."""
    answers = [typed_answer(method) for method in METHODS]
    first, *others = answers[0].findings
    told = {one.method: one for answer in answers for one in answer.findings[0].typed}
    maps = {(one.method, one.part): one for answer in answers for one in answer.findings[0].maps}
    finding = replace(first, typed=tuple(told.values()), maps=tuple(maps.values()))
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
        kind: encode(build_results(make(image_named(source)), FOUR_KINDS, templates)[-1].dataset)
        for kind, (make, source) in KINDS.items()
    }
    wrong = read(made["all negative"])
    (tracking, *_) = [
        content_item
        for content_item in walk(wrong)
        if "ConceptNameCodeSequence" in content_item
        and content_item.ConceptNameCodeSequence[0].CodeMeaning == "Tracking Identifier"
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


def test_a_segment_of_a_label_map_of_a_radiograph_is_referred_to_as_a_whole_by_the_template_that_allows_it(templates):
    """A label map's one frame shows all segments, and TID 1410 knows frames of segmentations only."""
    segmentation = templates.layout.segmentation.model_copy(update={"label_maps": True})
    labelled = replace(templates, layout=templates.layout.model_copy(update={"segmentation": segmentation}))
    regions, made = build_results(answer_about(image_named("DX, Japanese")), ["seg", "sr"], labelled)
    (group,) = content_of(encode(made.dataset)).get_volumetric_roi_measurement_groups()
    (segment,) = group[0].ContentSequence.find(codes.DCM.ReferencedSegment)
    assert segment.referenced_sop_instance_uid == regions.dataset.SOPInstanceUID
    assert segment.referenced_segment_numbers == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_highdicom_reads_every_group_of_any_kind_of_report_as_it_was_written(kind, reports):
    written = [content_item for content_item in walk(read(reports[kind])) if "Measurement Group" in named(content_item)]
    content = content_of(reports[kind])
    for template, groups in (
        ("1410", content.get_planar_roi_measurement_groups()),
        ("1411", content.get_volumetric_roi_measurement_groups()),
        ("1501", content.get_image_measurement_groups()),
    ):
        of_template = [
            container for container in written if container.ContentTemplateSequence[0].TemplateIdentifier == template
        ]
        assert [group.tracking_uid for group in groups] == [
            next(item.UID for item in container.ContentSequence if "Tracking Unique Identifier" in named(item))
            for container in of_template
        ]
        assert [[one.value for one in group.get_measurements()] for group in groups] == [
            [
                item.MeasuredValueSequence[0].FloatingPointValue
                for item in container.ContentSequence
                if "NUM" in item.ValueType
            ]
            for container in of_template
        ]
        # what is shown of a group is parted, not run on as one paragraph
        assert {container.ContinuityOfContent for container in of_template} <= {"SEPARATE"}


@pytest.mark.parametrize("make", [all_negative, all_withheld, no_finding])
def test_a_report_without_anything_to_show_still_says_what_was_run_and_what_came(make, templates):
    answer = make(image_named(RADIOGRAPH))
    report = read(encode(build_results(answer, ["sr"], templates)[0].dataset))
    said = [content_item for content_item in walk(report) if content_item.ValueType == "TEXT"]
    assert any(answer.package.title in content_item.TextValue for content_item in said)
    names = [
        content_item.ConceptNameCodeSequence[0].CodeMeaning
        for content_item in walk(report)
        if "ConceptNameCodeSequence" in content_item
    ]
    assert names.count("Measurement Group") == len(answer.findings)
    # PS3.3 C.17.3: an empty container says nothing, so there is none
    assert all(
        content_item.get("ContentSequence") for content_item in walk(report) if content_item.ValueType == "CONTAINER"
    )


def walk(item):
    for child in item.get("ContentSequence", []):
        yield child
        yield from walk(child)


def named(item):
    """The meaning of an item's concept name, in a list."""
    return [code.CodeMeaning for code in item.get("ConceptNameCodeSequence", [])]


def content_of(file):
    """What highdicom reads of a report, from its bytes."""
    return highdicom.sr.srread(BytesIO(file)).content
