"""An attribute that has nothing to do with the results never costs them, whatever stands in it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

import synthetic
from results.answers import AT, KINDS_OF_A_MAP, answer_about, image_of
from results.odd_files import write_raw
from results.sources import read, tilted
from whyray.base.errors import ImageError
from whyray.imaging import is_segmentation, read_images, structures_of_study
from whyray.results import EVERY_KIND, build_results, encode
from whyray.results.header import invalid_attributes

# What results and pages read of a source beside its pixels and geometry.
READ_BY_RESULTS = [
    "AccessionNumber",
    "BodyPartExamined",
    "BurnedInAnnotation",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "DeviceSerialNumber",
    "FrameAnatomySequence",
    "ImageLaterality",
    "InstitutionName",
    "IssuerOfAccessionNumberSequence",
    "Laterality",
    "LossyImageCompression",
    "LossyImageCompressionMethod",
    "LossyImageCompressionRatio",
    "Manufacturer",
    "ManufacturerModelName",
    "OtherPatientIDsSequence",
    "PatientAge",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientComments",
    "PatientID",
    "PatientIdentityRemoved",
    "PatientName",
    "PatientSex",
    "PatientSize",
    "PatientWeight",
    "PhysiciansOfRecord",
    "PositionReferenceIndicator",
    "ProcedureCodeSequence",
    "RecognizableVisualFeatures",
    "ReferringPhysicianIdentificationSequence",
    "ReferringPhysicianName",
    "RequestAttributesSequence",
    "ResponsiblePerson",
    "ReferencedPatientSequence",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "SoftwareVersions",
    "StationName",
    "StudyDate",
    "StudyDescription",
    "StudyID",
    "StudyTime",
    "TimezoneOffsetFromUTC",
]
ODD_VALUES = {
    "an unknown VR": ("ZZ", b"ab"),
    "half a number": ("FD", b"abcd"),
    "bytes for text": ("OB", b"\x00\xff\x00\xff"),
    "a sequence of one empty item": ("SQ", b"\xfe\xff\x00\xe0\x00\x00\x00\x00"),
    "what is no item": ("SQ", b"abcdefgh"),
    "text for a sequence": ("LO", b"text"),
    "text in no character set": ("LO", b"\xff\xfe\xe3\x81 "),
    "two values": ("LO", b"a\\b "),
    "blanks": ("LO", b"    "),
    "control characters": ("LO", b"\x01\x1b$B\x0c\x7f"),
    "digits without end": ("LO", b"9" * 80),
    "no value": ("LO", b""),
}


def radiograph(character_set: str | tuple[str, ...] = "ISO_IR 100") -> Dataset:
    patient = synthetic.Patient("Doe^Jane", "ID-7", character_set)
    return synthetic.radiograph(np.arange(60 * 40).reshape(60, 40), modality="CR", patient=patient)


def results_of(path: Path, templates):
    image = image_of([path])
    made = build_results(answer_about(image), EVERY_KIND, templates)
    assert {result.kind for result in made} == set(KINDS_OF_A_MAP)
    return image, [read(encode(result.dataset)) for result in made]


@pytest.mark.parametrize("character_set", ["", "ISO_IR 6", "ISO_IR 100", "ISO_IR 192", ("", "ISO 2022 IR 87"), "NONE"])
def test_an_element_that_cannot_be_read_has_nothing_to_do_with_the_results(character_set, templates, tmp_path):
    odd = {
        0x00291001: ("ZZ", b"ab"),
        0x00291002: ("FD", b"abc "),
        0x00291003: ("SQ", b"abcdefgh"),
        "OperatorsName": ("ZZ", b"ab"),
        "ScheduledProcedureStepStartDate": ("UL", b"abc "),
        "DerivationDescription": ("QQ", b"ab"),
    }
    _, made = results_of(write_raw(radiograph(character_set), odd, tmp_path / "odd.dcm"), templates)
    for dataset in made:
        assert (str(dataset.PatientName), dataset.PatientID, dataset.StudyDate) == ("Doe^Jane", "ID-7", "20260102")


def test_a_private_element_of_implicit_vr_whose_length_its_creators_dictionary_contradicts_is_left_alone(
    templates, tmp_path
):
    source = tilted(synthetic.Patient("Doe^Jane", "ID-7", ""))[0]
    del source.SpecificCharacterSet
    source.add_new(0x00190010, "LO", "GEMS_ACQU_01")
    source.add_new(0x00191005, "UN", b"abc ")
    source.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    source.save_as(tmp_path / "odd.dcm", enforce_file_format=True)
    _, made = results_of(tmp_path / "odd.dcm", templates)
    assert {str(dataset.PatientName) for dataset in made} == {"Doe^Jane"}


@pytest.mark.parametrize("odd", ODD_VALUES)
@pytest.mark.parametrize("character_set", ["", "ISO_IR 192"])
def test_no_value_of_any_attribute_that_results_read_costs_them(odd, character_set, templates, errors_of, tmp_path):
    raw = dict.fromkeys(READ_BY_RESULTS, ODD_VALUES[odd])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a library's warning would quote the value, which may be the patient's
        image, made = results_of(write_raw(radiograph(character_set), raw, tmp_path / "odd.dcm"), templates)
    for dataset in made:
        assert dataset.StudyInstanceUID == image.header.StudyInstanceUID
        assert (dataset.StudyDate, dataset.StudyTime, dataset.PatientBirthDate, dataset.PatientSex) == ("",) * 4
        assert "TimezoneOffsetFromUTC" not in dataset
        assert "RequestAttributesSequence" not in dataset


@pytest.mark.parametrize(("declared", "kept"), [("ISO-IR 100", "ISO_IR 100"), ("LATIN9", None), ("", None)])
def test_a_character_set_that_there_is_not_is_not_declared_again(declared, kept, templates, errors_of, tmp_path):
    raw = {
        "SpecificCharacterSet": ("CS", declared.encode().ljust(len(declared) + len(declared) % 2)),
        "PatientName": ("PN", b"M\xfcller^J\xf6rg "),
    }
    _, made = results_of(write_raw(radiograph(), raw, tmp_path / "set.dcm"), templates)
    for dataset in made:
        assert dataset.get("SpecificCharacterSet") == kept
        assert dataset.get_item("PatientName").value == b"M\xfcller^J\xf6rg ", "byte for byte as it came"
        assert kept is None or errors_of(encode(dataset)) == []


def test_an_attribute_that_cannot_be_read_is_noted_by_its_name_and_place_without_its_value(tmp_path):
    item = b"\xfe\xff\x00\xe0\x0a\x00\x00\x00" + b"\x08\x00\x00\x01ZZ\x02\x00ab"
    raw = {"PatientID": ("OB", b"secret"), "AccessionNumber": ("ZZ", b"secret"), "ProcedureCodeSequence": ("SQ", item)}
    image = image_of([write_raw(radiograph(), raw, tmp_path / "odd.dcm")])
    notes = [str(note) for note in image.notes]
    for named in (
        "Accession Number (0008,0050): found 6 bytes of type ZZ",
        "Patient ID (0010,0020): found 6 bytes of type OB",
        "Procedure Code Sequence (0008,1032) item 1, Code Value (0008,0100): found 2 bytes of type ZZ",
    ):
        assert any(note.startswith(named) for note in notes), notes
    assert not any("secret" in note for note in notes)


def test_one_slice_with_an_attribute_that_cannot_be_read_keeps_its_place_in_the_volume(templates, tmp_path):
    sources = tilted()
    paths = synthetic.write(sources, tmp_path)
    write_raw(sources[3], {"OperatorsName": ("ZZ", b"ab"), "LossyImageCompression": ("ZZ", b"ab")}, paths[3])
    image = image_of(paths)
    assert len(image.frames) == len(paths)
    (note,) = [str(note) for note in image.notes if "Operators" in str(note)]
    assert f"in 1 of {len(paths)} frames" in note
    assert sources[3].SOPInstanceUID in note
    assert len(build_results(answer_about(image), ["seg"], templates)) == 1


@pytest.mark.parametrize("value", [b"thick ", b"1\\2 ", b"0 ", b"-2", b"nan ", b""])
def test_a_slice_thickness_that_is_none_is_measured_between_the_slices(value, templates, errors_of, tmp_path):
    planes = synthetic.stack(3, (24, 20), distance=3.0)
    sources = synthetic.slices(synthetic.volume_of(planes, synthetic.ball((0, 0, 0), 5)), planes)
    paths = [
        write_raw(source, {"SliceThickness": ("LO", value)}, tmp_path / f"{number}.dcm")
        for number, source in enumerate(sources)
    ]
    for result in build_results(answer_about(image_of(paths)), ["seg", "pm"], templates):
        (measures,) = result.dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        assert measures.SliceThickness == 3
        assert errors_of(encode(result.dataset)) == []


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID"])
@pytest.mark.parametrize(
    "odd", [("ZZ", b"ab"), ("OB", b"1.2.3 "), ("UI", b"1.2\\1.3\0"), ODD_VALUES["what is no item"]]
)
def test_a_file_whose_identity_cannot_be_read_is_refused_by_name_and_the_others_are_used(keyword, odd, tmp_path):
    odd = write_raw(radiograph(), {keyword: odd}, tmp_path / "odd.dcm")
    whole = write_raw(radiograph(), {}, tmp_path / "whole.dcm")
    study_images = read_images([odd, whole])
    assert len(study_images.images) == 1
    (refusal,) = study_images.refusals
    assert isinstance(refusal.error, ImageError)
    assert refusal.source == odd
    assert not is_segmentation(odd)


def test_a_segmentation_that_cannot_be_read_costs_no_other_anatomy_and_no_image(templates, tmp_path):
    (path,) = synthetic.write([radiograph()], tmp_path / "source")
    image = image_of([path])
    (result,) = build_results(answer_about(image), ["seg"], templates)
    file = encode(result.dataset)
    for name, content in {
        "cut": file[: len(file) // 2],
        "uid": file.replace(b"\x08\x00\x18\x00UI", b"\x08\x00\x18\x00ZZ"),
        "sequence": file.replace(b"\x62\x00\x02\x00SQ", b"\x62\x00\x02\x00OB"),
    }.items():
        (tmp_path / name).write_bytes(content)
    structures = structures_of_study([tmp_path / name for name in ("cut", "uid", "sequence")], image)
    assert structures.structures == ()
    assert {refusal.source.name for refusal in structures.refusals} == {"cut", "uid", "sequence"}
    assert all(isinstance(refusal.error, ImageError) for refusal in structures.refusals)


@pytest.mark.parametrize("nested", [False, True])
def test_sequences_nested_deeper_than_the_stack_are_borne(nested, templates, tmp_path):
    """Of defined length, which no reader has to follow to find the next attribute."""
    inner = b""
    for _ in range(2000):
        item = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
        inner = b"\x08\x00\x32\x10SQ\x00\x00" + len(item).to_bytes(4, "little") + item
    deep = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
    where = "ProcedureCodeSequence" if nested else "OriginalAttributesSequence"
    _, made = results_of(write_raw(radiograph(""), {where: ("SQ", deep)}, tmp_path / "deep.dcm"), templates)
    assert all("ProcedureCodeSequence" not in dataset for dataset in made)


@pytest.mark.parametrize(
    "zone", ["+2500", "+2400", "-1300", "+1401", "+0060", "+01-3", "-0000", "0100", "+1", "UTC", "+0100\\+0200"]
)
def test_a_zone_that_there_is_not_gives_results_in_the_answers_own(zone, templates, errors_of, tmp_path):
    raw = {"TimezoneOffsetFromUTC": ("SH", zone.encode().ljust(len(zone) + len(zone) % 2))}
    image, made = results_of(write_raw(radiograph(), raw, tmp_path / "zone.dcm"), templates)
    for dataset in made:
        assert dataset.SeriesTime == AT.strftime("%H%M%S")
        assert "TimezoneOffsetFromUTC" not in dataset
        assert errors_of(encode(dataset)) == []
    assert any("Timezone Offset From UTC (0008,0201)" in str(note) for note in invalid_attributes(image.header))


@pytest.mark.parametrize(("zone", "time"), [("+1400", "041617"), ("-1200", "021617"), ("+0545", "200117")])
def test_a_zone_at_the_edge_of_the_world_is_one(zone, time, templates, tmp_path):
    raw = {"TimezoneOffsetFromUTC": ("SH", zone.encode() + b" ")}
    _, made = results_of(write_raw(radiograph(), raw, tmp_path / "zone.dcm"), templates)
    assert {(dataset.TimezoneOffsetFromUTC, dataset.SeriesTime) for dataset in made} == {(zone, time)}


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("20260230", ""),
        ("20261301", ""),
        ("00000000", ""),
        ("2026", ""),
        ("2026-02-03", ""),
        ("20260203-20260204", ""),
        ("20260203\\20260204", ""),
        ("yesterday", ""),
        ("20240229", "20240229"),
        ("1997.04.24", "19970424"),
    ],
)
def test_a_date_that_is_not_in_the_calendar_is_emptied_and_noted(written, taken, templates, errors_of, tmp_path):
    value = written.encode().ljust(len(written) + len(written) % 2)
    raw = {"StudyDate": ("DA", value), "PatientBirthDate": ("DA", value)}
    image, made = results_of(write_raw(radiograph(), raw, tmp_path / "date.dcm"), templates)
    for dataset in made:
        assert (dataset.StudyDate, dataset.PatientBirthDate) == (taken, taken)
        assert errors_of(encode(dataset)) == []
    notes = [str(note) for note in invalid_attributes(image.header)]
    assert len(notes) == (0 if taken else 2)
    assert not any("Birth Date" in note and written in note for note in notes), "the patient's values are not quoted"
    assert taken or any(note.startswith(f"Study Date (0008,0020) '{written}'") for note in notes) or "\\" in written


@pytest.mark.parametrize(
    ("written", "taken"),
    [("250000", ""), ("126000", ""), ("noon", ""), ("10:15", "1015"), ("101560", "101560"), ("101500.1234567", "")],
)
def test_a_time_that_no_clock_shows_is_emptied(written, taken, templates, tmp_path):
    value = written.encode().ljust(len(written) + len(written) % 2)
    _, made = results_of(write_raw(radiograph(), {"StudyTime": ("TM", value)}, tmp_path / "time.dcm"), templates)
    assert {dataset.StudyTime for dataset in made} == {taken}


def test_a_coded_entry_without_code_scheme_or_meaning_is_left_out_and_the_others_stay(templates, errors_of, tmp_path):
    source = radiograph()
    whole = synthetic._item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="chest PA")
    source.ProcedureCodeSequence = [
        whole,
        synthetic._item(CodeValue="2", CodingSchemeDesignator="99X"),
        synthetic._item(CodeValue="3", CodeMeaning="without scheme"),
        synthetic._item(CodingSchemeDesignator="99X", CodeMeaning="without code"),
    ]
    source.AnatomicRegionSequence = [synthetic._item(CodeMeaning="Chest")]
    image, made = results_of(write_raw(source, {}, tmp_path / "codes.dcm"), templates)
    for dataset in made:
        assert [code.CodeMeaning for code in dataset.ProcedureCodeSequence] == ["chest PA"]
        assert "AnatomicRegionSequence" not in dataset
        assert errors_of(encode(dataset)) == []
    assert any("Procedure Code Sequence (0008,1032)" in str(note) for note in invalid_attributes(image.header))
