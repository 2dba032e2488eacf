"""Whose images they are: what headers state of patient and order, to be compared, and never given away."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from pydicom import Dataset

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
_SEPARATORS = re.compile(r"[\^\s,]+")
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
    components. The groups of a name (alphabetic, ideographic, phonetic; PS3.5 section 6.2) are compared each by itself.
    What one leaves empty, or nobody can decode, contradicts nothing: modalities leave out issuer, birth date or a
    group of the name, and a patient who was unknown on arrival has no name yet.
    """

    _stated: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    def add(self, header: Dataset) -> None:
        """Take in what one header states."""
        for keyword in OF_ONE_PATIENT:
            value = identification_value(header, keyword) or ""
            groups = value.split("=") if keyword == "PatientName" else [value]
            for number, group in enumerate(groups):
                if plain := _plain(keyword, group):
                    self._stated.setdefault((keyword, number), set()).add(plain)

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Keywords of the attributes in which two patients are named; none where it may be one."""
        differing = {keyword for (keyword, _), values in self._stated.items() if len(values) > 1}
        return tuple(keyword for keyword in OF_ONE_PATIENT if keyword in differing)


def _plain(keyword: str, text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    if keyword == "PatientBirthDate":
        return _NO_DIGIT.sub("", text)
    if keyword == "PatientName":
        return " ".join(sorted(filter(None, _SEPARATORS.split(text))))
    return " ".join(text.split())
