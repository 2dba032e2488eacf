"""Conditions on values as they lie in files: every value representation, each operator, each character set of DICOM."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.charset import decode_bytes, python_encoding

from routing.encoded import BIG, EXPLICIT, IMPLICIT, SYNTAXES, Encoded, in_a_file
from whyray.config import Route
from whyray.routing import Match, match_series
from whyray.routing.encoded_text import read_text

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # the files are malformed on purpose

NAME = 0x00100010
COMMENTS = 0x00204000
ESC = b"\x1b"


def asked(condition: object, header: Dataset) -> Match:
    return match_series(Route.model_validate({"name": "r", "when": condition, "run": "p"}), header)


def holds(condition: object, header: Dataset) -> bool:
    return asked(condition, header).matched


# --- names and character sets ----------------------------------------------------------------------------------------
# Specific Character Set, bytes of a name, the name. The examples of PS3.5 annexes H, I, J and K are among them.
NAMES = [
    (None, b"Probe^One", "Probe^One"),
    ("", b"Probe^One", "Probe^One"),
    ("ISO_IR 6", b"Probe^One", "Probe^One"),
    ("ISO_IR 100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
    ("ISO_IR 101", "Wałęsa^Lech".encode("iso8859-2"), "Wałęsa^Lech"),
    ("ISO_IR 109", "Ĝis^Ĉu".encode("iso8859-3"), "Ĝis^Ĉu"),
    ("ISO_IR 110", "Bērziņš^Jānis".encode("iso8859-4"), "Bērziņš^Jānis"),
    ("ISO_IR 144", "Люксембург^Роза".encode("iso8859-5"), "Люксембург^Роза"),
    ("ISO_IR 127", "قباني^لنزار".encode("iso8859-6"), "قباني^لنزار"),
    ("ISO_IR 126", "Διονυσιος^Αλφα".encode("iso8859-7"), "Διονυσιος^Αλφα"),
    ("ISO_IR 138", "שרון^דבורה".encode("iso8859-8"), "שרון^דבורה"),
    ("ISO_IR 148", "Çavuşoğlu^İlker".encode("iso8859-9"), "Çavuşoğlu^İlker"),
    ("ISO_IR 166", "นามสกุล^ชื่อ".encode("tis-620"), "นามสกุล^ชื่อ"),
    ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis"), "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    ("ISO_IR 192", "王^小东".encode(), "王^小东"),
    ("ISO_IR 192", "Müller^Jörg".encode(), "Müller^Jörg"),
    ("GB18030", "王^小东".encode("gb18030"), "王^小东"),
    ("GB18030", "誠乗^乘".encode("gb18030"), "誠乗^乘"),
    ("GBK", "王^小东".encode("gbk"), "王^小东"),
    ("ISO 2022 IR 6", b"Probe^One", "Probe^One"),
    ("ISO 2022 IR 100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    (
        "ISO 2022 IR 100\\ISO 2022 IR 126",
        b"Buc^" + ESC + b"-F" + "Διον".encode("iso8859-7"),
        "Buc^Διον",
    ),
    (
        "\\ISO 2022 IR 101",
        ESC + b"-B" + "Wałęsa".encode("iso8859-2") + b"^" + ESC + b"-B" + "Łoś".encode("iso8859-2"),
        "Wałęsa^Łoś",
    ),
    ("\\ISO 2022 IR 144", ESC + b"-L" + "Роза".encode("iso8859-5") + b"^X", "Роза^X"),
    ("\\ISO 2022 IR 166", ESC + b"-T" + "ชื่อ".encode("tis-620") + b"^X", "ชื่อ^X"),
    ("\\ISO 2022 IR 87", ESC + b"$B;3ED" + ESC + b"(B^" + ESC + b"$BB@O:" + ESC + b"(B", "山田^太郎"),
    ("ISO 2022 IR 13\\ISO 2022 IR 87", ESC + b"$B;3ED" + ESC + b"(J^" + ESC + b"$BB@O:" + ESC + b"(J", "山田^太郎"),
    ("\\ISO 2022 IR 159", "鷗".encode("iso2022_jp_2") + b"^X", "鷗^X"),
    ("\\ISO 2022 IR 149", ESC + b"$)C\xb1\xe8^" + ESC + b"$)C\xc8\xf1\xc1\xdf", "김^희중"),
    (
        "\\ISO 2022 IR 58",
        ESC + b"$)A" + "张".encode("gb2312") + b"^" + ESC + b"$)A" + "小东".encode("gb2312"),
        "张^小东",
    ),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("character_set", "encoded", "name"), NAMES, ids=lambda value: None)
def test_a_name_in_a_file_is_compared_as_text(
    tmp_path: Path, character_set: str | None, encoded: bytes, name: str, syntax: str
) -> None:
    header = in_a_file(tmp_path, Encoded(NAME, "PN", encoded), syntax=syntax, character_set=character_set)
    for _ in range(2):  # reading it does not change it
        family, given = name.split("^")
        for operator, right, wrong in (
            ("equals", name, family),
            ("in", ["A", name], ["A", given]),
            ("contains", given, "b'"),
            ("matches", f"^{family}", "^b'"),
        ):
            assert holds({"PatientName": {operator: right}}, header), (operator, right)
            assert not holds({"PatientName": {operator: wrong}}, header), (operator, wrong)
            assert not holds({"PatientName": {f"not_{operator}": right}}, header), (operator, right)
            assert holds({"PatientName": {f"not_{operator}": wrong}}, header), (operator, wrong)
        assert not asked({"PatientName": name}, header).unread


@pytest.mark.parametrize(("character_set", "encoded", "name"), NAMES, ids=lambda value: None)
@pytest.mark.parametrize("vr", ["LO", "LT", "SH", "ST", "UC", "UT", "UN"])
def test_any_text_in_a_file_is_compared_in_its_character_set(
    tmp_path: Path, vr: str, character_set: str | None, encoded: bytes, name: str
) -> None:
    elements = (Encoded(0x00190010, "LO", b"ACME"), Encoded(0x00191004, vr, encoded))
    header = in_a_file(tmp_path, *elements, character_set=character_set)
    family, given = name.split("^")
    assert holds({"(0019,ACME,04)": {"equals": name, "contains": given, "matches": f"^{family}"}}, header)
    assert not holds({"(0019,ACME,04)": {"not_equals": name}}, header)


GROUPS = {
    "ISO_IR 192": "Yamada^Tarou=山田^太郎=やまだ^たろう".encode(),
    "\\ISO 2022 IR 87": b"Yamada^Tarou="
    + "山田".encode("iso2022_jp")
    + b"^"
    + "太郎".encode("iso2022_jp")
    + b"="
    + "やまだ".encode("iso2022_jp")
    + b"^"
    + "たろう".encode("iso2022_jp"),
    "GB18030": "Yamada^Tarou=山田^太郎=やまだ^たろう".encode("gb18030"),
}


@pytest.mark.parametrize("character_set", GROUPS)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_each_component_group_of_a_name_in_a_file_can_be_asked_for(
    tmp_path: Path, character_set: str, syntax: str
) -> None:
    element = Encoded(NAME, "PN", GROUPS[character_set])
    header = in_a_file(tmp_path, element, syntax=syntax, character_set=character_set)
    for group in ("Yamada^Tarou", "山田^太郎", "やまだ^たろう", "Yamada^Tarou=山田^太郎=やまだ^たろう"):
        assert holds({"PatientName": group}, header), group
    assert holds({"PatientName": {"matches": "^山"}}, header)
    assert not holds({"PatientName": "Yamada"}, header)
    assert not holds({"PatientName": {"not_contains": "たろう"}}, header)


@pytest.mark.parametrize(
    "encoded", [b"Probe^One ", b"Probe^One^^^", b"Probe^One^^ ", b" Probe^One", b"Probe^One\0", b"Probe^One=="]
)
@pytest.mark.parametrize("wanted", ["Probe^One", "Probe^One^^^", "Probe^One^^^=="])
def test_padding_and_null_components_of_a_name_mean_nothing(tmp_path: Path, encoded: bytes, wanted: str) -> None:
    header = in_a_file(tmp_path, Encoded(NAME, "PN", encoded))
    assert holds({"PatientName": wanted}, header)
    assert not holds({"PatientName": {"not_in": [wanted]}}, header)


@pytest.mark.parametrize("encoded", [b"", b"  ", b"^^", b"=="])
def test_a_name_that_is_empty_is_absent(tmp_path: Path, encoded: bytes) -> None:
    header = in_a_file(tmp_path, Encoded(NAME, "PN", encoded))
    assert holds({"PatientName": {"absent": True}}, header)
    assert holds({"PatientName": {"not_equals": "A"}}, header)


def test_several_names_are_compared_one_by_one(tmp_path: Path) -> None:
    for character_set, encoding in (("ISO_IR 192", "utf-8"), ("GBK", "gbk"), ("GB18030", "gb18030")):
        # the second byte of 乗 in GBK is that of a backslash
        element = Encoded(0x00081050, "PN", "乗^一\\Weiss^Eva".encode(encoding))
        header = in_a_file(tmp_path, element, character_set=character_set)
        assert holds({"PerformingPhysicianName": "乗^一"}, header)
        assert holds({"PerformingPhysicianName": {"contains": "weiss"}}, header)
        assert not holds({"PerformingPhysicianName": {"not_equals": "乗^一"}}, header)


def test_letters_with_accents_are_the_same_composed_or_not(tmp_path: Path) -> None:
    for encoded in ("Müller^J".encode(), "Mu\u0308ller^J".encode()):
        header = in_a_file(tmp_path, Encoded(NAME, "PN", encoded), character_set="ISO_IR 192")
        for wanted in ("Müller^J", "Mu\u0308ller^J"):
            assert holds({"PatientName": wanted}, header)
            assert holds({"PatientName": {"contains": wanted}}, header)
            assert holds({"PatientName": {"matches": wanted.replace("^", r"\^")}}, header)


def test_a_name_in_an_item_is_read_in_the_character_set_of_the_item_or_of_its_data_set(tmp_path: Path) -> None:
    path = "RequestAttributesSequence.RequestedProcedureDescription"
    for syntax in SYNTAXES:
        inherited = Encoded(0x00321060, "LO", "Schädel".encode("latin-1"))
        own = (Encoded(0x00080005, "CS", b"ISO_IR 192"), Encoded(0x00321060, "LO", "頭部".encode()))
        sequence = Encoded(0x00400275, "SQ", ((inherited,), own))
        header = in_a_file(tmp_path, sequence, syntax=syntax, character_set="ISO_IR 100")
        assert holds({path: "Schädel"}, header)
        assert holds({path: {"contains": "頭"}}, header)
        assert not holds({path: {"not_contains": "頭"}}, header)


# --- what can't be read ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("encoded", ["Müller^J".encode("latin-1"), "Müller^J".encode()])
def test_a_name_without_a_character_set_is_found_in_latin_1_and_in_utf_8(tmp_path: Path, encoded: bytes) -> None:
    for character_set in (None, "", "ISO_IR 6", "NO SUCH SET"):
        header = in_a_file(tmp_path, Encoded(NAME, "PN", encoded), character_set=character_set)
        assert holds({"PatientName": "Müller^J"}, header)
        assert not holds({"PatientName": {"not_equals": "Müller^J"}}, header)


@pytest.mark.parametrize(
    ("character_set", "encoded"),
    [
        ("ISO_IR 192", b"M\xfcller^J"),
        ("ISO_IR 166", b"\xff\xfe^J"),
        ("GBK", b"\xff\xff^J"),
        ("\\ISO 2022 IR 87", ESC + b"$B\x7f\x7f" + ESC + b"(B^J"),
        ("\\ISO 2022 IR 87", ESC + b"-F\xc4\xe9^J"),
        ("\\ISO 2022 IR 87", ESC + b"%Gabc^J"),
    ],
)
def test_a_name_that_is_not_in_its_character_set_decides_nothing_and_is_named(
    tmp_path: Path, character_set: str, encoded: bytes
) -> None:
    header = in_a_file(tmp_path, Encoded(NAME, "PN", encoded), character_set=character_set)
    for condition in (
        {"equals": "Müller^J"},
        {"not_equals": "Müller^J"},
        {"not_contains": "x"},
        {"absent_or_in": ["A"]},
    ):
        match = asked({"PatientName": condition}, header)
        assert not match.matched
        assert match.unread == ("PatientName",)
        assert [clause.value for clause in match.clauses] == ["can't be read"]
    assert holds({"PatientName": {"present": True}}, header)
    assert holds({"any": [{"SOPInstanceUID": "1.2.3"}, {"PatientName": "A"}]}, header)


def test_what_is_decided_without_the_unreadable_value_is_decided(tmp_path: Path) -> None:
    header = in_a_file(tmp_path, Encoded(NAME, "PN", b"\xff"), character_set="ISO_IR 192")
    no = asked({"PatientName": {"not_equals": "A"}, "SOPInstanceUID": "1.9"}, header)
    assert (no.matched, no.unread) == (False, ())


@pytest.mark.parametrize(
    ("tag", "vr", "value", "condition"),
    [
        (0x00180050, "DS", b"thick", {"SliceThickness": {"range": {"min": 2}}}),
        (0x00180050, "DS", b"1_0", {"SliceThickness": 10}),
        (0x00280010, "US", b"\0\2\0", {"Rows": {"not_equals": 512}}),
        (0x00280010, "US", b"1234567", {"Rows": {"not_equals": 512}}),
        (0x00280010, "OB", b"\0\2", {"Rows": {"not_equals": 512}}),
        (0x00080020, "DA", b"31/01/26", {"StudyDate": {"range": {"min": "20200101"}}}),
        (0x00080030, "TM", b"8h30", {"StudyTime": {"not_range": {"max": "09"}}}),
        (0x00101010, "AS", b"old ", {"PatientAge": {"not_range": {"max": "17Y"}}}),
        (0x00191004, "OB", b"\0\1", {"(0019,1004)": {"not_contains": "x"}}),
        (0x00191004, "UN", b"\0\1", {"(0019,1004)": {"not_contains": "x"}}),
        (0x00081140, "SQ", b"no items", {"ReferencedImageSequence.ReferencedSOPInstanceUID": {"not_equals": "1.2"}}),
        (0x00081140, "SQ", b"no items", {"ReferencedImageSequence.ReferencedSOPInstanceUID": {"absent": True}}),
        (0x00081140, "LO", b"no items", {"ReferencedImageSequence.ReferencedSOPInstanceUID": {"absent": True}}),
    ],
)
def test_a_value_that_is_not_what_its_attribute_holds_decides_nothing(
    tmp_path: Path, tag: int, vr: str, value: bytes, condition: dict[str, object]
) -> None:
    header = in_a_file(tmp_path, Encoded(tag, vr, value))
    for _ in range(2):
        match = asked(condition, header)
        assert not match.matched
        assert match.unread == tuple(condition)


# --- every value representation --------------------------------------------------------------------------------------
TEXTS = [
    ("RetrieveAETitle", 0x00080054, "AE", b" ARCHIVE ", "ARCHIVE", "ARCH"),
    ("PatientAge", 0x00101010, "AS", b"018Y", "018Y", "18Y"),
    ("Modality", 0x00080060, "CS", b"CT ", "CT", "MR"),
    ("StudyDate", 0x00080020, "DA", b"20260131", "20260131", "20260130"),
    ("AcquisitionDateTime", 0x0008002A, "DT", b"20260131083000.123456+0100", "20260131083000.123456+0100", "2026"),
    ("AccessionNumber", 0x00080050, "SH", b"A-1 ", "A-1", "A-2"),
    ("StudyDescription", 0x00081030, "LO", b" chest ", "chest", "head"),
    ("AdditionalPatientHistory", 0x001021B0, "LT", b"a\\b\r\nc ", "a\\b\r\nc", "a"),
    ("InstitutionAddress", 0x00080081, "ST", b"Street\\1", "Street\\1", "Street"),
    ("StudyTime", 0x00080030, "TM", b"083000.5 ", "083000.5", "083000"),
    ("StrainDescription", 0x00100212, "UC", b"Mouse ", "Mouse", "Rat"),
    ("StudyInstanceUID", 0x0020000D, "UI", b"1.2.30", "1.2.30", "1.2.3"),
    ("RetrieveURL", 0x00081190, "UR", b"http://a/b\\c ", "http://a/b\\c", "http://a/b"),
    ("TextValue", 0x0040A160, "UT", b"a\\b  ", "a\\b", "a"),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("keyword", "tag", "vr", "encoded", "text", "other"), TEXTS, ids=[row[2] for row in TEXTS])
def test_text_of_every_value_representation_is_compared_without_padding(
    tmp_path: Path, keyword: str, tag: int, vr: str, encoded: bytes, text: str, other: str, syntax: str
) -> None:
    header = in_a_file(tmp_path, Encoded(tag, vr, encoded), syntax=syntax)
    assert holds({keyword: {"equals": text, "in": [other, text], "contains": text[1:], "not_equals": other}}, header)
    assert not holds({keyword: {"not_equals": text}}, header)
    assert not holds({keyword: other}, header)
    assert holds({keyword: {"matches": text[:2].replace("\\", r"\\")}}, header)
    assert not holds({keyword: {"matches": "^b'"}}, header)
    assert holds({keyword: {"present": True, "absent": False}}, header)
    assert holds({keyword: {"absent": True}}, in_a_file(tmp_path, Encoded(tag, vr, b""), syntax=syntax))
    assert holds({keyword: {"absent": True}}, in_a_file(tmp_path, syntax=syntax))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_several_values_are_compared_one_by_one(tmp_path: Path, syntax: str) -> None:
    header = in_a_file(
        tmp_path,
        Encoded(0x00080008, "CS", b"ORIGINAL \\ PRIMARY\\\\AXIAL "),
        Encoded(0x00281050, "DS", b" 40\\+1.50E2"),
        Encoded(0x00081160, "IS", b"1\\ 02"),
        syntax=syntax,
    )
    for value in ("ORIGINAL", "PRIMARY", "AXIAL"):
        assert holds({"ImageType": value}, header)
        assert not holds({"ImageType": {"not_in": [value]}}, header)
    assert not holds({"ImageType": "ORIGINAL\\PRIMARY"}, header)
    assert holds({"WindowCenter": 150, "ReferencedFrameNumber": 2}, header)
    assert holds({"WindowCenter": {"matches": r"^\+1\.50E2$"}}, header), "as it is written"
    assert not holds({"WindowCenter": {"not_range": {"min": 150, "max": 150}}}, header)


NUMBERS = [
    ("Rows", 0x00280010, "US", (512,), 512, 511),
    ("TagAngleSecondAxis", 0x00189219, "SS", (-7,), -7, 7),
    ("SimpleFrameList", 0x00081161, "UL", (4294967295,), 4294967295, 4294967294),
    ("ReferencePixelX0", 0x00186020, "SL", (-70000,), -70000, 70000),
    ("FrameTimeVector", 0x00181065, "DS", b"0.10", 0.1, 0.2),
    ("InstanceNumber", 0x00200013, "IS", b"+07 ", 7, 8),
    ("RecommendedDisplayFrameRateInFloat", 0x00089459, "FL", (0.1,), 0.1, 0.2),
    ("DiffusionBValue", 0x00189087, "FD", (0.1,), 0.1, 0.2),
    ("FileOffsetInContainer", 0x0008040C, "UV", (9007199254740993,), 9007199254740993, 9007199254740992),
    ("SelectorSVValue", 0x00720082, "SV", (-9007199254740993,), -9007199254740993, -9007199254740992),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("keyword", "tag", "vr", "value", "number", "other"), NUMBERS, ids=[row[2] for row in NUMBERS])
def test_numbers_of_every_value_representation_are_compared_as_numbers(
    tmp_path: Path, keyword: str, tag: int, vr: str, value: object, number: float, other: float, syntax: str
) -> None:
    header = in_a_file(tmp_path, Encoded(tag, vr, value), syntax=syntax)  # type: ignore[arg-type]
    assert holds({keyword: {"equals": number, "in": [other, number], "range": {"min": number, "max": number}}}, header)
    assert not holds({keyword: {"not_equals": number}}, header)
    assert not holds({keyword: other}, header)
    assert holds({keyword: {"not_in": [other], "not_range": {"min": other, "max": other}}}, header)
    if syntax != IMPLICIT:  # no one can know what a private element is there
        private = in_a_file(
            tmp_path,
            Encoded(0x00190010, "LO", b"ACME"),
            Encoded(0x00191004, vr, value),  # type: ignore[arg-type]
            syntax=syntax,
        )
        assert holds({"(0019,ACME,04)": {"equals": number, "range": {"min": number}}}, private)
        assert not holds({"(0019,ACME,04)": {"not_equals": number}}, private)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("signed", [0, 1, None])
def test_a_number_whose_sign_hangs_on_pixel_representation_is_read_with_it(
    tmp_path: Path, signed: int | None, syntax: str
) -> None:
    beside = () if signed is None else (Encoded(0x00280103, "US", (signed,)),)
    small = in_a_file(tmp_path, *beside, Encoded(0x00280120, "US", (63,)), syntax=syntax)
    assert holds({"PixelPaddingValue": 63}, small)
    large = in_a_file(
        tmp_path,
        *beside,
        Encoded(0x00280120, "SS" if signed else "US", (-2000,) if signed else (63536,)),
        syntax=syntax,
    )
    if signed is None and syntax == IMPLICIT:
        assert asked({"PixelPaddingValue": {"not_equals": 63536}}, large).unread == ("PixelPaddingValue",)
    else:
        assert holds({"PixelPaddingValue": -2000 if signed else 63536}, large)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("keyword", "element"),
    [
        ("EncapsulatedDocument", Encoded(0x00420011, "OB", b"\0\1")),
        ("RedPaletteColorLookupTableData", Encoded(0x00281201, "OW", b"\0\1")),
        ("VectorGridData", Encoded(0x00640009, "OF", bytes(4))),
        ("SelectorODValue", Encoded(0x00720073, "OD", bytes(8))),
        ("TrackPointIndexList", Encoded(0x00660129, "OL", bytes(4))),
        ("SelectorOVValue", Encoded(0x00720081, "OV", bytes(8))),
        ("FrameIncrementPointer", Encoded(0x00280009, "AT", (0x00181063,))),
        ("ReferencedImageSequence", Encoded(0x00081140, "SQ", ((Encoded(0x00081155, "UI", b"1.2"),),))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_text_is_present_or_absent(tmp_path: Path, keyword: str, element: Encoded, syntax: str) -> None:
    tag = f"({element.tag >> 16:04x},{element.tag & 0xFFFF:04x})"
    empty = Encoded(element.tag, element.vr, () if element.vr == "SQ" else b"")
    for name in (keyword, tag):
        assert holds({name: {"present": True}}, in_a_file(tmp_path, element, syntax=syntax))
        assert holds({name: {"absent": True}}, in_a_file(tmp_path, empty, syntax=syntax))


def test_an_element_of_unknown_representation_is_read_as_the_dictionary_says(tmp_path: Path) -> None:
    for syntax in (EXPLICIT, BIG):
        header = in_a_file(
            tmp_path,
            Encoded(NAME, "UN", "Müller^J".encode()),
            Encoded(0x00080060, "UN", b"CT"),
            Encoded(0x00180050, "UN", b"1.50"),
            syntax=syntax,
            character_set="ISO_IR 192",
        )
        assert holds({"PatientName": "Müller^J", "Modality": "CT", "SliceThickness": 1.5}, header)


def test_an_element_of_another_representation_than_the_dictionarys_is_read_as_the_file_says(tmp_path: Path) -> None:
    header = in_a_file(
        tmp_path,
        Encoded(0x00280010, "DS", b"512.0"),
        Encoded(NAME, "LO", b"Probe^One"),
        Encoded(0x00080060, "UT", b"CT"),
    )
    assert holds({"Rows": 512, "PatientName": "Probe^One", "Modality": "CT"}, header)


@pytest.mark.parametrize("encoding", sorted({*python_encoding.values()}))
def test_plain_characters_say_in_every_character_set_what_its_decoder_says(encoding: str) -> None:
    plain = bytes(number for number in range(0x20, 0x7E) if number != ord("\\"))
    for number in plain:
        value = b"a" + bytes([number]) + b"b"
        assert read_text(value, "LO", [encoding]).texts == (decode_bytes(value, [encoding], set()),)
    assert read_text(plain, "LT", [encoding]).texts == (plain.decode("ascii").strip(),)
