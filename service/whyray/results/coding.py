"""Coded concepts as items of a data set (PS3.3 section 8.8), and names made fit for codes."""

from __future__ import annotations

import hashlib
import re

from pydicom import Dataset

from whyray.models.manifest import CodedConcept, TargetSpec

LONGEST_VALUE = 16
LONGEST_MEANING = 64


def item(concept: CodedConcept) -> Dataset:
    """The item of a code sequence."""
    made = Dataset()
    if len(concept.value) <= LONGEST_VALUE:
        made.CodeValue = concept.value
    else:
        made.LongCodeValue = concept.value
    made.CodingSchemeDesignator = concept.scheme
    made.CodeMeaning = concept.meaning[:LONGEST_MEANING]
    return made


def dcm(value: str, meaning: str) -> CodedConcept:
    """A code of the DICOM controlled terminology, PS3.16 annex D."""
    return CodedConcept(value=value, scheme="DCM", meaning=meaning)


def ucum(value: str, meaning: str) -> CodedConcept:
    """A unit."""
    return CodedConcept(value=value, scheme="UCUM", meaning=meaning)


def own(name: str, designator: str) -> CodedConcept:
    """A private code for something that has only a name; equal names give equal codes."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not slug or len(slug) > LONGEST_VALUE or not name.isascii():
        slug = "x-" + hashlib.sha256(name.encode()).hexdigest()[: LONGEST_VALUE - 2]
    return CodedConcept(value=slug, scheme=designator, meaning=name[:LONGEST_MEANING])


def of_target(target: TargetSpec, designator: str) -> CodedConcept:
    """The code that a package names for a target, or a private one made from its name."""
    return target.code or own(target.name, designator)


NO_UNITS = ucum("1", "no units")
PERCENT = ucum("%", "Percent")
