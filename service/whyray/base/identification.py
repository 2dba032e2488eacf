"""Whose images they are: what headers state of patient and order, to be compared, and never given away."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from itertools import combinations

from pydicom import Dataset

from whyray.base.person_name import PersonName

IDENTIFICATION = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
)
"""What says whose images they are, and for which order."""
OF_ONE_PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")
"""Of these, what can't differ between images of one patient: a study may have several orders, and sex is often left
out, or put in by hand as O."""
_NO_DIGIT = re.compile(r"\D+")


def identification_value(header: Dataset, keyword: str) -> str | None:
    """A value without what says nothing: padding, and empty components of a name. None where it can't be decoded."""
    try:
        text = str(header.get(keyword) or "")
    except Exception:  # pydicom raises what it likes on nonsense
        return None
    return "=".join(group.rstrip("^ ").strip() for group in text.split("=")).rstrip("=")


@dataclass
class StatedPatient:
    """What the headers of one study state of its patient.

    Compared as people would: without padding, case, punctuation of a date, and the order and separators of a name's
    components; of names see `base.person_name`. What one leaves empty, or nobody can decode, contradicts nothing:
    modalities leave out issuer, birth date or a group of the name, and a patient who was unknown on arrival has no name
    yet.
    """

    _stated: dict[str, set[str]] = field(default_factory=dict)
    _named: set[tuple[str, PersonName]] = field(default_factory=set)
    """Patient ID and name of each header, as they are compared."""

    def add(self, header: Dataset) -> None:
        """Take in what one header states."""
        identifier = ""
        for keyword in OF_ONE_PATIENT:
            value = identification_value(header, keyword) or ""
            if keyword == "PatientName":
                if name := PersonName.of(value):
                    self._named.add((identifier, name))
            elif plain := _plain(keyword, value):
                self._stated.setdefault(keyword, set()).add(plain)
                identifier = plain if keyword == "PatientID" else identifier

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Keywords of the attributes in which two patients are named; none where it may be one."""
        differing = {keyword for keyword, values in self._stated.items() if len(values) > 1}
        if any(_two_names(one, other) for one, other in combinations(self._named, 2)):
            differing.add("PatientName")
        return tuple(keyword for keyword in OF_ONE_PATIENT if keyword in differing)


def _two_names(one: tuple[str, PersonName], other: tuple[str, PersonName]) -> bool:
    (identifier, name), (other_identifier, other_name) = one, other
    comparison = name.compared_with(other_name)
    # who can read only one of two scripts trusts the identifier that both come with, and nothing less
    unsure = comparison is None and not (identifier and identifier == other_identifier)
    return comparison is False or unsure


def _plain(keyword: str, text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    if keyword == "PatientBirthDate":
        return _NO_DIGIT.sub("", text)
    return " ".join(text.split())
