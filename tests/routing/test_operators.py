"""The operators agree with what plain Python says of the same values."""

from __future__ import annotations

import re
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from whyray.config import AllOf, AnyOf, Clause, Condition, Not, Route, parse_condition
from whyray.config.conditions import write_condition
from whyray.routing import match_series

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # the headers are malformed on purpose

WORD = st.text("abAB 0", min_size=1, max_size=5).filter(lambda text: text.strip() == text)
WORDS = st.lists(WORD, max_size=3)


def holds(condition: object, header: Dataset) -> bool:
    route = Route.model_validate({"name": "r", "when": condition, "run": "p"})
    return match_series(route, header).matched


def with_texts(texts: list[str]) -> Dataset:
    header = Dataset()
    header.add_new("OtherPatientIDs", "LO", texts)
    return header


def ask(operator: str, wanted: object, texts: list[str]) -> bool:
    return holds({"OtherPatientIDs": {operator: wanted}}, with_texts(texts))


@given(WORD, WORDS)
def test_equals_means_that_one_value_is_the_same(wanted: str, texts: list[str]) -> None:
    assert ask("equals", wanted, texts) == (wanted in texts)


@given(st.lists(WORD, min_size=1, max_size=3), WORDS)
def test_in_means_that_one_value_is_one_of_these(wanted: list[str], texts: list[str]) -> None:
    assert ask("in", wanted, texts) == bool(set(wanted) & set(texts))


@given(WORD, WORDS)
def test_contains_ignores_case(wanted: str, texts: list[str]) -> None:
    assert ask("contains", wanted, texts) == any(wanted.lower() in text.lower() for text in texts)


@given(st.text("ab.^$", min_size=1, max_size=4), WORDS)
def test_matches_searches(pattern: str, texts: list[str]) -> None:
    assert ask("matches", pattern, texts) == any(re.search(pattern, text) for text in texts)


@given(st.integers(-50, 50), st.integers(-50, 50), st.lists(st.integers(-60, 60), max_size=3))
def test_range_includes_its_ends(low: int, high: int, values: list[int]) -> None:
    low, high = sorted((low, high))
    header = Dataset()
    header.WindowCenter = [str(value) for value in values]
    for bounds, expected in (
        ({"min": low, "max": high}, any(low <= value <= high for value in values)),
        ({"min": low}, any(low <= value for value in values)),
        ({"max": high}, any(value <= high for value in values)),
    ):
        assert holds({"WindowCenter": {"range": bounds}}, header) == expected


@given(st.dates(), st.dates(), st.dates())
def test_range_of_dates(first: object, last: object, study_date: object) -> None:
    first, last = sorted((str(first), str(last)))
    header = Dataset()
    header.StudyDate = str(study_date).replace("-", "")
    assert holds({"StudyDate": {"range": {"min": first, "max": last}}}, header) == (first <= str(study_date) <= last)


@pytest.mark.parametrize(
    ("keyword", "value", "low", "high", "expected"),
    [
        ("StudyTime", "083000.5", "0830", "0830", True),
        ("StudyTime", "0831", "0830", "0830", False),
        ("StudyTime", "08:30:00", "08", "09", True),
        ("StudyTime", "", "00", "24", False),
        ("AcquisitionDateTime", "20260131083000.123456+0100", "20260131", "20260131", True),
        ("AcquisitionDateTime", "2025", "2025", "2025", True),
        ("AcquisitionDateTime", "20260201", "20260131", "20260131", False),
        ("PatientAge", "018Y", "18Y", "120Y", True),
        ("PatientAge", "017Y", "18Y", "120Y", False),
        ("PatientAge", "012M", "1Y", "2Y", True),
        ("PatientAge", "old", "18Y", "120Y", False),
        ("StudyDate", "2026.01.31", "20260131", "20260131", True),
    ],
)
def test_ranges_of_times_and_ages(keyword: str, value: str, low: str, high: str, expected: bool) -> None:
    header = Dataset()
    setattr(header, keyword, value)
    assert holds({keyword: {"range": {"min": low, "max": high}}}, header) is expected


def test_numbers_are_compared_as_numbers() -> None:
    header = Dataset()
    header.SliceThickness = "1.50"
    header.Rows = 512
    assert holds({"SliceThickness": 1.5, "Rows": "512"}, header)
    assert holds({"SliceThickness": {"in": ["0", "15e-1"]}}, header)
    assert not holds({"SliceThickness": 1.51}, header)


LEAVES = st.sampled_from(
    [
        {"Modality": "CT"},
        {"Modality": {"in": ["MR", "CT"]}},
        {"Modality": {"not_in": ["MR"]}},
        {"ImageType": {"contains": "primary"}},
        {"ImageType": {"not_contains": "localizer"}},
        {"SliceThickness": {"range": {"min": 2}}},
        {"PatientName": {"absent_or_matches": "^A"}},
        {"BodyPartExamined": {"absent_or_in": ["HEAD"]}},
        {"BodyPartExamined": {"present": True}},
        {"PixelData": {"absent": True}},
        {"RequestAttributesSequence.StudyInstanceUID": {"present": True}},
        {"(0009,GEMS_IDEN_01,02)": {"contains": "CT"}},
        {"(0019,1010)": {"absent": False}},
        {"TransferSyntaxUID": {"contains": "1.2"}},
        {},
    ]
)
CONDITIONS: st.SearchStrategy[dict[str, object]] = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda part: {"not": part}, inner)
        | st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=6,
)


