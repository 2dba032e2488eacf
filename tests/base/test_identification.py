"""What headers state of one patient is compared as people would, and a second patient is noticed."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from whyray.base.identification import StatedPatient


def header(
    name: str = "Doe^Jane", identifier: str = "P-1", issuer: str | None = None, birth: str | None = "19600102"
) -> Dataset:
    made = Dataset()
    made.PatientName, made.PatientID = name, identifier
    if issuer is not None:
        made.IssuerOfPatientID = issuer
    if birth is not None:
        made.PatientBirthDate = birth
    return made


def contradictions(*headers: Dataset) -> tuple[str, ...]:
    patient = StatedPatient()
    for one in headers:
        patient.add(one)
    return patient.contradictions


@pytest.mark.parametrize(
    "other",
    [
        header("DOE^JANE^^^"),
        header("Jane^Doe"),
        header(" Doe^Jane "),
        header("Doe, Jane"),
        header("Doe^Jane=王^小东"),
        header(identifier=" p-1 "),
        header(issuer="HOSPITAL"),
        header(birth=None),
        header(birth=""),
        header(birth="1960.01.02"),
        header(""),
        header(identifier=""),
        Dataset(),
    ],
)
def test_what_differs_in_writing_alone_or_is_left_out_names_no_other_patient(other: Dataset) -> None:
    assert contradictions(header(), other) == contradictions(other, header()) == ()


@pytest.mark.parametrize(
    ("other", "keywords"),
    [
        (header("Doe^John"), ("PatientName",)),
        (header("Doe^Jane^Jr"), ("PatientName",)),
        (header(identifier="P-2"), ("PatientID",)),
        (header(birth="19600103"), ("PatientBirthDate",)),
        (header("Roe^John", "P-2", birth=None), ("PatientID", "PatientName")),
    ],
)
def test_another_value_names_another_patient(other: Dataset, keywords: tuple[str, ...]) -> None:
    assert contradictions(header(), other) == keywords


def test_one_id_of_two_issuers_is_two_patients() -> None:
    assert contradictions(header(issuer="EAST"), header(), header(issuer="WEST")) == ("IssuerOfPatientID",)


def test_what_is_empty_in_one_does_not_hide_that_two_others_differ() -> None:
    assert contradictions(header(), Dataset(), header("Roe^John", "P-2")) == ("PatientID", "PatientName")


def test_names_are_compared_group_by_group() -> None:
    japanese = header("Yamada^Tarou=山田^太郎=やまだ^たろう")
    assert contradictions(japanese, header("=山田^太郎")) == ()
    assert contradictions(japanese, header("Yamada^Tarou=山田^次郎")) == ("PatientName",)


JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (JAPANESE, "Yamada^Tarou"),
        (JAPANESE, "山田^太郎"),
        (JAPANESE, "=山田^太郎"),
        (JAPANESE, "==やまだ^たろう"),
        (JAPANESE, "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        (JAPANESE, "ヤマダ^タロウ=山田^太郎"),
        (JAPANESE, "YAMADA^TAROU^^^=山田^太郎^^^="),
        ("Yamada^Tarou", "山田^太郎"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "홍^길동"),
        ("Иванов^Иван", "Ivanov^Ivan"),
        ("Müller^Jörg", "MUELLER^JOERG"),
        ("Müller^Jörg", "Muller^Jorg"),
        ("Mu\u0308ller^Jo\u0308rg", "Müller^Jörg"),
        ("Strauß^Ægir", "STRAUSS^AEGIR"),
        ("Nuñez^José", "NUNEZ^JOSE"),
        ("Dvořák^Jiří", "dvorak^jiri"),
        ("Ｄｏｅ^Ｊａｎｅ", "Doe^Jane"),
        ("Doe^Jane=^^^", "Doe^Jane^^^=="),
    ],
)
def test_a_name_in_another_script_or_spelling_under_one_patient_id_is_one_patient(one: str, other: str) -> None:
    assert contradictions(header(one), header(other)) == contradictions(header(other), header(one)) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (JAPANESE, "山田^次郎"),
        (JAPANESE, "ﾔﾏﾀﾞ^ｼﾞﾛｳ"),
        (JAPANESE, "Yamada^Jirou=山田^太郎"),
        ("たろう", "だろう"),
        ("Иванов^Иван", "Иванова^Ивана"),
        ("Кий", "Кии"),
        ("Müller^Jörg", "Moller^Jorg"),
        ("Doe^Jane", "4711^"),
        ("Doe^Jane=山田^太郎", "Roe^Jane=山田^太郎"),
    ],
)
def test_another_name_in_the_same_script_is_another_patient(one: str, other: str) -> None:
    assert contradictions(header(one), header(other)) == contradictions(header(other), header(one)) == ("PatientName",)


def test_two_scripts_are_one_patient_only_where_both_come_with_the_same_patient_id() -> None:
    assert contradictions(header("Yamada^Tarou"), header("山田^太郎", "P-2")) == ("PatientID", "PatientName")
    assert contradictions(header("Yamada^Tarou", ""), header("山田^太郎", "")) == ("PatientName",)
    assert contradictions(header("Yamada^Tarou"), header("山田^太郎", "")) == ("PatientName",)
    assert contradictions(header("Yamada^Tarou"), header("山田^太郎", birth="19700101")) == ("PatientBirthDate",)


def test_what_two_scripts_leave_open_a_third_header_does_not_hide() -> None:
    japanese, latin, another = header("山田^太郎"), header("Yamada^Tarou"), header("Yamada^Jirou")
    assert contradictions(japanese, latin, another) == ("PatientName",)
