"""The report says all that the pages say, in codes, and refers to everything it speaks of."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from results.answers import AT, CARDIOMEGALY, FOUR_KINDS, NODULE, a_map, answer_about, blob, centre_of
from results.sources import image_named, read
from results.test_validity import rich_answer
from whyray.explain import Agreement
from whyray.packages import TargetSpec
from whyray.quality import Grade, Measurement, QualityCard
from whyray.results import EarlierResult, Finding, Prevalence, Refusal, build_results, describe, encode

SR = "1.2.840.10008.5.1.4.1.1.88.34"


def report_of(answer, templates, kinds=FOUR_KINDS, **options) -> Dataset:
    return read(encode(build_results(answer, kinds, templates, **options)[-1].dataset))


def meaning(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return names[0].CodeMeaning if names else ""


def groups_of(report: Dataset) -> list[Dataset]:
    (measurements,) = [item for item in report.ContentSequence if meaning(item) == "Imaging Measurements"]
    return list(measurements.ContentSequence)


def children(item: Dataset, name: str) -> list[Dataset]:
    return [child for child in item.get("ContentSequence", []) if meaning(child) == name]


def value(item: Dataset) -> float:
    return float(item.MeasuredValueSequence[0].NumericValue)


def walk(item: Dataset):
    for child in item.get("ContentSequence", []):
        yield child
        yield from walk(child)


@pytest.fixture
def image():
    return image_named("tilted CT, Japanese")


def test_each_finding_has_a_group_with_code_probability_and_verdict(image, templates):
    cardiomegaly, nodule, _ = groups_of(report_of(answer_about(image), templates))
    code = children(cardiomegaly, "Finding")[0].ConceptCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("8186001", "SCT")
    (certainty,) = children(cardiomegaly, "Certainty of Finding")
    assert value(certainty) == 82.0
    (verdict,) = children(cardiomegaly, "Cardiomegaly")
    assert value(children(verdict, "Decision threshold of the model")[0]) == 40.0
    shown = [meaning(content_item) for content_item in cardiomegaly.ContentSequence if content_item.ValueType == "NUM"]
    assert shown == ["Certainty of Finding"], "viewers draw the numbers of a group over the image"
    assert children(cardiomegaly, "Cardiomegaly")[0].ConceptCodeSequence[0].CodeMeaning == "Present"
    assert children(nodule, "Nodule")[0].ConceptCodeSequence[0].CodeMeaning == "Absent"
    assert children(cardiomegaly, "Finding Site")[0].ConceptCodeSequence[0].CodeMeaning == "Heart"
    uids = [children(group, "Tracking Unique Identifier")[0].UID for group in (cardiomegaly, nodule)]
    assert len(set(uids)) == 2


def test_model_and_method_are_identified_as_algorithms(image, templates):
    group = groups_of(report_of(answer_about(image), templates))[0]
    assert children(group, "Algorithm Name")[0].TextValue == "cxr-findings"
    assert children(group, "Algorithm Version")[0].TextValue == "1.2.3"
    explanation = children(group, "Visual explanation")[0]
    assert children(explanation, "Algorithm Name")[0].TextValue == "grad-cam"
    parameters = [content_item.TextValue for content_item in children(explanation, "Algorithm Parameters")]
    assert parameters == ["layer=features.norm5", "relu=True"]


def test_a_group_refers_to_its_segment_its_heatmap_and_its_pages(image, templates):
    results = build_results(rich_answer(image), FOUR_KINDS, templates)
    by_uid = {result.dataset.SOPInstanceUID: result for result in results}
    for group in groups_of(results[-1].dataset)[:2]:
        (segment,) = children(group, "Referenced Segment")
        reference = segment.ReferencedSOPSequence[0]
        described = by_uid[reference.ReferencedSOPInstanceUID].dataset.SegmentSequence
        method = described[reference.ReferencedSegmentNumber - 1].SegmentAlgorithmName
        explained = [
            by_uid[content_item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID]
            for content_item in children(group, "Visual explanation")
        ]
        assert [result.kind for result in explained] == ["pm", "sc"]
        assert {result.method for result in explained} == {method}
        assert {result.finding for result in explained} == {"Cardiomegaly"}
        assert len(children(group, "Source Image for Segmentation")) == len(image.frames)


def test_a_planar_region_is_referred_to_by_its_frame(templates):
    answer = rich_answer(image_named("DX, Japanese"))
    results = build_results(answer, FOUR_KINDS, templates)
    first, second = groups_of(results[-1].dataset)[:2]
    regions = results[[result.kind for result in results].index("seg")].dataset
    for group, frame in ((first, 1), (second, 2)):
        reference = children(group, "Referenced Segmentation Frame")[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == regions.SOPInstanceUID
        assert reference.ReferencedFrameNumber == frame


def test_everything_that_the_report_speaks_of_is_listed_as_evidence_and_nothing_is_listed_twice(image, templates):
    results = build_results(rich_answer(image), FOUR_KINDS, templates)
    report = results[-1].dataset
    spoken = {
        content_item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for content_item in walk(report)
        if content_item.ValueType == "IMAGE"
    }
    listed = [
        instance.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]
    assert len(listed) == len(set(listed))
    assert set(listed) == spoken
    shown = {result.dataset.SOPInstanceUID for result in results if result.kind in ("seg", "pm")}
    assert shown | set(image.headers) <= spoken


def test_the_quality_card_is_written_as_measurements_with_how_they_were_judged(image, templates):
    group = groups_of(report_of(answer_about(image), templates))[0]
    (grade,) = children(group, "Quality grade of the explanation")
    assert grade.ConceptCodeSequence[0].CodeValue == "green"
    (trust,) = children(group, "How far the explanation can be trusted")
    assert trust.TextValue == "Explanation: reliable"
    (deletion,) = children(grade, "Deletion AUC")
    assert value(deletion) == 0.21
    (judged,) = children(deletion, "Comment")
    for part in ("grad-cam: green", "below random orders", "Petsiuk 2018", "baseline 0.34"):
        assert part in judged.TextValue


def test_what_is_tracked_by_another_uid_is_called_otherwise(image, templates):
    """As text four groups of one finding, each 'Finding: Cardiomegaly' under one name, read as four findings."""
    maps = tuple(a_map(image, blob(image, (0, 40, 30 + 40 * n)), method=m) for n, m in enumerate(("grad-cam", "rise")))
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=maps)])
    report = build_results(answer, FOUR_KINDS, templates)[-1].dataset
    tracked = []
    for group in groups_of(report):
        texts = {item.ConceptNameCodeSequence[0].CodeValue: item for item in group.ContentSequence[:3]}
        tracked.append((texts["112040"].UID, texts["112039"].TextValue))
    assert len(tracked) == 4
    assert len(set(tracked)) == len(dict(tracked)) == len({name for _, name in tracked}) == 2
    assert {name for _, name in tracked} == {"cxr-findings: Cardiomegaly", "cxr-findings: Cardiomegaly (rise)"}


def test_a_withheld_explanation_is_named_with_its_reason_and_has_no_region_or_map(image, templates):
    failed = a_map(image, blob(image, centre_of(image)), grade=Grade.RED)
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(failed,))])
    results = build_results(answer, FOUR_KINDS, templates)
    summary, page, _ = results
    assert [result.kind for result in results] == ["sc", "sc", "sr"]
    assert (summary.finding, page.finding) == (None, "Cardiomegaly")
    (group,) = groups_of(results[-1].dataset)
    assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"
    said, notice = children(group, "Explanation withheld")
    assert "Grad-CAM failed its quality checks" in said.TextValue
    assert "Not shown: " in said.TextValue
    (grade,) = children(group, "Quality grade of the explanation")
    assert value(children(grade, "Deletion AUC")[0]) == 0.21
    assert notice.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == page.dataset.SOPInstanceUID
    assert not children(group, "Visual explanation")
    assert value(children(group, "Certainty of Finding")[0]) == 80.0
    grades = children(group, "Quality grade of the explanation")
    assert [content_item.ConceptCodeSequence[0].CodeValue for content_item in grades] == ["red"]


def test_a_refused_method_is_named_with_its_reason(image, templates):
    finding = Finding(
        NODULE, present=False, probability=0.2, refused={"lrp": Refusal("model", "no verified gradient engine")}
    )
    (group,) = groups_of(report_of(answer_about(image, [finding]), templates))
    (told,) = children(group, "Explanation not possible")
    assert told.TextValue == "Layer-wise relevance propagation: this model does not give what the method needs"
    assert children(told, "Comment")[0].TextValue == "lrp: no verified gradient engine"


DOUBT = (Measurement("made again", "sanity", 0.1, 0.0, Grade.AMBER, "a rule", "ours"),)


@pytest.mark.parametrize(
    ("overlap", "words"),
    [(0.75, "the same places"), (0.25, "partly the same places"), (0.125, "different places")],
)
def test_a_report_says_how_far_the_maps_of_a_finding_agree_and_how_often_such_maps_were_right(
    image, templates, overlap, words
):
    measured = Measurement(
        "maps that hit what readers marked", "record", 34 / 58, 28 / 58, Grade.GREEN, "34 of 58", "ours", of=58
    )
    lit = replace(a_map(image, blob(image, centre_of(image)), grade=Grade.AMBER), card=QualityCard((measured, *DOUBT)))
    agreed = Agreement(overlap, ("grad-cam", "local-evidence"), 1)
    finding = Finding(NODULE, present=True, probability=0.8, maps=(lit,), agreement=agreed)
    group, *_ = groups_of(report_of(answer_about(image, [finding]), templates))
    said = [content_item.TextValue for content_item in children(group, "How far the explanation can be trusted")]
    assert said == [
        "Use with caution: it could not be reproduced from this image.",
        "Such maps of this package hit 34 of 58 places that radiologists had marked; a guess hits 28.",
    ]
    (told,) = children(group, "Agreement of the explanations' maps")
    assert value(told) == 100 * overlap
    assert children(told, "Comment")[0].TextValue == (
        f"The maps by Grad-CAM, Evidence that adds up to the answer point at {words}."
    )


@pytest.mark.parametrize(
    ("prevalence", "words"),
    [
        (0.12, "calibrated for a prevalence of 12%"),
        (0.02, "calibrated for a prevalence of 2%, set by chest radiographs (the package's own: 12%)"),
    ],
)
def test_a_probability_says_for_which_prevalence_it_holds_and_who_set_it(image, templates, prevalence, words):
    finding = Finding(NODULE, present=False, probability=0.2, prevalence=Prevalence(prevalence, 0.12))
    answer = answer_about(image, [finding], route="chest radiographs")
    (group,) = groups_of(report_of(answer, templates))
    (told,) = children(group, "Prevalence that the probability holds for")
    assert told.MeasuredValueSequence[0].NumericValue == 100 * prevalence
    assert children(told, "Comment")[0].TextValue == words
    written = describe(answer)[0]["prevalence"]
    assert (written["value"], written["stated"]) == (prevalence, 0.12)
    assert (written["log_odds_added"] == 0) == (prevalence == 0.12)


def test_a_report_that_replaces_another_names_it_as_predecessor(image, templates):
    earlier = [
        EarlierResult(SR, "1.2.3.4", "1.2.3"),
        EarlierResult("1.2.840.10008.5.1.4.1.1.7", "1.2.3.5", "1.2.6"),
        EarlierResult(KeyObjectSelectionDocumentStorage, "1.2.3.6", "1.2.7"),
    ]
    answer = answer_about(image, revision=2, supersedes=("1.2.3.4", "1.2.3.5", "1.2.3.6"))
    report = report_of(answer, templates, previous=earlier)
    (study,) = report.PredecessorDocumentsSequence
    assert study.StudyInstanceUID == image.header.StudyInstanceUID
    (series,) = study.ReferencedSeriesSequence
    (document,) = series.ReferencedSOPSequence
    assert (series.SeriesInstanceUID, document.ReferencedSOPInstanceUID) == ("1.2.3", "1.2.3.4")
    assert report.SeriesDescription.endswith("rev 2, replaces 1")
    assert any(
        "Revision 2" in content_item.TextValue for content_item in walk(report) if content_item.ValueType == "TEXT"
    )


def test_a_report_of_a_run_with_other_results_says_so(image, templates):
    report = report_of(answer_about(image, run=2, supersedes=("1.2.3.4",)), templates)
    assert report.SeriesDescription.endswith("rev 1.2, replaces 1")
    assert any(
        "Revision 1.2, replaces" in content_item.TextValue
        for content_item in walk(report)
        if content_item.ValueType == "TEXT"
    )


def test_a_first_report_has_no_predecessor(image, templates):
    assert "PredecessorDocumentsSequence" not in report_of(answer_about(image), templates)


def test_a_regression_value_and_a_segments_volume_are_measured_in_their_units(image, templates):
    groups = groups_of(report_of(rich_answer(image), templates))
    age = next(group for group in groups if children(group, "Age"))
    assert value(children(age, "Value predicted by the model")[0]) == 61.5
    segment = next(group for group in groups if children(group, "Heart segment"))
    (volume,) = children(segment, "Volume")
    assert value(volume) == 612.0
    assert volume.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "ml"


@pytest.mark.parametrize(("stated", "verdict"), [({}, []), ({"threshold": 60.0}, ["Present"])])
def test_a_number_without_a_threshold_is_neither_present_nor_absent(image, templates, stated, verdict):
    """A package that says of no value that it is a finding would have every age coded as 'present'."""
    age = Finding(TargetSpec(name="Age", **stated), present=True, probability=None, value=61.5)
    answer = answer_about(image, [age])
    (group,) = groups_of(report_of(answer, templates, kinds=["sr"]))
    coded = [content_item for content_item in children(group, "Age") if content_item.ValueType == "CODE"]
    assert [content_item.ConceptCodeSequence[0].CodeMeaning for content_item in coded] == verdict
    assert [value(content_item) for item in coded for content_item in walk(item)] == list(stated.values())
    assert describe(answer, [])[0]["threshold"] == stated.get("threshold")
    assert describe(answer, [])[0]["present"] is (True if verdict else None)


@pytest.mark.parametrize("number", [61.5, 0.4, -3.0])
def test_a_number_without_a_threshold_is_sought_whatever_it_is(number):
    """The threshold that targets have where none is stated says nothing of a bone age: it is shown and explained."""
    age = Finding(TargetSpec(name="Age"), present=number >= 0.5, probability=None, value=number)
    stated = Finding(TargetSpec(name="Age", threshold=60.0), present=number >= 60, probability=None, value=number)
    assert (age.verdict, age.is_sought) == (None, True)
    assert (stated.verdict, stated.is_sought) == (number >= 60, number >= 60)


def test_dsrdump_reads_the_report_of_every_source(any_image, templates, dsrdump):
    text = dsrdump(encode(build_results(answer_about(any_image), FOUR_KINDS, templates)[-1].dataset))
    assert "Comprehensive 3D SR" in text
    assert text.count("Measurement Group") == 3, "two findings, and the outline of one of them"
    assert "Visual explanation" in text
    assert "Cardiomegaly" in text


def test_a_report_alone_refers_to_the_images_only(image, templates):
    report = report_of(answer_about(image), templates, kinds=["sr"])
    listed = {
        content_item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for content_item in walk(report)
        if content_item.ValueType == "IMAGE"
    }
    assert listed == set(image.headers)


def test_parametric_maps_code_what_they_measure(image, templates):
    lit = blob(image, centre_of(image))
    maps = tuple(a_map(image, lit, method=method) for method in ("grad-cam", "score-cam", "occlusion"))
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=maps)])
    quantities = [
        result.dataset.SharedFunctionalGroupsSequence[0]
        .RealWorldValueMappingSequence[0]
        .QuantityDefinitionSequence[0]
        .ConceptCodeSequence[0]
        .CodeValue
        for result in build_results(answer, ["pm"], templates)
    ]
    assert quantities == ["130403", "130402", "130404"]


def test_a_signed_map_stays_signed_and_its_window_lies_around_zero(templates):
    for name in ("tilted CT, Japanese", "DX, Japanese"):
        image = image_named(name)
        lit = blob(image, centre_of(image))
        signed = lit - 2 * np.roll(lit, 5, axis=2)
        source_map = a_map(image, signed, method="integrated-gradients", signed=True)
        answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(source_map,))])
        heatmap = read(encode(build_results(answer, ["pm"], templates)[0].dataset))
        np.testing.assert_array_equal(heatmap.pixel_array.reshape(image.shape), source_map.values)
        shared = heatmap.SharedFunctionalGroupsSequence[0]
        mapping = shared.RealWorldValueMappingSequence[0]
        assert mapping.DoubleFloatRealWorldValueFirstValueMapped == source_map.values.min() < 0
        assert mapping.DoubleFloatRealWorldValueLastValueMapped == source_map.values.max()
        window = shared.FrameVOILUTSequence[0]
        assert (float(window.WindowCenter), window.VOILUTFunction) == (0.0, "LINEAR_EXACT")
        assert float(window.WindowWidth) == pytest.approx(2 * np.abs(source_map.values).max())


def test_the_description_of_an_answer_is_json_and_names_no_patient(image, templates):
    described = describe(replace(rich_answer(image), revision=3))
    text = json.dumps(described)
    assert "Yamada" not in text
    assert "SYNTH" not in text
    first, second = described[:2]
    assert (first["finding"], first["probability"], first["revision"]) == ("Cardiomegaly", 0.9, 3)
    assert first["at"] == AT.isoformat()
    assert [explanation["quality"]["grade"] for explanation in first["explanations"]] == ["amber", "green", "red"]
    assert first["refused"] == {"lrp": "the model has no verified gradient engine"}
    assert second["explanations"][0]["withheld"]
    assert "region" not in second["explanations"][0]
