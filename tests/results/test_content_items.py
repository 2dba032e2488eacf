"""Content items and groups of the report are highdicom's, byte for byte, made without its constructors."""

from __future__ import annotations

from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import Comprehensive3DSRStorage, CTImageStorage, ExplicitVRLittleEndian

from results.answers import FOUR_KINDS
from results.sources import image_named, read
from results.test_encoding import by_pydicom
from results.test_report import groups_of
from results.test_validity import rich_answer
from whyray.base.coded_concept import CodedConcept
from whyray.results import build_results, encode
from whyray.results import content_items as sr
from whyray.results.coding import dcm, item
from whyray.results.encoding import encoded_file

NAME = CodedConcept(value="a name", scheme="99TEST", meaning="Größe")
LONG = CodedConcept(value="a-value-of-more-than-16", scheme="99TEST", meaning="Long")
UNIT = CodedConcept(value="mm2", scheme="UCUM", meaning="square millimeter")
AN_IMAGE = Dataset()
AN_IMAGE.SOPClassUID, AN_IMAGE.SOPInstanceUID = CTImageStorage, "2.25.7"


def document(*items: Dataset) -> Dataset:
    """A file whose content these items are."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = Comprehensive3DSRStorage, "2.25.1"
    made.ContentSequence = list(items)
    return made


def highdicom_number(value: float) -> Dataset:
    made = highdicom.sr.NumContentItem(item(NAME), value, item(UNIT), relationship_type="CONTAINS")
    made.MeasuredValueSequence[0].NumericValue = f"{value:.12g}"
    return made


def highdicom_region(points: np.ndarray) -> Dataset:
    made = highdicom.sr.ScoordContentItem(
        item(dcm("111030", "Image Region")), "POLYLINE", np.vstack([points, points[:1]]), relationship_type="CONTAINS"
    )
    made.ContentSequence = [highdicom.sr.SourceImageForRegion(CTImageStorage, "2.25.7", [3])]
    return made


def highdicom_image(**of_it: Any) -> Dataset:
    return highdicom.sr.ImageContentItem(item(NAME), CTImageStorage, "2.25.7", relationship_type="CONTAINS", **of_it)


SQUARE = np.array([[1.5, 2.0], [9.25, 2.0], [9.25, 7.125], [1.5, 7.125]])
PAIRS = {
    "text": (
        sr.text("HAS PROPERTIES", NAME, "say \\ 心臓"),
        highdicom.sr.TextContentItem(item(NAME), "say \\ 心臓", "HAS PROPERTIES"),
    ),
    "code": (
        sr.code("HAS CONCEPT MOD", NAME, LONG),
        highdicom.sr.CodeContentItem(item(NAME), item(LONG), "HAS CONCEPT MOD"),
    ),
    "uid": (
        sr.uid("HAS OBS CONTEXT", NAME, "2.25.9"),
        highdicom.sr.UIDRefContentItem(item(NAME), "2.25.9", "HAS OBS CONTEXT"),
    ),
    "number": (sr.number("CONTAINS", NAME, 57.125, UNIT), highdicom_number(57.125)),
    "small number": (sr.number("CONTAINS", NAME, np.float64(-3.25e-21), UNIT), highdicom_number(-3.25e-21)),
    "image": (sr.image(NAME, AN_IMAGE), highdicom_image()),
    "frame": (sr.image(NAME, AN_IMAGE, frames=[4]), highdicom_image(referenced_frame_numbers=[4])),
    "frames": (sr.image(NAME, AN_IMAGE, frames=[4, 2]), highdicom_image(referenced_frame_numbers=[4, 2])),
    "segment": (sr.image(NAME, AN_IMAGE, segment=5), highdicom_image(referenced_segment_numbers=5)),
    "outline": (sr.outline(SQUARE, AN_IMAGE, [3]), highdicom_region(SQUARE)),
    "container": (
        sr.container(NAME, [], template="1500"),
        highdicom.sr.ContainerContentItem(item(NAME), False, "1500", "CONTAINS"),
    ),
    "root": (sr.container(NAME, [], root=True), highdicom.sr.ContainerContentItem(item(NAME), False)),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_an_item_is_written_as_highdicoms_is_by_pydicom(kind: str) -> None:
    ours, theirs = PAIRS[kind]
    assert encoded_file(document(ours)) == by_pydicom(document(theirs))
    assert by_pydicom(document(ours)) == by_pydicom(document(theirs))


def test_a_value_that_is_not_finite_has_a_qualifier_and_no_number() -> None:
    made = sr.number("CONTAINS", NAME, float("nan"), UNIT)
    assert list(made.MeasuredValueSequence) == []
    assert made.NumericValueQualifierCodeSequence[0].CodeValue == "114000"


def test_children_follow_what_an_item_says_itself() -> None:
    inner = sr.text("HAS PROPERTIES", NAME, "inner")
    made = read(encoded_file(document(sr.code("CONTAINS", NAME, LONG, [inner])))).ContentSequence[0]
    assert [child.TextValue for child in made.ContentSequence] == ["inner"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", "plain"),
        ("two\nlines", "two\r\nlines"),
        ("two\x85lines", "two\r\nlines"),
        ("a\tb\x00c", "a b c"),
        ("", ""),
        ("no\N{NO-BREAK SPACE}break", "no\N{NO-BREAK SPACE}break"),
    ],
)
def test_control_characters_are_spaces_and_lines_end_as_dicom_wants(text: str, written: str) -> None:
    assert sr.plain_text(text) == written


def head_by_highdicom(group: Dataset) -> list[Dataset]:
    """The group's first items as highdicom makes them of what these say."""
    said: dict[str, list[Any]] = {}
    for child in group.ContentSequence:
        value = child.get("TextValue") or child.get("UID") or child.get("ConceptCodeSequence", [None])[0]
        said.setdefault(child.ConceptNameCodeSequence[0].CodeMeaning, []).append((value, child))

    def code(value: Dataset) -> highdicom.sr.CodedConcept:
        return highdicom.sr.CodedConcept(value.CodeValue, value.CodingSchemeDesignator, value.CodeMeaning)

    sites = [
        highdicom.sr.FindingSite(
            code(value), *(code(side.ConceptCodeSequence[0]) for side in child.get("ContentSequence", []))
        )
        for value, child in said.get("Finding Site", [])
    ]
    return list(
        highdicom.sr.MeasurementsAndQualitativeEvaluations(
            highdicom.sr.TrackingIdentifier(
                said["Tracking Unique Identifier"][0][0], said["Tracking Identifier"][0][0]
            ),
            finding_type=code(said["Finding"][0][0]),
            finding_sites=sites,
            algorithm_id=highdicom.sr.AlgorithmIdentification(
                said["Algorithm Name"][0][0],
                said["Algorithm Version"][0][0],
                [value for value, _ in said["Algorithm Parameters"]],
            ),
        )[0].ContentSequence
    )


@pytest.mark.parametrize("name", ["tilted CT, Japanese", "MG, Cyrillic", "real chest CR"])
def test_groups_begin_as_highdicoms_do(name: str, templates: Any) -> None:
    report = read(encode(build_results(rich_answer(image_named(name)), FOUR_KINDS, templates)[-1].dataset))
    templates_seen = set()
    for group in groups_of(report):
        templates_seen.add(group.ContentTemplateSequence[0].TemplateIdentifier)
        expected = head_by_highdicom(group)
        first = list(group.ContentSequence)[: len(expected)]
        assert by_pydicom(document(*first)) == by_pydicom(document(*expected))
    assert templates_seen == ({"1410", "1411", "1501"} if "CT" in name else {"1410", "1501"})
