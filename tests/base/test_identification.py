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