def _headers() -> list[Dataset]:
    headers = []
    # Straight from the wheel: pydicom's own listing tries to download what is not in it.
    for file in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("**/*.dcm")):
        if file.stat().st_size < 100_000:
            try:
                headers.append(dcmread(file, force=True, stop_before_pixels=True))
            except Exception:  # a file that pydicom itself can't read
                continue
    return headers


HEADERS = _headers()


def test_there_are_many_real_headers() -> None:
    assert len(HEADERS) > 30


@settings(max_examples=25)
@given(CONDITIONS)
def test_no_condition_falls_over_on_any_real_header_and_negation_is_negation(condition: dict[str, object]) -> None:
    for header in HEADERS:
        plain = holds(condition, header)
        assert holds({"not": condition}, header) is not plain
        assert holds({"not": {"not": condition}}, header) is plain


@given(CONDITIONS, st.sampled_from(HEADERS))
def test_a_combination_agrees_with_python(condition: dict[str, object], header: Dataset) -> None:
    def oracle(part: Condition) -> bool:
        if isinstance(part, AllOf):
            return all(oracle(inner) for inner in part.parts)
        if isinstance(part, AnyOf):
            return any(oracle(inner) for inner in part.parts)
        return not oracle(part.part) if isinstance(part, Not) else holds(part, header)

    assert holds(condition, header) == oracle(parse_condition(condition))


@given(CONDITIONS)
def test_a_condition_written_is_read_back(condition: dict[str, object]) -> None:
    parsed = parse_condition(condition)
    again = parse_condition(write_condition(parsed))
    assert [holds(parsed, header) for header in HEADERS[:10]] == [holds(again, header) for header in HEADERS[:10]]


def test_every_attribute_of_every_real_header_is_present_or_absent_and_can_be_asked() -> None:
    for header in HEADERS:
        for element in header:
            tag = f"({element.tag.group:04x},{element.tag.element:04x})"
            present = holds({tag: {"present": True}}, header)
            assert holds({tag: {"absent": True}}, header) is not present
            clause = parse_condition({tag: {"present": True}})
            assert isinstance(clause, Clause)
            if clause.path.last.has_text:
                low = {"AS": "1Y", "DA": "20000101", "TM": "10", "DT": "2000"}.get(clause.path.last.vr, "10")
                assert holds({tag: {"contains": "x"}}, header) in (True, False)
                assert holds({tag: {"range": {"min": low}}}, header) in (True, False)


@given(st.binary(max_size=40))
def test_a_malformed_value_is_present_and_never_raises(value: bytes) -> None:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    for tag, vr in ((0x00180050, "DS"), (0x00280010, "US"), (0x00080020, "DA"), (0x00081140, "SQ"), (0x00100010, "PN")):
        header = Dataset()
        header[tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, True, True)
        text = f"({tag >> 16:04x},{tag & 0xFFFF:04x})"
        assert holds({text: {"present": True}}, header) is not holds({text: {"absent": True}}, header)
        if vr not in ("SQ", "DA"):
            holds({text: {"in": ["1"], "range": {"min": 1}}}, header)


def test_an_empty_attribute_is_absent() -> None:
    header = Dataset()
    header.ViewPosition, header.AccessionNumber, header.ReferencedImageSequence = "", "  ", []
    for keyword in ("ViewPosition", "AccessionNumber", "ReferencedImageSequence"):
        assert holds({keyword: {"absent": True}}, header)
    assert holds({"ViewPosition": {"absent_or_in": ["PA", "AP"]}}, header)
    assert holds({"ViewPosition": {"not_equals": "PA"}}, header)
    header.ViewPosition = "LL"
    assert not holds({"ViewPosition": {"absent_or_in": ["PA", "AP"]}}, header)


def test_names_are_compared_by_component_group() -> None:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert holds({"PatientName": "山田^太郎"}, header)
    assert holds({"PatientName": {"matches": "^Yamada"}}, header)
    assert holds({"PatientName": {"contains": "やまだ"}}, header)
    assert not holds({"PatientName": "Yamada"}, header)


def test_sequences_are_searched_through_all_items() -> None:
    first, second, header = Dataset(), Dataset(), Dataset()
    first.RequestedProcedureDescription, second.RequestedProcedureDescription = "Abdomen", "Thorax pa"
    header.RequestAttributesSequence = [first, second]
    path = "RequestAttributesSequence.RequestedProcedureDescription"
    assert holds({path: {"contains": "thorax"}}, header)
    assert not holds({path: {"contains": "head"}}, header)
    assert holds({"RequestAttributesSequence.StudyID": {"absent": True}}, header)


def test_private_attributes_are_found_in_whatever_block_their_creator_has() -> None:
    for offset in (0x10, 0x27):
        header = Dataset()
        header.add_new((0x0019, offset), "LO", "ACME 1.0")
        header.add_new((0x0019, offset << 8 | 0x04), "LO", "scout")
        assert holds({"(0019,ACME 1.0,04)": "scout"}, header)
        assert holds({f"(0019,{offset:02x}04)": "scout"}, header)
        assert not holds({"(0019,OTHER,04)": {"present": True}}, header)


def test_a_pattern_that_would_take_python_for_ever_answers() -> None:
    header = Dataset()
    header.ImageComments = "a" * 5000 + "b"
    assert not holds({"ImageComments": {"matches": "^(a+)+$"}}, header)
