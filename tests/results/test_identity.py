"""Results belong to the patient and study that they are about, in whatever script the name is written."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from pydicom.dataelem import DataElement

import synthetic
from results.answers import FOUR_KINDS, KINDS_OF_A_MAP, PACKAGE, answer_about, image_of
from results.sources import SOURCES, image_named, read, tilted
from results.test_validity import rich_answer
from whyray.base.errors import ImageError
from whyray.base.identity import EQUIPMENT_MANUFACTURER, EQUIPMENT_MODEL
from whyray.results import EVERY_KIND, Refusal, build_results, encode
from whyray.routing import is_own_result

PATIENTS = {
    "Latin": synthetic.LATIN,
    "Japanese": synthetic.JAPANESE,
    "Cyrillic": synthetic.CYRILLIC,
    "Chinese": synthetic.UNICODE,
    "German": synthetic.Patient("Müller^Jörg", "DE-1", "ISO_IR 100"),
    "Greek": synthetic.Patient("Διονυσιος", "GR-1", "ISO_IR 126"),
    "Korean": synthetic.Patient("Hong^Gildong=洪^吉洞=홍^길동", "KR-1", ("", "ISO 2022 IR 149")),
    "half-width katakana": synthetic.Patient(
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "JP-2", ("ISO 2022 IR 13", "ISO 2022 IR 87")
    ),
}


@pytest.mark.parametrize("language", ["en", "de", "ja"])
@pytest.mark.parametrize("script", PATIENTS)
def test_a_patients_name_comes_through_in_any_script_and_wording(script, language, templates):
    patient = PATIENTS[script]
    image = image_of(tilted(patient))
    wording = templates.wording(language)
    kinds = FOUR_KINDS if language == "en" else ["sr"]
    for result in build_results(answer_about(image), kinds, templates, language=language):
        dataset = read(encode(result.dataset))
        assert str(dataset.PatientName) == patient.name
        assert dataset.PatientID == patient.identifier
        if result.kind == "sr":
            statements = [item.TextValue for item in dataset.ContentSequence[-1].ContentSequence]
            assert wording.not_for_diagnosis in statements


@pytest.mark.parametrize("script", PATIENTS)
def test_the_sources_character_set_is_kept_where_it_can_carry_all_words(script, templates):
    image = image_of(tilted(PATIENTS[script]))
    for result in build_results(answer_about(image), FOUR_KINDS, templates):
        assert result.dataset.SpecificCharacterSet == image.header.SpecificCharacterSet


@pytest.mark.parametrize("source", SOURCES)
def test_results_are_of_the_same_study_and_patient_in_new_series(source, templates):
    image = image_named(source)
    header = image.header
    series = set()
    for result in build_results(answer_about(image), FOUR_KINDS, templates):
        dataset = read(encode(result.dataset))
        assert dataset.StudyInstanceUID == header.StudyInstanceUID
        for keyword in ("PatientName", "PatientID", "AccessionNumber", "StudyID", "ReferringPhysicianName"):
            assert str(dataset[keyword].value or "") == str(header.get(keyword) or "")
        for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
            assert keyword in dataset
        series.add(dataset.SeriesInstanceUID)
    assert len(series) == 4
    assert header.SeriesInstanceUID not in series


def test_private_attributes_are_not_taken_over_at_any_depth(templates):
    sources = tilted()
    for source in sources:
        source.private_block(0x0011, "ACME", create=True).add_new(0x01, "LO", "secret")
        code = synthetic._item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="head CT")
        code.private_block(0x0011, "ACME", create=True).add_new(0x01, "LO", "secret")
        source.ProcedureCodeSequence = [code]
    for result in build_results(answer_about(image_of(sources)), FOUR_KINDS, templates):
        file = encode(result.dataset)
        assert b"secret" not in file
        assert read(file).ProcedureCodeSequence[0].CodeMeaning == "head CT"


def test_optional_attributes_with_invalid_values_are_left_behind(templates):
    sources = tilted()
    for source in sources:
        source.add(DataElement(0x00101010, "AS", "old", validation_mode=0))
        source.add(DataElement(0x00080020, "DA", "1997.04.24", validation_mode=0))
        source.add(DataElement(0x00100040, "CS", "W", validation_mode=0))
    for result in build_results(answer_about(image_of(sources)), FOUR_KINDS, templates):
        dataset = read(encode(result.dataset))
        assert "PatientAge" not in dataset
        assert dataset.StudyDate == "19970424"
        assert not dataset.PatientSex


def test_what_was_once_lossy_stays_marked_so(templates):
    sources = tilted()
    sources[4].LossyImageCompression = "01"
    sources[4].LossyImageCompressionRatio = "12.5"
    sources[4].LossyImageCompressionMethod = "ISO_10918_1"
    for result in build_results(answer_about(image_of(sources)), ["sc", "seg", "pm"], templates):
        assert result.dataset.LossyImageCompression == "01"
        assert result.dataset.LossyImageCompressionRatio == 12.5
        assert result.dataset.LossyImageCompressionMethod == "ISO_10918_1"


def test_a_time_is_written_in_the_zone_that_the_source_names(templates):
    sources = tilted()
    for source in sources:
        source.TimezoneOffsetFromUTC = "-0500"
    for result in build_results(answer_about(image_of(sources)), FOUR_KINDS, templates):
        assert result.dataset.TimezoneOffsetFromUTC == "-0500"
        assert result.dataset.ContentTime == "091617", "15:16:17 at +01:00"


def test_the_side_of_a_paired_organ_is_told(templates):
    for result in build_results(answer_about(image_named("MG, Cyrillic")), ["sc", "pm"], templates):
        groups = result.dataset.get("SharedFunctionalGroupsSequence")
        side = groups[0].FrameAnatomySequence[0].FrameLaterality if groups else result.dataset.Laterality
        assert side == "R"
        assert groups is None or "Laterality" not in result.dataset, "2C: not beside Frame Laterality"
    for result in build_results(answer_about(image_named("DX, Japanese")), ["sc", "pm"], templates):
        assert "Laterality" not in result.dataset


def test_a_deidentified_source_that_names_no_method_gives_valid_objects(templates, errors_of):
    sources = tilted()
    for source in sources:
        source.PatientIdentityRemoved = "YES"
    for result in build_results(answer_about(image_of(sources)), FOUR_KINDS, templates):
        assert result.dataset.PatientIdentityRemoved == "YES"
        assert errors_of(encode(result.dataset)) == []


def test_a_real_series_with_changing_tilt_and_distance_gives_valid_objects_in_place(shared_data, templates, errors_of):
    files = sorted(
        path for path in (shared_data / "head-ct" / "ge-human-28-variable-tilt").rglob("*") if path.is_file()
    )
    image = image_of(files)
    assert len(image.frames) == 28
    for result in build_results(answer_about(image), FOUR_KINDS, templates):
        assert errors_of(encode(result.dataset)) == []
        if result.kind in ("seg", "pm"):
            for frame, group in zip(image.frames, result.dataset.PerFrameFunctionalGroupsSequence, strict=True):
                header = image.headers[frame.sop_instance_uid]
                assert list(group.PlanePositionSequence[0].ImagePositionPatient) == list(header.ImagePositionPatient)


def test_names_with_backslashes_and_line_breaks_stay_one_value(templates, errors_of):
    image = image_named("tilted CT, Japanese")
    answer = answer_about(image)
    odd = answer.findings[0].target.model_copy(update={"name": "Mass\\nodule\n" + "long " * 20, "code": None})
    odd_finding = replace(
        answer.findings[0], target=odd, refused={"lrp": Refusal("defect", "failed:\n\tout of memory")}
    )
    answer = replace(answer, findings=(odd_finding, replace(odd_finding, maps=())))
    for result in build_results(answer, EVERY_KIND, templates):
        dataset = read(encode(result.dataset))
        assert errors_of(encode(result.dataset)) == []
        if result.kind == "seg":
            assert dataset.SegmentSequence[0].SegmentLabel.startswith("Mass/nodule long")


def test_a_source_without_a_uid_that_results_have_to_name_is_refused(templates):
    image = image_named("tilted CT, Japanese")
    headers = {uid: deepcopy(header) for uid, header in image.headers.items()}
    del headers[image.frames[3].sop_instance_uid].SeriesInstanceUID
    with pytest.raises(ImageError, match="has no SeriesInstanceUID"):
        build_results(answer_about(replace(image, headers=headers)), ["sr"], templates)


def test_an_attribute_with_several_values_keeps_them(templates):
    sources = tilted()
    for source in sources:
        source.AccessionNumber = ["A1", "A2"]
    for result in build_results(answer_about(image_of(sources)), ["pm"], templates):
        assert list(read(encode(result.dataset)).AccessionNumber) == ["A1", "A2"]


def test_a_result_is_known_as_whyrays_own_whatever_a_site_calls_its_equipment(dx_image, templates):
    names = {"manufacturer": "Radiology AI", "model": "Insight", "serial_number": "42"}
    renamed = replace(templates, equipment=templates.equipment.model_copy(update=names))
    package = replace(PACKAGE, title="Findings", manufacturer="Somebody else")
    results = build_results(replace(rich_answer(dx_image), package=package), EVERY_KIND, renamed)
    assert {result.kind for result in results} == set(KINDS_OF_A_MAP)
    for result in results:
        dataset = read(encode(result.dataset))
        (own,) = [
            equipment
            for equipment in dataset.ContributingEquipmentSequence
            if (equipment.Manufacturer, equipment.get("ManufacturerModelName"))
            == (EQUIPMENT_MANUFACTURER, EQUIPMENT_MODEL)
        ]
        assert own.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert is_own_result(dataset, None, lambda _: False) == "it names WhyRay as contributing equipment"
